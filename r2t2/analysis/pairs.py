"""Runs of the same samples, held against each other pair by pair.

Runs go by short names, "A", "B", ...; everything but `aligned` takes what that returns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from r2t2.statistics import Z, interval, mcnemar, paired_difference

ALL_SITES = "all sites"
# Widths of the bins that `by_distance` counts in, and how many bins are too many.
_WIDTHS = (0.005, 0.01, 0.02, 0.05, 0.1)
_BINS = 12


def aligned(samples: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The samples that all runs have, with the runs' columns side by side.

    Parameters
    ----------
    samples : name of a run -> its rows, each position once; the columns are the same, texts
        are categories.

    Returns
    -------
    By position; columns are pairs (column, name), so that `["correct"]` is a table with a column
    per run. The categories of a text are the same in all runs, and
        so are their codes.
    """
    parts = {name: rows.set_index("position") for name, rows in samples.items()}
    for column, kind in next(iter(parts.values())).dtypes.items():
        if isinstance(kind, pd.CategoricalDtype):
            texts = {name: rows[column].cat for name, rows in parts.items()}
            known = list(dict.fromkeys(text for own in texts.values() for text in own.categories))
            parts = {
                name: rows.assign(**{str(column): texts[name].set_categories(known)})
                for name, rows in parts.items()
            }
    return pd.concat(parts, axis=1, join="inner").swaplevel(axis=1)


def accuracies(both: pd.DataFrame) -> pd.DataFrame:
    """What each run reaches on the shared samples, and what it gains over its base model.

    Parameters
    ----------
    both : `aligned`, with correct and base_correct.

    Returns
    -------
    One row per run: run, n, accuracy with its 95 % interval low and high (Wilson's), gain in
    points with gain_low and gain_high (as of `paired`), p (McNemar's exact test against
    base), wrong_to_right and right_to_wrong (counts). Accuracies are percentages.
    """
    rows = []
    for name, right in both["correct"].items():
        base = both["base_correct", name]
        low, high = interval(int(right.sum()), len(right))
        gain = paired(right.to_numpy(bool), base.to_numpy(bool))
        rows.append(
            {
                "run": name,
                "n": len(right),
                "accuracy": 100 * right.mean(),
                "low": 100 * low,
                "high": 100 * high,
                "gain": gain["difference"],
                "gain_low": gain["low"],
                "gain_high": gain["high"],
                "p": gain["p"],
                "wrong_to_right": int((right & ~base).sum()),
                "right_to_wrong": int((base & ~right).sum()),
            }
        )
    return pd.DataFrame(rows)


def differences(both: pd.DataFrame) -> pd.DataFrame:
    """How far each pair of runs differs, and how much it agrees.

    Parameters
    ----------
    both : `aligned`, with correct, answer and top1_after.

    Returns
    -------
    One row per pair: first, second, n, what `paired` says of them, first_only and second_only
    (samples that only one of them has right), and in percent same_answer,
    same_outcome (both right or both wrong) and other_top1 (another top-1 expert in the end);
    kappa is Cohen's, of the outcomes: 1 where they are the same on every sample, 0 where no more
    often than two independent runs of such accuracies; nan where one of them cannot vary.
    """
    rows = []
    for first, second in combinations(both["correct"].columns, 2):
        a, b = (both["correct", name].to_numpy(bool) for name in (first, second))
        rows.append(
            {
                "first": first,
                "second": second,
                "n": len(a),
                **paired(a, b),
                "first_only": int((a & ~b).sum()),
                "second_only": int((b & ~a).sum()),
                "same_answer": 100 * _same(both["answer"], first, second).mean(),
                "same_outcome": 100 * (a == b).mean(),
                "kappa": _kappa(a, b),
                "other_top1": 100 - 100 * _same(both["top1_after"], first, second).mean(),
            }
        )
    return pd.DataFrame(rows)


def same_answer(both: pd.DataFrame, names: Sequence[str]) -> pd.Series:
    """Whether these runs give one and the same answer, by position."""
    answers = both["answer"]
    same = [_same(answers, names[0], name) for name in names[1:]]
    return pd.Series(np.logical_and.reduce(same), both.index)


def pattern(both: pd.DataFrame) -> pd.Series:
    """Who is right on each sample: "101" where of three runs the second alone is wrong."""
    right = both["correct"].to_numpy(bool)
    width = right.shape[1]
    codes = right @ (1 << np.arange(width)[::-1])
    names = [format(code, f"0{width}b") for code in range(2**width)]
    return pd.Series(pd.Categorical.from_codes(codes, names), both.index, name="pattern")


def patterns(both: pd.DataFrame) -> pd.DataFrame:
    """How many samples there are of each `pattern` that occurs, the most frequent first.

    Returns
    -------
    pattern, samples, share (percent).
    """
    counts = pattern(both).value_counts()
    counts = counts[counts > 0]
    return pd.DataFrame(
        {
            "pattern": counts.index.astype(str),
            "samples": counts.to_numpy(),
            "share": 100 * counts.to_numpy() / len(both),
        }
    )


def paired(first: Bool[np.ndarray, " n"], second: Bool[np.ndarray, " n"]) -> dict[str, float]:
    """What two runs' outcomes on the same samples say of their accuracies.

    Returns
    -------
    difference (the first's accuracy less the second's, in points) with its 95 % interval low and
    high (`statistics.paired_difference`), and p (McNemar's exact test).
    """
    first_only, second_only = int((first & ~second).sum()), int((second & ~first).sum())
    centre, error = paired_difference(first_only, second_only, len(first))
    return {
        "difference": 100 * (first_only - second_only) / len(first),
        "low": 100 * (centre - Z * error),
        "high": 100 * (centre + Z * error),
        "p": mcnemar(first_only, second_only),
    }


def distances(
    first: Float[np.ndarray, "samples sites experts"],
    second: Float[np.ndarray, "samples sites experts"],
) -> Float[np.ndarray, "samples sites"]:
    """Total variation, half the L1 distance: the weight that would have to be moved."""
    return np.abs(first - second).sum(-1) / 2


def routing(
    r: Mapping[str, Float[np.ndarray, "samples sites experts"]], sites: Sequence[str]
) -> pd.DataFrame:
    """How far apart the routing weights of each pair of runs lie, site by site.

    Parameters
    ----------
    r : name of a run -> its routing weights after the last step, of the same samples.
    sites : the model's, by name.

    Returns
    -------
    first, second, site (`ALL_SITES` last: the mean), distance (mean of `distances`, 0 to 1) and
    other_top1 (percent of samples, or of samples and sites, with another highest weight).
    """
    top = {name: weights.argmax(-1) for name, weights in r.items()}
    rows = []
    for first, second in combinations(r, 2):
        moved = distances(r[first], r[second]).mean(0)
        other = 100 * (top[first] != top[second]).mean(0)
        rows.append(
            pd.DataFrame(
                {
                    "first": first,
                    "second": second,
                    "site": [*sites, ALL_SITES],
                    "distance": [*moved, moved.mean()],
                    "other_top1": [*other, other.mean()],
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def by_distance(
    distance: Float[np.ndarray, " samples"], same: Bool[np.ndarray, " samples"]
) -> pd.DataFrame:
    """How often two runs give the same answer, by how far apart they route the sample.

    Returns
    -------
    One row per bin that has samples: start and end (distance), same and other (samples), share
    (percent with the same answer) with its 95 % interval low and high (Wilson's).
    """
    span = float(distance.max() - distance.min())
    width = next((width for width in _WIDTHS if span <= width * (_BINS - 1)), _WIDTHS[-1])
    # Rounding keeps a distance that is a bin's very start from falling into the one before.
    bins = np.floor(np.round(distance / width, 6)).astype(int)
    rows = []
    for number, group in pd.Series(same).groupby(bins):
        count, agreeing = len(group), int(group.sum())
        low, high = interval(agreeing, count)
        rows.append(
            {
                "start": number * width,
                "end": (number + 1) * width,
                "same": agreeing,
                "other": count - agreeing,
                "share": 100 * agreeing / count,
                "low": 100 * low,
                "high": 100 * high,
            }
        )
    return pd.DataFrame(rows)


def _same(texts: pd.DataFrame, first: str, second: str) -> Bool[np.ndarray, " n"]:
    return texts[first].cat.codes.to_numpy() == texts[second].cat.codes.to_numpy()


def _kappa(first: Bool[np.ndarray, " n"], second: Bool[np.ndarray, " n"]) -> float:
    p, q = first.mean(), second.mean()
    chance = p * q + (1 - p) * (1 - q)
    return float(((first == second).mean() - chance) / (1 - chance)) if chance < 1 else math.nan
