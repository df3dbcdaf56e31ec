"""How a reference set covers the questions that it is to help with, and what that does to gain.

Distances are between unit vectors of questions, from 0 (the same question) to 2, as equations
9 and 10 have them. Of the k nearest references of a question there are three `MEASURES`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import faiss
import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.special import stdtr, stdtrit

from r2t2.statistics import Z, interval, paired_difference

MEASURES = {"mean": "mean of the k nearest", "nearest": "nearest", "farthest": "k-th nearest"}
# What a strategy does to a sample, in percent: the last of base's wrong answers alone.
EFFECTS = {"accuracy": "accuracy", "gain": "gain", "wrong_to_right": "wrong → right"}
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# A question is far where it lies farther than this share of the references do themselves.
FAR = QUANTILES[-1]
POOLED, WITHIN = "all, pooled", "all, within benchmarks"
_SAMPLE = ["model", "benchmark", "seed", "position"]
_ENOUGH = 4000


def nearest(
    vectors: Float[np.ndarray, "references dimensions"],
    queries: Float[np.ndarray, "queries dimensions"],
    k: int,
) -> tuple[Float[np.ndarray, "queries k"], Int[np.ndarray, "queries k"]]:
    """Distances and places of the k references nearest to each query, nearest first (eq. 9).

    Parameters
    ----------
    vectors, queries : unit vectors.
    """
    k = min(k, len(vectors))
    inner, index = faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
    return np.sqrt(np.clip(2 - 2 * inner, 0, None)), index


def own_distances(
    vectors: Float[np.ndarray, "references dimensions"], k: int
) -> Float[pd.DataFrame, "references measures"]:
    """How far references lie from the k nearest others: what the set is measured by.

    Returns
    -------
    reference (its place in `vectors`), nearest, mean, farthest; of a set of more than 4,000
    every so manieth one.
    """
    places = np.arange(0, len(vectors), -(-len(vectors) // _ENOUGH))
    distance, index = nearest(vectors, vectors[places], k + 1)
    # Itself goes; where more than k others are the same question it may not even be there.
    others = np.argsort(index == places[:, None], axis=1, kind="stable")[:, :-1]
    distance = np.take_along_axis(distance, others, 1)
    return pd.DataFrame(
        {
            "reference": places,
            "nearest": distance[:, 0],
            "mean": distance.mean(1),
            "farthest": distance[:, -1],
        }
    )


def distances(samples: pd.DataFrame) -> pd.DataFrame:
    """How far each sample lies from the references that a run found for it.

    Parameters
    ----------
    samples : model, benchmark, seed, position, base_correct, correct, neighbour_distance (a
        list per sample, nearest first); of one strategy.

    Returns
    -------
    The same without the list, with nearest, mean and farthest (nan where there is no
    neighbour), and question: the same number for samples of a benchmark with the same
    distances, which is to say (but for chance) with the same question.
    """
    lists = samples["neighbour_distance"].to_numpy()
    count = np.fromiter(map(len, lists), int, len(lists))
    found = count > 0
    flat = np.concatenate(lists).astype(float) if found.any() else np.empty(0)
    ends = count.cumsum()
    starts = ends - count
    table = samples.drop(columns="neighbour_distance")
    for name in MEASURES:
        table[name] = np.nan
    table.loc[found, "nearest"] = flat[starts[found]]
    table.loc[found, "farthest"] = flat[ends[found] - 1]
    if found.any():
        table.loc[found, "mean"] = np.add.reduceat(flat, starts[found]) / count[found]
    alike = ["model", "benchmark", "seed", *MEASURES]
    table["question"] = table.groupby(alike, observed=True, dropna=False).ngroup()
    return table


def located(distances: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """What every strategy makes of samples whose distance is known.

    Parameters
    ----------
    distances : `distances` of one strategy.
    samples : model, benchmark, seed, position, strategy, correct of any strategies.

    Returns
    -------
    `distances`, without correct, and a column for each strategy: 1 where it is right, 0 where
    it is wrong, nan where it was not run on the sample.
    """
    table = distances.drop(columns=["strategy", "correct"], errors="ignore")
    for strategy, rows in samples.groupby("strategy", observed=True, sort=False):
        right = rows[_SAMPLE].assign(**{str(strategy): rows["correct"].astype(float)})
        table = table.merge(right, on=_SAMPLE, how="left")
    return table


def farthest(distances: pd.DataFrame, measure: str) -> pd.DataFrame:
    """The questions that lie farthest from the reference set first, each with one sample of it.

    Returns
    -------
    `distances`, one row per question, with samples (that ask it), base_right and right (of how
    many of them).
    """
    known = distances.dropna(subset=measure)
    question = known["question"].to_numpy()
    first = known.drop_duplicates("question")
    counts = {
        "samples": np.bincount(question),
        "base_right": np.bincount(question, known["base_correct"]).astype(int),
        "right": np.bincount(question, known["correct"]).astype(int),
    }
    table = first.assign(**{name: of[first["question"]] for name, of in counts.items()})
    return table.sort_values(measure, ascending=False, kind="stable").reset_index(drop=True)


def spread(distances: pd.DataFrame, own: pd.DataFrame, measure: str) -> pd.DataFrame:
    """How far each benchmark is from the reference set, farthest first.

    Returns
    -------
    benchmark, n, q5, q25, q50, q75, q95 of the distance, and far: the percentage of samples
    that lie farther than 95 % of the references do from each other. The first row, of benchmark
    "" and n the number of references looked at, is the reference set's own.
    """
    names = [f"q{100 * q:.0f}" for q in QUANTILES]
    limit = own[measure].quantile(FAR)
    groups = distances.dropna(subset=measure).groupby("benchmark", observed=True)[measure]
    rows = groups.quantile(list(QUANTILES)).unstack().set_axis(names, axis=1)
    rows.insert(0, "n", groups.size())
    rows["far"] = 100 * groups.agg(lambda values: (values > limit).mean())
    rows = rows.sort_values("q50", ascending=False).reset_index()
    first = dict(zip(names, own[measure].quantile(list(QUANTILES)), strict=True))
    first |= {"benchmark": "", "n": len(own), "far": 100 * (own[measure] > limit).mean()}
    return pd.concat([pd.DataFrame([first])[rows.columns], rows.astype({"benchmark": object})])


def histogram(values: pd.Series, own: pd.Series, bins: int = 40) -> pd.DataFrame:
    """Two distributions of distance on the same bins.

    Returns
    -------
    distance (the middle of a bin), samples and references (percent of each).
    """
    known = values.dropna()
    edges = np.linspace(0, max(known.max(), own.max()) * 1.0001, bins + 1)
    table = pd.DataFrame({"distance": (edges[1:] + edges[:-1]) / 2})
    for name, given in (("samples", known), ("references", own)):
        table[name] = 100 * np.histogram(given, edges)[0] / len(given)
    return table


def tenths(
    located: pd.DataFrame, strategies: Sequence[str], measure: str, within: bool = False
) -> pd.DataFrame:
    """What strategies reach on the nearest tenth of the samples, the next, ..., the farthest.

    Parameters
    ----------
    located : of `located`.
    within : take the tenths of each benchmark, so that every tenth is the same mix of them;
        otherwise a far tenth may just be a hard benchmark.

    Returns
    -------
    One row per tenth (1 to 10; questions at one distance are in one tenth, so that some may be
    missing) and strategy, or "base": distance (the mean), n, wrong (of base's answers); accuracy,
    gain (over base, points) and wrong_to_right (percent of base's wrong answers), each with a
    95 % interval (_low, _high): Wilson's; Bonett and Price's of the gain, which is paired.
    """
    table = located.dropna(subset=measure)
    ranked = table.groupby(_SAMPLE[:-1], observed=True) if within else table
    tenth = np.ceil(10 * ranked[measure].rank(pct=True).to_numpy() - 1e-9).astype(int)
    base = table["base_correct"].to_numpy(bool)

    def count(kept: np.ndarray) -> np.ndarray:
        return np.bincount(tenth[kept], minlength=11)

    rows = []
    for strategy in ("base", *strategies):
        right = base.astype(float) if strategy == "base" else table[strategy].to_numpy()
        known = ~np.isnan(right)
        n, wrong = count(known), count(known & ~base)
        correct = count(right == 1)
        gained, lost = count(~base & (right == 1)), count(base & (right == 0))
        total = np.bincount(tenth[known], table[measure].to_numpy()[known], minlength=11)
        for i in np.flatnonzero(n):
            row = {"tenth": i, "strategy": strategy, "distance": total[i] / n[i]}
            row |= {"n": n[i], "wrong": wrong[i]}
            centre, error = paired_difference(gained[i], lost[i], n[i])
            row |= _share("accuracy", correct[i], n[i])
            row |= _share("wrong_to_right", gained[i], wrong[i])
            row |= {
                "gain": 100 * (gained[i] - lost[i]) / n[i],
                "gain_low": 100 * (centre - Z * error),
                "gain_high": 100 * (centre + Z * error),
            }
            rows.append(row)
    return pd.DataFrame(rows)


def _share(name: str, part: int, whole: int) -> dict[str, float]:
    """A percentage with its interval; nan of nothing."""
    low, high = interval(part, whole) if whole else (np.nan, np.nan)
    value = part / whole if whole else np.nan
    return {name: 100 * value, f"{name}_low": 100 * low, f"{name}_high": 100 * high}


def slopes(
    located: pd.DataFrame,
    strategies: Sequence[str],
    measure: str,
    effect: str,
    over: str = "base",
) -> pd.DataFrame:
    """How much an effect changes with distance, by benchmark and over all of them.

    Parameters
    ----------
    located : of `located`.
    effect : of `EFFECTS`.
    over : what a gain is counted from: "base", or another strategy, for the lead over it.

    Returns
    -------
    One row per strategy and benchmark, and, of several benchmarks, `POOLED` (which a benchmark
    that is both far and hard can turn round) and `WITHIN` (distance and effect counted from
    each benchmark's mean): n, questions, slope (points per 0.1 of distance) with low, high and
    p. The least-squares slope's error is clustered by question (Cameron and Miller 2015), since
    a question recurs with other pictures; nan below five questions.
    """
    table = located.dropna(subset=measure)
    benchmark, names = pd.factorize(table["benchmark"])
    group = table.groupby(_SAMPLE[:-1], observed=True).ngroup().to_numpy()
    one = np.zeros_like(group)
    parts = {POOLED: (True, one), WITHIN: (True, group)} if len(names) > 1 else {}
    parts |= {name: (benchmark == i, one) for i, name in enumerate(names)}
    distance, question = 10 * table[measure].to_numpy(), table["question"].to_numpy()
    right = {name: table[name].to_numpy() for name in {*strategies, over} - {"base"}}
    right["base"] = base = table["base_correct"].to_numpy(float)
    rows = []
    for strategy in strategies:
        value = 100 * (right[strategy] - (right[over] if effect == "gain" else 0))
        known = ~np.isnan(value) & ((base == 0) | (effect != "wrong_to_right"))
        for name, (there, groups) in parts.items():
            kept = known & there
            fitted = _slope(distance[kept], value[kept], question[kept], groups[kept])
            rows.append({"benchmark": name, "strategy": strategy, "n": int(kept.sum()), **fitted})
    return pd.DataFrame(rows)


def _slope(
    x: Float[np.ndarray, " samples"],
    y: Float[np.ndarray, " samples"],
    cluster: Int[np.ndarray, " samples"],
    group: Int[np.ndarray, " samples"],
) -> dict[str, float]:
    """Slope of y over x, both less their group's mean, with errors clustered."""
    questions = int(np.count_nonzero(np.bincount(cluster)))
    size = np.bincount(group)
    x, y = (v - (np.bincount(group, v) / np.maximum(size, 1))[group] for v in (x, y))
    square = float(x @ x)
    if questions < 5 or square < 1e-9:
        return {"questions": questions, **dict.fromkeys(("slope", "low", "high", "p"), np.nan)}
    slope = float(x @ y) / square
    scores = np.bincount(cluster, x * (y - slope * x))
    free = len(x) - np.count_nonzero(size) - 1
    small = questions / (questions - 1) * (len(x) - 1) / free
    error = np.sqrt(small * float(scores @ scores)) / square
    reach = float(stdtrit(questions - 1, 0.975)) * error
    p = 2 * float(stdtr(questions - 1, -abs(slope) / error)) if error else float(slope == 0)
    bounds = {"slope": slope, "low": slope - reach, "high": slope + reach}
    return {"questions": questions, **bounds, "p": p}


def uses(neighbours: pd.Series, references: pd.DataFrame) -> pd.DataFrame:
    """How often each reference is a neighbour, most used first.

    Parameters
    ----------
    neighbours : a list of positions per sample.
    references : position, ...; those that were searched.
    """
    lists = neighbours.to_numpy()
    flat = np.concatenate([np.empty(0, np.int64), *lists])
    position = references["position"].to_numpy()
    size = max(int(flat.max(initial=0)), int(position.max())) + 1
    table = references.assign(uses=np.bincount(flat, minlength=size)[position])
    return table.sort_values("uses", ascending=False, kind="stable").reset_index(drop=True)


def hubness(uses: pd.Series) -> dict[str, float]:
    """What a set's use looks like as a whole.

    Returns
    -------
    used (how many references were ever a neighbour), skew of the number of uses (0: all alike;
    above about 1: hubs; Radovanović et al. 2010), top (percent of all uses that the most used
    hundredth of the references has).
    """
    sizes = np.sort(uses.to_numpy(float))[::-1]
    hundredth = -(-len(sizes) // 100)
    off = sizes - sizes.mean()
    return {
        "used": int((sizes > 0).sum()),
        "skew": float((off**3).mean() / off.std() ** 3) if off.any() else 0.0,
        "top": 100 * sizes[:hundredth].sum() / max(sizes.sum(), 1),
    }


def use_counts(uses: pd.Series) -> pd.DataFrame:
    """How many references were used how often, in doubling steps.

    Returns
    -------
    uses ("0", "1", "2–3", "4–7", ...), references.
    """
    most = int(uses.max())
    edges = [0, *(2**i for i in range(most.bit_length() + 1))]
    counts, _ = np.histogram(uses, edges)
    names = [str(low) if high - low == 1 else f"{low}–{high - 1}" for low, high in pairwise(edges)]
    return pd.DataFrame({"uses": names, "references": counts})


def use_by_type(uses: pd.DataFrame) -> pd.DataFrame:
    """`uses` by type of question, the most used one first.

    Returns
    -------
    type, references, ever a neighbour (percent), uses per reference.
    """
    groups = uses.groupby("category")["uses"]
    table = pd.DataFrame(
        {
            "references": groups.size(),
            "ever a neighbour": 100 * groups.agg(lambda values: (values > 0).mean()),
            "uses per reference": groups.mean(),
        }
    )
    table = table.sort_values("uses per reference", ascending=False)
    return table.rename_axis("type").reset_index()


def types(references: pd.DataFrame) -> pd.DataFrame:
    """What the set is made of, by type of question, largest first.

    Parameters
    ----------
    references : category, question, correct.

    Returns
    -------
    category, n, kept, dropped, accuracy (percent of the model's answers that are right) with
    its 95 % interval low and high, questions (different ones).
    """
    groups = references.groupby("category", sort=False)
    table = pd.DataFrame(
        {
            "n": groups.size(),
            "kept": groups["correct"].sum(),
            "questions": groups["question"].nunique(),
        }
    )
    table["dropped"] = table["n"] - table["kept"]
    table["accuracy"] = 100 * table["kept"] / table["n"]
    bounds = [interval(int(k), int(n)) for k, n in zip(table["kept"], table["n"], strict=True)]
    table["low"], table["high"] = 100 * np.array(bounds).T
    return table.sort_values("n", ascending=False, kind="stable").reset_index()
