"""What runs took, beside base: DataFrame in, DataFrame out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

# Runs that agree in these were made of the same samples on the same kind of device, and both here
# or both elsewhere: only their costs may be compared.
_ALIKE = ["model", "benchmark", "seed", "device", "imported"]
# What is compared with base's.
COMPARED = ("passes", "seconds", "memory")


def beside_base(runs: pd.DataFrame) -> pd.DataFrame:
    """What each run took of a sample, and how many times what base took.

    A sample's seconds go from its question and loaded picture to its answer, as `r2t2.bench`
    has them: its encoding, what the strategy itself took, and the answers before and after. They
    are put together from these parts because a run's own seconds do not compare: pictures are
    loaded and encoded for the first strategy of several alone, and answers at the steps in
    between are asked for only to be looked at.

    Parameters
    ----------
    runs : `runs.store.costs_table`.

    Returns
    -------
    The rows of `runs` with passes (of a sample, in forward passes; a backward pass counts as
    two), own (seconds of a sample that the strategy itself took), wall (all that the run took of
    a sample), seconds, per_second, memory (`peak_memory`); base_passes, base_seconds and
    base_memory (of base on the same model, benchmark, seed and device, nan where there is no
    such run), and passes_over, seconds_over and memory_over (times base's).
    """
    each = 1 / runs["n"].to_numpy(float)
    answers = np.where(runs["strategy"] == "base", 1, 2)
    in_all = runs["encoding_seconds"] + runs["strategy_seconds"] + answers * runs["answer_seconds"]
    in_all = in_all.where(in_all > 0)  # too short for the four decimals that are stored
    table = runs.assign(
        passes=runs["forward"] + 2 * runs["backward"],
        own=runs["strategy_seconds"] * each,
        wall=runs["wall_seconds"] * each,
        seconds=in_all * each,
        per_second=1 / (in_all * each),
        memory=runs["peak_memory"],
    )
    base = table[table["strategy"] == "base"].sort_values("n", ascending=False, kind="stable")
    names = {name: f"base_{name}" for name in COMPARED}
    of_base = base.drop_duplicates(_ALIKE)[[*_ALIKE, *names]].rename(columns=names)
    table = table.merge(of_base, on=_ALIKE, how="left")
    return table.assign(**{f"{name}_over": table[name] / table[names[name]] for name in names})


def pooled(
    table: pd.DataFrame, by: Sequence[str] = ("model", "device", "strategy")
) -> pd.DataFrame:
    """Rows of `beside_base` put together, in the order in which they first appear.

    Returns
    -------
    Those of `by`, runs (how many), n (their samples), forward, backward and passes (in the mean
    over samples), own and seconds (in the median over runs, so that a run that something else
    held up, or that had to learn first, does not count for more than one), per_second, memory
    (the highest), passes_over and seconds_over (in the median over the runs that have a run of
    base beside them), and memory_over (the highest over base's highest).
    """
    rows = []
    for of, runs in table.groupby(list(by), sort=False):
        compared = runs[runs["memory_over"].notna()]
        rows.append(
            {
                **dict(zip(by, of, strict=True)),
                "runs": len(runs),
                "n": int(runs["n"].sum()),
                **{name: _mean(runs[name], runs["n"]) for name in _MEANS},
                **{name: runs[name].median() for name in _MEDIANS},
                "memory": runs["memory"].max(),
                "memory_over": compared["memory"].max() / compared["base_memory"].max(),
            }
        )
    columns = [*by, "runs", "n", *_MEANS, *_MEDIANS, "memory", "memory_over"]
    found = pd.DataFrame(rows, columns=columns)
    return found.assign(per_second=1 / found["seconds"].astype(float))


_MEANS = ("forward", "backward", "passes")
_MEDIANS = ("own", "seconds", "passes_over", "seconds_over")


def _mean(values: pd.Series, n: pd.Series) -> float:
    """In the mean over samples, of the runs of which it is known; nan where it is of none."""
    known = values.notna().to_numpy()
    return float(np.average(values[known], weights=n[known])) if known.any() else np.nan
