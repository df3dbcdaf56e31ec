"""Tables from runs: DataFrame in, DataFrame out.

Sample rows have the columns that `r2t2.runs.store.gather` gives them; one row is one sample
under one strategy.
"""

from __future__ import annotations

import math

import pandas as pd

from r2t2.statistics import interval, mcnemar

MEAN = "mean"
# By 2 * (base was right) + (the strategy is right).
OUTCOMES = ("stayed wrong", "wrong to right", "right to wrong", "stayed right")
# Controls that a gain must beat before it can be called re-routing by near neighbours.
RANDOM_CONTROLS = ("uniform", "constant", "ngd_random_neighbours")
ALL_CONTROLS = (*RANDOM_CONTROLS, "ngd_same_type_neighbours", "finetuned_router", "ngd_paper")


def outcomes(samples: pd.DataFrame) -> pd.Series:
    """What became of each sample: one of `OUTCOMES`."""
    codes = 2 * samples["base_correct"].to_numpy(int) + samples["correct"].to_numpy(int)
    return pd.Series(
        pd.Categorical.from_codes(codes, list(OUTCOMES)), samples.index, name="outcome"
    )


def results_table(samples: pd.DataFrame) -> pd.DataFrame:
    """Table 2 for any runs: per benchmark and in the mean, what each strategy reaches.

    Parameters
    ----------
    samples : with the columns model, benchmark, seed, strategy, base_correct, correct; models
        and seeds are pooled.

    Returns
    -------
    One row per benchmark (and `MEAN`) and strategy: n, accuracy with its 95 % interval low and
    high (Wilson's; in the mean, of a sum of independent shares), gain over base in points,
    p (McNemar's exact test against base; in the mean, over all samples), wrong_to_right and
    right_to_wrong (percent of base's wrong and of its right answers), oracle_share (percent of
    the oracle's gain; nan where the oracle gains less than a point), lowest_seed and
    highest_seed (the lowest and the highest accuracy of a model and seed). Accuracies are
    percentages; MEAN weighs benchmarks equally.
    """
    keyed = samples.assign(
        gained=~samples["base_correct"] & samples["correct"],
        lost=samples["base_correct"] & ~samples["correct"],
    )
    columns = ["base_correct", "correct", "gained", "lost"]
    by = ["benchmark", "strategy"]
    sums = keyed.groupby(by, sort=False, observed=True)[columns].sum()
    sums["n"] = keyed.groupby(by, sort=False, observed=True).size()
    seeds = keyed.groupby([*by, "model", "seed"], observed=True)["correct"].mean() * 100
    rows = []
    for (benchmark, strategy), row in sums.iterrows():
        n, right, base = int(row["n"]), int(row["correct"]), int(row["base_correct"])
        low, high = interval(right, n)
        of_seed = seeds[benchmark, strategy]
        rows.append(
            {
                "benchmark": benchmark,
                "strategy": strategy,
                "n": n,
                "accuracy": 100 * right / n,
                "low": 100 * low,
                "high": 100 * high,
                "gain": 100 * (right - base) / n,
                "p": mcnemar(int(row["gained"]), int(row["lost"])),
                "wrong_to_right": _percent(row["gained"], n - base),
                "right_to_wrong": _percent(row["lost"], base),
                "lowest_seed": of_seed.min(),
                "highest_seed": of_seed.max(),
            }
        )
    table = pd.DataFrame(rows)
    means = [
        _mean_row(strategy, group, sums.xs(strategy, level="strategy"), seeds)
        for strategy, group in table.groupby("strategy", sort=False)
    ]
    table = pd.concat([table, pd.DataFrame(means)], ignore_index=True)
    oracle = table[table["strategy"] == "oracle"].set_index("benchmark")["gain"]
    ceiling = table["benchmark"].map(oracle)
    table["oracle_share"] = (100 * table["gain"] / ceiling).where(ceiling >= 1)
    return table


def _percent(part: float, whole: float) -> float:
    return 100 * part / whole if whole else math.nan


def _mean_row(
    strategy: object, group: pd.DataFrame, sums: pd.DataFrame, seeds: pd.Series
) -> dict[str, object]:
    share = group["accuracy"] / 100
    error = math.sqrt(float((share * (1 - share) / group["n"]).sum())) / len(group)
    accuracy = float(group["accuracy"].mean())
    gained, lost = int(sums["gained"].sum()), int(sums["lost"].sum())
    right = int(sums["base_correct"].sum())
    of_seed = seeds.xs(strategy, level="strategy").groupby(["model", "seed"]).mean()
    return {
        "benchmark": MEAN,
        "strategy": strategy,
        "n": int(group["n"].sum()),
        "accuracy": accuracy,
        "low": max(accuracy - 196 * error, 0.0),
        "high": min(accuracy + 196 * error, 100.0),
        "gain": float(group["gain"].mean()),
        "p": mcnemar(gained, lost),
        "wrong_to_right": _percent(gained, int(sums["n"].sum()) - right),
        "right_to_wrong": _percent(lost, right),
        "lowest_seed": of_seed.min(),
        "highest_seed": of_seed.max(),
    }


def verdict(table: pd.DataFrame, strategy: str = "ngd") -> pd.DataFrame:
    """How far a strategy's mean accuracy lies above each control's, in points.

    Returns
    -------
    One row per control that there are runs of: control, accuracy, ahead (points), and whether
    the strategy `beats` it: the lead is larger than both intervals' half widths together.
    """
    mean = table[table["benchmark"] == MEAN].set_index("strategy")
    if strategy not in mean.index:
        return pd.DataFrame(columns=["control", "accuracy", "ahead", "beats"])
    own = mean.loc[strategy]
    rows = [
        {
            "control": control,
            "accuracy": mean.at[control, "accuracy"],
            "ahead": own["accuracy"] - mean.at[control, "accuracy"],
            "beats": own["low"] > mean.at[control, "high"],
        }
        for control in ALL_CONTROLS
        if control in mean.index
    ]
    return pd.DataFrame(rows)
