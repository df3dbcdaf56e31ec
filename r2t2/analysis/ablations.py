"""Ablations: one option of a strategy varied, all else as it is (the paper's tables 5 to 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import pandas as pd

from r2t2.analysis.pairs import aligned, paired
from r2t2.rerouting.settings import (
    PAPER,
    KernelName,
    Optimiser,
    References,
    Schedule,
    Setting,
    Space,
)
from r2t2.statistics import interval, mcnemar

# Which embedder finds the neighbours is up to the reference set, so its values are sets' names.
EMBEDDER = "embedder"

# As the paper's tables 5 and 10 name them.
_NEIGHBOURHOODS = {"nearest": "kNN", "ball": "ε-ball"}
_POINTS = ["value", "own", "id", "n", "accuracy", "low", "high", "gain", "p"]
_AHEAD = {"difference": "ahead", "low": "ahead_low", "high": "ahead_high", "p": "ahead_p"}


@dataclass(frozen=True)
class Axis:
    """An option that is varied.

    Parameters
    ----------
    option : of `Setting`, or `EMBEDDER`.
    values : what is tried unless other values are asked for.
    given : options that this one plays no part without, with the values that they must have.
    logarithmic : whether ratios of its numbers are what counts.
    paper : the number of the paper's table that varies it; 0 where none does.
    """

    option: str
    values: tuple[Any, ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict)
    logarithmic: bool = False
    paper: int = 0

    @property
    def title(self) -> str:
        """The option as it is shown."""
        return self.option.replace("_", " ")

    def applies(self, own: Setting) -> bool:
        """Whether a strategy has the option at all."""
        if self.option == EMBEDDER:
            return "references" in own.options
        return self.option in replace(own, **self.given).options

    def needed(self, own: Setting) -> dict[str, Any]:
        """What of `given` a strategy's own setting does not have."""
        return {name: value for name, value in self.given.items() if getattr(own, name) != value}

    def overrides(self, own: Setting, values: Sequence[Any]) -> tuple[str, ...]:
        """What gives the option each of some values (`runs.plan.Request.overrides`)."""
        tried = {**self.needed(own), self.option: ",".join(map(str, values))}
        return tuple(f"{name}={value}" for name, value in tried.items())


AXES = (
    Axis("k", (1, 3, 5, 10, 20, 40), {"neighbourhood": "nearest"}, logarithmic=True, paper=5),
    Axis("epsilon", (0.2, 0.4, 0.6, 0.8, 1.0), {"neighbourhood": "ball"}, paper=5),
    Axis("kernel", get_args(KernelName), paper=6),
    Axis(EMBEDDER, paper=7),
    Axis("steps", (1, 2, 5, 7, 10, 20), logarithmic=True, paper=8),
    Axis("schedule", get_args(Schedule), paper=9),
    # The paper's fixed schedules differ in their rates, too.
    Axis("learning_rate", (0.01, 0.1, 0.3, 1.0, 3.0), logarithmic=True, paper=9),
    Axis("bandwidth", (0.25, 0.5, 1.0, "median"), logarithmic=True),
    Axis("optimiser", get_args(Optimiser)),
    Axis("space", get_args(Space)),
    Axis("references", get_args(References)),
)


def own_run(runs: pd.DataFrame, own: Setting, reference: str) -> str | None:
    """The id of the run under a strategy's own setting; `runs` as `points` takes them."""
    same = (runs["setting"].map(lambda options: options == own.options)) & (
        runs["reference"] == reference
    )
    return next(iter(runs.loc[same, "id"]), None)


def points(runs: pd.DataFrame, axis: Axis, own: Setting, reference: str) -> pd.DataFrame:
    """The runs in which one option differs from a strategy's own setting, and nothing else.

    Parameters
    ----------
    runs : of one strategy, model, benchmark and seed: id, reference, setting (`Setting.options`),
        n, accuracy (a fraction), wrong_to_right, right_to_wrong.
    own, reference : the setting and the reference set that are varied.

    Returns
    -------
    One row per run, in the order of the values: value, own (whether it is the strategy's own),
    id, n, accuracy with its 95 % interval low and high (Wilson's; percent), gain over base in
    points and p (McNemar's exact test against base).
    """
    anchor = {**own.options, EMBEDDER: reference, **axis.given}
    usual = own_run(runs, own, reference)
    rows = []
    for run in runs.to_dict("records"):
        options = {**run["setting"], EMBEDDER: run["reference"]}
        if not _differs_only_in(axis.option, options, anchor):
            continue
        n = int(run["n"])
        right = round(run["accuracy"] * n)
        gained, lost = int(run["wrong_to_right"]), int(run["right_to_wrong"])
        low, high = interval(right, n)
        rows.append(
            {
                "value": options[axis.option],
                "own": run["id"] == usual,
                "id": run["id"],
                "n": n,
                "accuracy": 100 * right / n,
                "low": 100 * low,
                "high": 100 * high,
                "gain": 100 * (gained - lost) / n,
                "p": mcnemar(gained, lost),
            }
        )
    rows.sort(key=lambda row: _place(row["value"], axis))
    return pd.DataFrame(rows, columns=_POINTS)


def against(found: pd.DataFrame, samples: pd.DataFrame, own: str | None) -> pd.DataFrame:
    """How far each run of `points` lies above another one, on the samples that both have.

    Parameters
    ----------
    samples : the runs' rows: run (its id), position, correct.
    own : the id of the other one, of which there are rows as well.

    Returns
    -------
    The points with what `pairs.paired` says, as ahead, ahead_low, ahead_high and ahead_p; nan
    in the other run's own row, and everywhere without one.
    """
    of = {
        str(run): group[["position", "correct"]]
        for run, group in samples.groupby("run", observed=True)
    }
    told: list[dict[str, float]] = []
    for run in found["id"]:
        if run == own or own not in of:
            told.append({})
            continue
        right = aligned({"own": of[own], "run": of[run]})["correct"]
        told.append(paired(right["run"].to_numpy(bool), right["own"].to_numpy(bool)))
    table = pd.DataFrame(told, found.index, list(_AHEAD), dtype=float)
    return found.join(table.rename(columns=_AHEAD))


def reported(rows: pd.DataFrame, axis: Axis) -> pd.DataFrame:
    """One of the paper's ablations in the form of `points`, without intervals.

    Parameters
    ----------
    rows : the paper's table: the values in the first column (beside the neighbourhood, where two
        of them share a table), then accuracies in percent, of the benchmarks or their mean.

    Returns
    -------
    value, own (whether it is the paper's choice), accuracy (the mean).
    """
    if "neighbourhood" in rows:
        kind = _NEIGHBOURHOODS[axis.given["neighbourhood"]]
        rows = rows[rows["neighbourhood"] == kind].drop(columns="neighbourhood")
    value = rows.iloc[:, 0].astype(object)
    chosen = PAPER.options.get(axis.option)
    return pd.DataFrame(
        {
            "value": value,
            "own": [v == chosen or str(v).lower() == chosen for v in value],
            "accuracy": rows.iloc[:, 1:].mean(axis=1),
        }
    ).reset_index(drop=True)


def missing(found: pd.DataFrame, values: Sequence[Any]) -> list[Any]:
    """The values that no run of `points` has."""
    there = list(found["value"])
    return [value for value in values if value not in there]


def _differs_only_in(option: str, options: dict[str, Any], anchor: dict[str, Any]) -> bool:
    # Options that one of two settings has alone follow from others: a fixed rate has no final one.
    shared = (options.keys() & anchor.keys()) - {option}
    return option in options and all(options[name] == anchor[name] for name in shared)


def _place(value: Any, axis: Axis) -> tuple[bool, float, str]:
    """Numbers by size, then texts as the axis lists them."""
    if isinstance(value, int | float):
        return False, value, ""
    known = value in axis.values
    return True, axis.values.index(value) if known else len(axis.values), str(value)
