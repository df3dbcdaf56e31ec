"""Re-routing on fitted losses beside re-routing on exact ones: DataFrame in, DataFrame out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    table.loc[len(table)] = {"benchmark": MEAN, **_mean(table), "n": table["n"].sum()}
    return table.astype({"n": int})


def _mean(table: pd.DataFrame) -> dict[str, float]:
    """The mean over benchmarks of all columns, and the interval from low to high of a mean."""
    mean = table.mean(numeric_only=True)
    # Benchmarks are independent: the variances of their differences add up.
    half = np.sqrt(((table["high"] - table["low"]) ** 2).sum()) / 2 / max(len(table), 1)
    centre = (mean["high"] + mean["low"]) / 2
    return {**mean, "low": centre - half, "high": centre + half}


def doubted(runs: Mapping[str, Both], thresholds: Sequence[float]) -> pd.DataFrame:
    """What an amortised strategy reaches where its least confident samples are re-routed exactly.

    This is `Setting.sure` without a run of its own: the exact run's answers stand in for those of
    which the amortised one is less sure than a threshold.

    Parameters
    ----------
    runs : benchmark -> the sample rows of the exact run and of the amortised one: position,
        correct, answer, confidence, forward, backward.

    Returns
    -------
    One row per threshold, benchmarks weighing the same: sure (the threshold), again (samples
    re-routed exactly), same_answer and accuracy in percent, difference (accuracy less the exact
    strategy's, in points) with its paired 95 % interval low and high, and passes (of a sample, a
    backward one counting as two).
    """
    both = [
        pairs.aligned({"exact": exact, "amortised": amortised})
        for exact, amortised in runs.values()
    ]
    rows = [
        {"sure": sure, **_mean(pd.DataFrame([_doubting(each, sure) for each in both]))}
        for sure in thresholds
    ]
    return pd.DataFrame(rows)


def _doubting(both: pd.DataFrame, sure: float) -> dict[str, float]:
    """The values of a row of `doubted`, of one benchmark."""
    exact, amortised = (both.xs(name, axis=1, level=1) for name in ("exact", "amortised"))
    unsure = amortised["confidence"] < sure
    right = amortised["correct"].where(~unsure, exact["correct"])
    passes = [way["forward"] + 2 * way["backward"] for way in (amortised, exact)]
    against = pairs.paired(right.to_numpy(bool), exact["correct"].to_numpy(bool))
    return {
        "again": 100 * unsure.mean(),
        "same_answer": 100 * (unsure | (exact["answer"] == amortised["answer"])).mean(),
        "accuracy": 100 * right.mean(),
        **{name: float(against[name]) for name in ("difference", "low", "high")},
        "passes": (passes[0] + unsure * passes[1]).mean(),
    }


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
