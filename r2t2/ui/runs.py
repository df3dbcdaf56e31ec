"""The run cache as the pages see it: complete runs, each question of the cache asked once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from r2t2.analysis import MEAN, outcomes, results_table
from r2t2.paths import runs_folder

if TYPE_CHECKING:
    from r2t2.runs.store import Run


def models() -> list[str]:
    """The models that there are complete runs of."""
    return sorted({run.spec.model for run in _complete()})


def shown(models: Sequence[str]) -> list[Run]:
    """The runs of some models that a table shows: `selection.default_runs` of each."""
    from r2t2.runs.selection import default_runs

    runs = _complete()
    return [
        run
        for model in models
        for run in default_runs([run for run in runs if run.spec.model == model])
    ]


def unreadable() -> dict[Path, str]:
    """The folders of the cache that hold no readable run, with the reason."""
    from r2t2.runs.store import scan

    return scan(runs_folder())[1]


def _complete() -> list[Run]:
    from r2t2.runs.store import list_runs

    return [run for run in list_runs(runs_folder()) if run.status == "complete"]


def samples(runs: list[Run]) -> pd.DataFrame:
    """The sample rows of runs: model, benchmark, seed, strategy, position, correctness.

    Raises
    ------
    DamagedRun : a file of one of them is missing or damaged.
    """
    return _samples(_key(runs))


def results(runs: list[Run]) -> pd.DataFrame:
    """`analysis.results_table` of runs.

    The mean has only the strategies that were run on every benchmark and seed; another one's
    would be the mean of other questions.

    Raises
    ------
    DamagedRun : a file of one of them is missing or damaged.
    """
    table = _results(_key(runs))
    mean = table["benchmark"] == MEAN
    return table[~mean | (table["n"] == table.loc[mean, "n"].max())]


def flips(runs: list[Run], outcome: str, strategy: str = "ngd") -> pd.DataFrame:
    """The samples of which a strategy made an outcome, e.g. "wrong to right"."""
    rows = samples([run for run in runs if run.spec.strategy == strategy])
    return rows[outcomes(rows) == outcome]


def _key(runs: list[Run]) -> tuple[tuple[str, str], ...]:
    # What a complete run holds does not change; when it is made anew, `finished` does.
    return tuple((str(run.folder), str(run.manifest["finished"])) for run in runs)


@st.cache_data(max_entries=8, show_spinner=False)
def _samples(key: tuple[tuple[str, str], ...]) -> pd.DataFrame:
    from r2t2.runs.store import Run, gather

    runs = [Run.load(Path(folder)) for folder, _ in key]
    return gather(runs, ["position", "base_correct", "correct"])


@st.cache_data(max_entries=8, show_spinner=False)
def _results(key: tuple[tuple[str, str], ...]) -> pd.DataFrame:
    return results_table(_samples(key))
