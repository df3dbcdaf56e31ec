"""Re-routing on fitted losses beside re-routing on exact ones: DataFrame in, DataFrame out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from r2t2.analysis import pairs
from r2t2.analysis.results import MEAN

Both = tuple[pd.DataFrame, pd.DataFrame]


def agreement(runs: Mapping[str, Both]) -> pd.DataFrame:
    """What an amortised strategy reaches beside its exact one, and how often they agree.

    Parameters
    ----------
    runs : benchmark -> the sample rows of the exact run and of the amortised one: position,
        correct, answer, top1_after.

    Returns
    -------
    One row per benchmark, and `MEAN`, which weighs them equally: benchmark, n (samples that both
    have), exact and amortised (accuracies in percent), difference (the amortised one's less the
    exact one's, in points) with its paired 95 % interval low and high, and same_answer and
    same_outcome in percent (as of `analysis.pairs.differences`).
    """
    rows = []
    for benchmark, (exact, amortised) in runs.items():
        both = pairs.aligned({"amortised": amortised, "exact": exact})
        found = pairs.differences(both).iloc[0]
        reached = {name: 100 * both["correct", name].mean() for name in ("exact", "amortised")}
        rows.append({"benchmark": benchmark, **reached, **found[_KEPT].to_dict()})
    table = pd.DataFrame(rows, columns=["benchmark", "exact", "amortised", *_KEPT])
    mean = table.mean(numeric_only=True)
    # Benchmarks are independent: the variances of their differences add up.
    half = np.sqrt(((table["high"] - table["low"]) ** 2).sum()) / 2 / max(len(table), 1)
    centre = (table["high"] + table["low"]).mean() / 2
    mean = pd.Series({**mean, "n": table["n"].sum(), "low": centre - half, "high": centre + half})
    table.loc[len(table)] = {"benchmark": MEAN, **mean}
    return table.astype({"n": int})


def break_even(building: float, exact: float, amortised: float) -> float:
    """After how many samples what building took is saved; infinite where nothing is.

    Parameters
    ----------
    building : what the fit of all references took, in seconds or in passes.
    exact, amortised : what either strategy takes of a sample, in the same unit.
    """
    saved = exact - amortised
    return building / saved if saved > 0 else np.inf


_KEPT = ["n", "difference", "low", "high", "same_answer", "same_outcome"]
