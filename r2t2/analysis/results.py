"""What strategies reach, and how far one lies ahead of another: DataFrame in, DataFrame out.

Sample rows have the columns that `r2t2.runs.store.gather` gives them; one row is one sample
under one strategy. A run's figures are its row of `r2t2.runs.store.runs_table`; a table of
accuracies takes nothing else, so that it need not read a single sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from r2t2.statistics import Z, holm, interval, mcnemar, paired_difference

MEAN = "mean"
# By 2 * (base was right) + (the strategy is right).
OUTCOMES = ("stayed wrong", "wrong to right", "right to wrong", "stayed right")
# Controls that a gain must beat before it can be called re-routing by near neighbours.
RANDOM_CONTROLS = ("uniform", "constant", "ngd_random_neighbours")
ALL_CONTROLS = (*RANDOM_CONTROLS, "ngd_same_type_neighbours", "finetuned_router", "ngd_paper")
_RUN = ["model", "benchmark", "seed", "strategy"]


def outcomes(samples: pd.DataFrame) -> pd.Series:
    """What became of each sample: one of `OUTCOMES`."""
    codes = 2 * samples["base_correct"].to_numpy(int) + samples["correct"].to_numpy(int)
    return pd.Series(
        pd.Categorical.from_codes(codes, list(OUTCOMES)), samples.index, name="outcome"
    )


def figures(samples: pd.DataFrame, *by: str) -> pd.DataFrame:
    """The figures of runs, or of the parts that `by` divides them into, counted from samples.

    Parameters
    ----------
    samples : model, benchmark, seed, strategy, base_correct, correct, and the columns of `by`.

    Returns
    -------
    model, benchmark, seed, strategy, those of `by`, n, accuracy and base_accuracy (fractions),
    wrong_to_right and right_to_wrong (counts).
    """
    base, right = samples["base_correct"].to_numpy(bool), samples["correct"].to_numpy(bool)
    counted = samples[[*_RUN, *by]].assign(
        n=1,
        accuracy=right,
        base_accuracy=base,
        wrong_to_right=~base & right,
        right_to_wrong=base & ~right,
    )
    table = counted.groupby([*_RUN, *by], sort=False, observed=True).sum().reset_index()
    for name in ("accuracy", "base_accuracy"):
        table[name] = table[name] / table["n"]
    return table


def results_table(figures: pd.DataFrame) -> pd.DataFrame:
    """Table 2 for any runs: per benchmark and in the mean, what each strategy reaches.

    Parameters
    ----------
    figures : of runs (`runs.store.runs_table`, or `figures` of sample rows): model, benchmark,
        seed, strategy, n, accuracy, base_accuracy, wrong_to_right, right_to_wrong; models and
        seeds are pooled.

    Returns
    -------
    One row per benchmark (and `MEAN`, which weighs benchmarks equally) and strategy: n, accuracy
    with its 95 % interval low and high (Wilson's; in the mean, of a sum of independent shares),
    gain over base in points, p (McNemar's exact test against base; in the mean, over all
    samples), wrong_to_right and right_to_wrong (percent of base's wrong and of its right
    answers), oracle_share (percent of the oracle's gain; nan where the oracle gains less than a
    point), lowest_seed and highest_seed (the lowest and the highest accuracy of a model and
    seed); score, the benchmark's own (docs/metrics.md), its gain over base score_gain, and the
    highest there could be, maximum: 100, or points where the benchmark counts in points; in the
    mean, of the scores in percent of that (paper, section 4.1). Accuracies are percentages.
    """
    counts = _counts(figures, "benchmark")
    scores = _own_scores(figures)
    table = _shares(counts, "benchmark").merge(scores, on=["benchmark", "strategy"])
    means = [
        _mean_row(rows, counts.xs(strategy, level="strategy"))
        for strategy, rows in table.groupby("strategy", sort=False, observed=True)
    ]
    table = pd.concat([table, pd.DataFrame(means)], ignore_index=True)
    of_seeds = per_seed(figures).groupby(["benchmark", "strategy"], observed=True)["accuracy"]
    spread = of_seeds.agg(lowest_seed="min", highest_seed="max")
    table = table.merge(spread, left_on=["benchmark", "strategy"], right_index=True, how="left")
    return _with_oracle_share(table, "benchmark")


def category_table(figures: pd.DataFrame) -> pd.DataFrame:
    """What each strategy reaches on each kind of question.

    Parameters
    ----------
    figures : `figures(samples, "category")`.

    Returns
    -------
    As `results_table`, with category for benchmark, without a mean and without seeds.
    """
    return _with_oracle_share(_shares(_counts(figures, "category"), "category"), "category")


def per_seed(figures: pd.DataFrame) -> pd.DataFrame:
    """The accuracy (percent) of every model, seed, benchmark (and `MEAN`) and strategy."""
    table = figures[[*_RUN, "n"]].assign(accuracy=100 * figures["accuracy"].to_numpy(float))
    table["benchmark"] = table["benchmark"].astype(str)
    of_all = table.groupby(["model", "seed", "strategy"], sort=False, observed=True)
    mean = of_all.agg({"n": "sum", "accuracy": "mean"}).reset_index().assign(benchmark=MEAN)
    return pd.concat([table, mean], ignore_index=True)


def _counts(figures: pd.DataFrame, by: str) -> pd.DataFrame:
    """n, right, base, gained, lost of every group and strategy, models and seeds pooled."""
    n = figures["n"].to_numpy(int)
    counted = pd.DataFrame(
        {
            by: figures[by].astype(str).to_numpy(),
            "strategy": figures["strategy"].astype(str).to_numpy(),
            "n": n,
            "right": np.rint(n * figures["accuracy"].to_numpy(float)).astype(int),
            "base": np.rint(n * figures["base_accuracy"].to_numpy(float)).astype(int),
            "gained": figures["wrong_to_right"].to_numpy(int),
            "lost": figures["right_to_wrong"].to_numpy(int),
        }
    )
    return counted.groupby([by, "strategy"], sort=False).sum()


def _own_scores(figures: pd.DataFrame) -> pd.DataFrame:
    """score, score_gain and maximum of every benchmark and strategy, models and seeds pooled.

    Figures that were counted from right answers alone have accuracies for scores.
    """
    if "score" not in figures:
        figures = figures.assign(
            score=figures["accuracy"], base_score=figures["base_accuracy"], maximum=1.0
        )
    n, highest = figures["n"].to_numpy(float), figures["maximum"].to_numpy(float)
    unit = np.where(highest == 1, 100.0, 1.0)
    score, base = (unit * figures[name].to_numpy(float) for name in ("score", "base_score"))
    weighed = pd.DataFrame(
        {
            "benchmark": figures["benchmark"].astype(str).to_numpy(),
            "strategy": figures["strategy"].astype(str).to_numpy(),
            "n": n,
            "score": n * score,
            "score_gain": n * (score - base),
            "maximum": n * unit * highest,
        }
    )
    sums = weighed.groupby(["benchmark", "strategy"], sort=False).sum()
    return sums.div(sums.pop("n"), axis=0).reset_index()


def _shares(counts: pd.DataFrame, by: str) -> pd.DataFrame:
    rows = []
    for group, strategy, n, right, base, gained, lost in counts.reset_index().itertuples(
        index=False
    ):
        low, high = interval(right, n)
        rows.append(
            {
                by: group,
                "strategy": strategy,
                "n": n,
                "accuracy": 100 * right / n,
                "low": 100 * low,
                "high": 100 * high,
                "gain": 100 * (right - base) / n,
                "p": mcnemar(gained, lost),
                "wrong_to_right": _percent(gained, n - base),
                "right_to_wrong": _percent(lost, base),
            }
        )
    return pd.DataFrame(rows)


def _mean_row(rows: pd.DataFrame, counts: pd.DataFrame) -> dict[str, object]:
    share = rows["accuracy"] / 100
    error = math.sqrt(float((share * (1 - share) / rows["n"]).sum())) / len(rows)
    accuracy = float(rows["accuracy"].mean())
    total = counts.sum()
    return {
        "benchmark": MEAN,
        "strategy": rows["strategy"].iloc[0],
        "n": total["n"],
        "accuracy": accuracy,
        "low": max(accuracy - 100 * Z * error, 0.0),
        "high": min(accuracy + 100 * Z * error, 100.0),
        "gain": float(rows["gain"].mean()),
        "score": float((100 * rows["score"] / rows["maximum"]).mean()),
        "score_gain": float((100 * rows["score_gain"] / rows["maximum"]).mean()),
        "maximum": 100.0,
        "p": mcnemar(total["gained"], total["lost"]),
        "wrong_to_right": _percent(total["gained"], total["n"] - total["base"]),
        "right_to_wrong": _percent(total["lost"], total["base"]),
    }


def _with_oracle_share(table: pd.DataFrame, by: str) -> pd.DataFrame:
    oracle = table[table["strategy"] == "oracle"].set_index(by)["gain"]
    ceiling = table[by].map(oracle)
    return table.assign(oracle_share=(100 * table["gain"] / ceiling).where(ceiling >= 1))


def _percent(part: float, whole: float) -> float:
    return 100 * part / whole if whole else math.nan


def leads(
    samples: pd.DataFrame, strategy: str = "ngd", others: Sequence[str] = ALL_CONTROLS
) -> pd.DataFrame:
    """How far a strategy lies ahead of others on the very same samples.

    Parameters
    ----------
    samples : model, benchmark, seed, position, strategy, correct; a sample is the same where
        the first four are.

    Returns
    -------
    One row per one of `others` that shares samples with the strategy: other, n (samples that
    both answered), benchmarks (that these are of), accuracy and other_accuracy (percent), ahead
    (points) with its 95 % interval low and high (Bonett and Price's for paired shares), won and
    lost (samples that only the strategy, only the other is right on), p (McNemar's exact test
    over all these samples), and holm (p corrected for the number of rows). Accuracies and leads
    weigh benchmarks equally.
    """
    others = [other for other in others if other != strategy]
    benchmark, outcomes = _side_by_side(samples, [strategy, *others])
    rows = []
    for other in others:
        both = (outcomes[strategy] >= 0) & (outcomes[other] >= 0)
        if both.any():
            mine, theirs = outcomes[strategy][both] == 1, outcomes[other][both] == 1
            rows.append({"other": other, **_lead(benchmark[both], mine, theirs)})
    columns = ["other", "n", "benchmarks", "accuracy", "other_accuracy", "ahead", "low", "high"]
    table = pd.DataFrame(rows, columns=[*columns, "won", "lost", "p"])
    return table.assign(holm=holm(table["p"].tolist()))


def _lead(benchmark: np.ndarray, mine: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """A row of `leads` from who is right on which sample."""
    pairs = {"n": 1, "mine": mine, "theirs": theirs, "won": mine & ~theirs, "lost": theirs & ~mine}
    counts = pd.DataFrame(pairs).groupby(benchmark).sum()
    shares = 100 * counts.div(counts["n"], axis=0).mean()
    of_each = [
        paired_difference(row.won, row.lost, row.n) for row in counts.itertuples(index=False)
    ]
    centre = sum(difference for difference, _ in of_each) / len(of_each)
    half = Z * math.sqrt(sum(error**2 for _, error in of_each)) / len(of_each)
    won, lost = int(counts["won"].sum()), int(counts["lost"].sum())
    return {
        "n": len(benchmark),
        "benchmarks": len(counts),
        "accuracy": shares["mine"],
        "other_accuracy": shares["theirs"],
        "ahead": shares["won"] - shares["lost"],
        "low": 100 * (centre - half),
        "high": 100 * (centre + half),
        "won": won,
        "lost": lost,
        "p": mcnemar(won, lost),
    }


def _side_by_side(
    samples: pd.DataFrame, strategies: Sequence[str]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Each sample's benchmark, as a number, and each strategy's outcomes.

    An outcome is 1 (right), 0 (wrong) or -1 (not run); a sample has the same place in all.
    """
    codes = pd.Categorical(samples["strategy"], list(strategies)).codes
    kept, codes = samples[codes >= 0], codes[codes >= 0]
    of = kept.groupby(["model", "benchmark", "seed"], sort=False, observed=True).ngroup().to_numpy()
    position, correct = kept["position"].to_numpy(int), kept["correct"].to_numpy(np.int8)
    width = position.max(initial=0) + 1
    place = of * width + position
    size = (of.max(initial=-1) + 1) * width
    benchmark = np.zeros(size, int)
    benchmark[place] = pd.factorize(kept["benchmark"])[0]
    outcomes = {name: np.full(size, -1, np.int8) for name in strategies}
    for code, name in enumerate(strategies):
        outcomes[name][place[codes == code]] = correct[codes == code]
    return benchmark, outcomes
