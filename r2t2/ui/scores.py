"""What counts as correct, and the scores that benchmarks have of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from r2t2 import metrics
from r2t2.analysis import scores as analysis
from r2t2.ui import runs, show

if TYPE_CHECKING:
    from r2t2.runs.store import Run

# The rule that goes without saying.
PLAIN = "match"


def definitions(found: Sequence[Run]) -> None:
    """When a reply is correct, by metric, but for the plain one; and which runs are others'."""
    where: dict[str, dict[str, None]] = {}
    for run in found:
        for name in run.figures["metric"].split(", "):
            where.setdefault(name, {})[run.spec.benchmark] = None
    for name, benchmarks in where.items():
        if name != PLAIN:
            on = show.literal(", ".join(benchmarks))
            st.caption(f":material/rule: Correct on {on}: {metrics.metric(name).correct}.")
    for run in found:
        if run.spec.external:
            said = f"{runs.variant(run)} on {run.spec.benchmark} is {run.manifest['device']}."
            st.caption(f":material/move_to_inbox: {show.literal(said)}")


@st.cache_data(max_entries=16, show_spinner=False, hash_funcs=runs.BY_CONTENT)
def own(found: Sequence[Run]) -> pd.DataFrame:
    """`analysis.scores.score_table` of the benchmarks whose own score is not their accuracy.

    Raises
    ------
    DamagedRun : a file of one of the runs is missing or damaged.
    """
    named = analysis.own(runs.figures(found))
    of = [run for run in found if run.spec.benchmark in named]
    return analysis.score_table(
        runs.samples(of, "category", "metric", "group", "base_score", "score")
    )
