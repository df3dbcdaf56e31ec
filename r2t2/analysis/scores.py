"""Benchmarks' own scores with their intervals: DataFrame in, DataFrame out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from r2t2 import metrics

DRAWS = 2000
_COLUMNS = ["benchmark", "strategy", "n", "maximum"]
_SCORES = [f"{name}{end}" for name in ("score", "gain") for end in ("", "_low", "_high")]


def own(figures: pd.DataFrame) -> list[str]:
    """The benchmarks whose own score says something else than the share of right answers.

    Parameters
    ----------
    figures : of runs (`runs.store.runs_table`).
    """
    other = (figures["score"] != figures["accuracy"]) | (
        figures["base_score"] != figures["base_accuracy"]
    )
    return list(dict.fromkeys(figures.loc[other, "benchmark"]))


def score_table(samples: pd.DataFrame) -> pd.DataFrame:
    """Each benchmark's own score under each strategy, and its gain over base.

    Parameters
    ----------
    samples : model, benchmark, seed, strategy, category, metric, group, base_score, score.

    Returns
    -------
    benchmark, strategy, n, score and gain with their 95 % intervals (score_low, score_high,
    gain_low, gain_high) and the highest score there could be, maximum: all in percent, or in
    points where the benchmark counts in points. Several models and seeds are weighed by their
    samples. The intervals are percentiles of a seeded bootstrap that draws what is scored
    together, an image of MME or a question with all its rotations, within each part that is
    averaged for itself, a category or a source; before and after are drawn together.
    """
    rows = []
    for (benchmark, strategy), of in samples.groupby(
        ["benchmark", "strategy"], sort=False, observed=True
    ):
        runs = [run for _, run in of.groupby(["model", "seed"], sort=False, observed=True)]
        drawn = [_drawn(run) for run in runs]
        weights = np.array([len(run) for run in runs]) / len(of)
        values = sum(weight * draws for weight, (draws, _) in zip(weights, drawn, strict=True))
        highest = float(sum(w * most for w, (_, most) in zip(weights, drawn, strict=True)))
        unit = 100.0 if highest == 1 else 1.0
        before, after = unit * np.asarray(values)
        told = [benchmark, strategy, len(of), unit * highest]
        rows.append([*told, *_interval(after), *_interval(after - before)])
    return pd.DataFrame(rows, columns=[*_COLUMNS, *_SCORES])


def _drawn(run: pd.DataFrame) -> tuple[Float[np.ndarray, "2 draws"], float]:
    """The score before and after, as it is (first) and of samples drawn anew; and the highest."""
    groups = run["group"].astype(str).to_numpy()
    how = metrics.aggregation(run["metric"].astype(str).unique(), groups)
    categories = run["category"].astype(str).to_numpy()
    if not metrics.units(how, run["score"].to_numpy(float), categories, groups):
        how = "mean"  # as `metrics.benchmark_score` does
    before, after = (
        metrics.units(how, run[name].to_numpy(float), categories, groups)
        for name in ("base_score", "score")
    )
    rng = np.random.default_rng(0)
    means = {part: _means(before[part], after[part], rng) for part in before}
    scores = [
        metrics.combined(how, {part: of[:, side] for part, of in means.items()}) for side in (0, 1)
    ]
    return np.stack(scores), metrics.maximum(how, before)


def _means(
    before: Float[np.ndarray, " units"],
    after: Float[np.ndarray, " units"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "draws 2"]:
    # There are few different pairs, and to draw how often each is drawn is the same.
    pairs, counts = np.unique(np.stack([before, after], 1), axis=0, return_counts=True)
    drawn = rng.multinomial(len(before), counts / len(before), size=DRAWS)
    return np.concatenate([counts[None], drawn]) @ pairs / len(before)


def _interval(draws: Float[np.ndarray, " draws"]) -> Sequence[float]:
    low, high = np.percentile(draws[1:], [2.5, 97.5])
    return float(draws[0]), float(low), float(high)
