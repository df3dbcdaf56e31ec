"""The run cache as the pages see it: complete runs, each question of the cache asked once.

What is returned is shared by all sessions: read it, never write into it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st
from jaxtyping import Int16
from pandas.api.types import union_categoricals

from r2t2.analysis.results import MEAN, outcomes, results_table
from r2t2.analysis.shifts import leading
from r2t2.paths import runs_folder
from r2t2.sites import Site

if TYPE_CHECKING:
    from r2t2.runs.store import Run

# The run set of everything that there is.
ALL = "all"


def _made(run: Run) -> tuple[str, str]:
    # What a complete run holds does not change; when it is made anew, `finished` does.
    return str(run.folder), str(run.manifest["finished"])


# For Streamlit's caches: runs are known by what they hold.
BY_CONTENT: dict[str | type[Any], Callable[[Any], Any]] = {"r2t2.runs.store.Run": _made}


def complete() -> list[Run]:
    """The best complete run of each model, reference set, benchmark, seed and variant."""
    from r2t2.runs.selection import best
    from r2t2.runs.store import list_runs

    return best(list_runs(runs_folder()))


def unreadable() -> dict[Path, str]:
    """The folders of the cache that hold no readable run, with the reason."""
    from r2t2.runs.store import scan

    return scan(runs_folder())[1]


def sets(model: str) -> list[str]:
    """The names of the run sets, a model's own first: one per reference set, and `ALL`."""
    found = sorted(
        {(run.spec.model != model, run.spec.model, run.spec.reference) for run in complete()}
    )
    names = [reference for _, _, reference in found]
    return [*names, ALL] if len(names) > 1 else names


def set_label(name: str) -> str:
    """A run set's name as it is shown: its model's, where that has one set only."""
    if name == ALL:
        return "all of them"
    of = {run.spec.reference: run.spec.model for run in complete()}
    alone = list(of.values()).count(of.get(name, "")) == 1
    return of[name] if alone else name


def chosen(evaluations: bool = False) -> list[Run]:
    """The runs of the set that the sidebar names.

    Parameters
    ----------
    evaluations : whether other evaluators' results are among them, which have no routing.
    """
    name = st.session_state.get("runs")
    return [
        run
        for run in complete()
        if name in (ALL, run.spec.reference) and (evaluations or not run.spec.external)
    ]


def defaults() -> list[Run]:
    """Those of the chosen set that a results table shows: every strategy as it is named."""
    from r2t2.runs.selection import default_runs

    return default_runs(chosen())


def variant(run: Run) -> str:
    """The strategy as tables and filters name it, changed options included."""
    from r2t2.runs.selection import variant

    return variant(run.spec)


def benchmarks(runs: Sequence[Run]) -> list[str]:
    """The benchmarks that there are runs of, by name, dev last."""
    from r2t2.runs.selection import DEV

    return sorted({run.spec.benchmark for run in runs}, key=lambda name: (name == DEV, name))


def sites(runs: Sequence[Run]) -> tuple[Site, ...]:
    """The routing sites that runs share; of several models' those of the first."""
    return runs[0].sites if runs else ()


def samples(runs: Sequence[Run], *columns: str) -> pd.DataFrame:
    """The sample rows of runs, texts as categories.

    Returns
    -------
    run (its id), model, benchmark, seed, strategy (the variant), position, base_correct,
    correct, and what else of `store.SCHEMAS["samples"]` is asked for.

    Raises
    ------
    DamagedRun : a file of one of them is missing or damaged.
    """
    wanted = dict.fromkeys(["position", "base_correct", "correct", *columns])
    return _rows(_key(runs), "samples", tuple(wanted))


def steps(runs: Sequence[Run], *columns: str) -> pd.DataFrame:
    """The step rows of runs, texts as categories; without `r` unless it is asked for.

    Returns
    -------
    run (its id), model, benchmark, seed, strategy (the variant), position, step, and what of
    `store.SCHEMAS["steps"]` is asked for.

    Raises
    ------
    DamagedRun : a file of one of them is missing or damaged.
    """
    return _rows(_key(runs), "steps", tuple(dict.fromkeys(["position", "step", *columns])))


def figures(runs: Sequence[Run]) -> pd.DataFrame:
    """The figures that runs' manifests hold (`store.runs_table`), strategy being the variant."""
    from r2t2.runs.store import runs_table

    return runs_table(runs).assign(strategy=[variant(run) for run in runs])


def site_top1(runs: Sequence[Run], site: str) -> pd.Categorical:
    """The top-1 expert at one routing site, for every row of `steps`.

    Raises
    ------
    DamagedRun : a file of one of them is missing or damaged.
    ValueError : one of them has no such site.
    """
    parts = []
    for run in runs:
        place = [of.name for of in run.sites].index(site)
        codes = _leading(*_key([run]))[:, place]
        parts.append(pd.Categorical.from_codes(codes, list(run.sites[place].experts)))
    return union_categoricals(parts)


def results(runs: Sequence[Run]) -> pd.DataFrame:
    """`analysis.results.results_table` of runs.

    The mean has only the strategies that were run on every benchmark and seed; another one's
    would be the mean of other questions.
    """
    table = _results(_key(runs), runs)
    mean = table["benchmark"] == MEAN
    return table[~mean | (table["n"] == table.loc[mean, "n"].max())]


def flips(runs: Sequence[Run], outcome: str, strategy: str = "ngd") -> pd.DataFrame:
    """The samples of which a strategy made an outcome, e.g. "wrong to right"."""
    rows = samples([run for run in runs if variant(run) == strategy])
    return rows[outcomes(rows) == outcome]


def _key(runs: Sequence[Run]) -> tuple[tuple[str, str], ...]:
    return tuple(map(_made, runs))


@st.cache_resource(max_entries=24, show_spinner=False)
def _rows(key: tuple[tuple[str, str], ...], table: str, columns: tuple[str, ...]) -> pd.DataFrame:
    from r2t2.runs.store import Run, gather

    runs = [Run.load(Path(folder)) for folder, _ in key]
    rows = gather(runs, "samples" if table == "samples" else "steps", columns)
    named = {run.id: variant(run) for run in runs}
    rows["strategy"] = rows["run"].map(named).astype("category")
    return rows


@st.cache_resource(max_entries=64, show_spinner=False)
def _leading(key: tuple[str, str]) -> Int16[np.ndarray, "rows sites"]:
    from r2t2.runs.store import Run

    run = Run.load(Path(key[0]))
    # Past pandas, which would make an object of every row's weights.
    lists = run.read("steps", ["r"])["r"].combine_chunks()
    r = lists.flatten().to_numpy().reshape(len(lists), len(run.sites), -1)
    return leading(r, run.sites)


@st.cache_resource(max_entries=16, show_spinner=False)
def _results(key: tuple[tuple[str, str], ...], _runs: Sequence[Run]) -> pd.DataFrame:
    return results_table(figures(_runs))
