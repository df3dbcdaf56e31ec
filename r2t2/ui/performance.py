"""What runs took of passes, time and memory, beside base: a panel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from r2t2.analysis import performance
from r2t2.figures.performance import over_base
from r2t2.figures.style import label
from r2t2.models.names import titles
from r2t2.ui import runs, show
from r2t2.ui.state import bound

if TYPE_CHECKING:
    from r2t2.runs.store import Run

_HELP = {
    "forward": "Passes of a sample through the routed part of the model, the base answer and the "
    "final one included; the mean.",
    "backward": "Backward passes of a sample; the mean.",
    "passes ×": "Times base's passes; a backward pass counts as two.",
    "strategy, ms": "Of a sample, what the strategy itself took, without encoding and answers. "
    "What it does first for all samples, such as encoding references, is in it.",
    "run, ms": "Of a sample, all that the run took. It does not compare: of several strategies the "
    "first loads and encodes the pictures, and answers at the steps in between are in it.",
    "sample, ms": "From a question and its loaded picture to the answer: encoding, what the "
    "strategy took, and the answers before and after.",
    "per second": "Samples, by the time beside it.",
    "time ×": "Times what base took of a sample on the same benchmark, seed and device.",
    "peak, MiB": "The most memory at once. On a CPU all of main memory that the process held: "
    "model, libraries and what earlier runs had left there included. On a GPU its tensors alone.",
    "peak ×": "Times base's peak.",
}
_FORMS = {
    **dict.fromkeys(("forward", "backward", "passes ×"), "%.4g"),
    **dict.fromkeys(("per second", "peak, MiB"), "localized"),
}
# Rows of a table that is drawn whole.
_WHOLE = 20


def panel() -> None:
    """An expander with what the chosen set of runs took; nothing is read before it is opened."""
    with st.expander("Performance", icon=":material/speed:", **bound("performance")) as box:
        if not box.open:
            return
        found = runs.chosen()
        if not found:
            show.empty("No complete runs in this set", "Start some above.")
            return
        each = _costs(found)
        usual = {run.id for run in runs.defaults()} or set(each["id"])
        _strategies(each[each["id"].isin(usual)])
        _runs(each)


@st.cache_data(max_entries=16, show_spinner="Reading passes …", hash_funcs=runs.BY_CONTENT)
def _costs(found: Sequence[Run]) -> pd.DataFrame:
    """`analysis.performance.beside_base` of runs, strategies by variant, with a name for each."""
    from r2t2.runs.store import costs_table

    table = costs_table(found).assign(strategy=[runs.variant(run) for run in found])
    table = performance.beside_base(table)
    several = [name for name in ("model", "device") if table[name].nunique() > 1]
    table["name"] = table["strategy"].map(label)
    shown = table.assign(model=table["model"].map(titles(table["model"].unique())))
    for name in several:
        table["name"] += ", " + shown[name]
    return table


def _strategies(each: pd.DataFrame) -> None:
    """A row per strategy, and how the times of the others lie over base's."""
    pooled = performance.pooled(each, ("name", "strategy"))
    shown = pd.DataFrame({"strategy": pooled["name"], "runs": pooled["runs"], **_columns(pooled)})
    show.table(
        shown,
        "performance",
        "Strategies under their own settings; times are medians over runs, peaks the highest. They "
        "are of the machine that made a run and of whatever else it did: for ratios measured in "
        f"turns, `python -m r2t2 bench`.{_why(each)}",
        column_config=_drawn(shown),
        placeholder="–",
        height="content" if len(shown) <= _WHOLE else "auto",
    )
    timed = pooled[pooled["seconds_over"].notna() & (pooled["strategy"] != "base")]
    if not timed.empty:
        show.figure(
            over_base(timed, each[each["name"].isin(timed["name"])]),
            timed.drop(columns="strategy"),
            "performance-times",
            "The time of a sample over base's: the medians, and every run in small.",
        )


def _runs(each: pd.DataFrame) -> None:
    """A row per run of the chosen set."""
    shown = pd.DataFrame(
        {
            "strategy": each["name"],
            "benchmark": each["benchmark"],
            "seed": each["seed"],
            "samples": each["n"],
            **_columns(each),
            "run, ms": 1000 * each["wall"],
            "device": each["device"],
        }
    )
    show.table(
        shown,
        "performance-runs",
        f"All runs of the set, changed options included: {len(shown):,}.",
        column_config=_drawn(shown),
        placeholder="–",
    )


def _columns(table: pd.DataFrame) -> dict[str, pd.Series]:
    """The columns of both tables as they are read."""
    return {
        "forward": table["forward"],
        "backward": table["backward"],
        "passes ×": table["passes_over"],
        "strategy, ms": 1000 * table["own"],
        "sample, ms": 1000 * table["seconds"],
        "per second": _places(table["per_second"]),
        "time ×": table["seconds_over"],
        "peak, MiB": (table["memory"] / 2**20).round(),
        "peak ×": table["memory_over"],
    }


def _places(values: pd.Series) -> pd.Series:
    """Three digits of numbers that may be large."""
    # Of what somebody else's run claims, any number can come.
    digits = 2 - np.floor(np.log10(values.where((values > 0) & (values < np.inf), 1)))
    return pd.Series([round(v, int(d)) for v, d in zip(values, digits, strict=True)], values.index)


def _drawn(table: pd.DataFrame) -> dict[str, Any]:
    number = st.column_config.NumberColumn
    return {
        name: number(format=_FORMS.get(name, "%.2f"), help=told)
        for name, told in _HELP.items()
        if name in table
    }


def _why(each: pd.DataFrame) -> str:
    """Why there are dashes, in a sentence; mostly empty."""
    if each["seconds"].isna().any():
        return (
            " A dash: the run was made before the parts of its time and its peak were recorded; "
            "delete it and make it again to see them."
        )
    if each["memory"].isna().any():
        return " A dash: the system that a run was made on does not tell its peak."
    return ""
