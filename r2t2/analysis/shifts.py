"""How re-routing moves samples from one top-1 expert to another: DataFrame in, DataFrame out.

A row of `moves` is one sample under one strategy: before and after, its top-1 experts (categories
of one list of experts), base_correct and correct, and whatever else names it. `paths` adds a
column "step n" for each step between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int16

from r2t2.analysis.results import OUTCOMES, outcomes
from r2t2.sites import Site
from r2t2.statistics import interval, mcnemar

ENDS = ("before", "after")
# An expert that leads in more than this share of the samples is relied on.
RELIANCE = 0.5


def moves(samples: pd.DataFrame, experts: Sequence[str]) -> pd.DataFrame:
    """Sample rows by their top-1 experts in the mean over all routing sites, as stored.

    Parameters
    ----------
    samples : with top1_before and top1_after (`runs.store.SCHEMAS`).
    experts : all that there are, in their order.
    """
    rows = samples.rename(columns={f"top1_{end}": end for end in ENDS})
    return rows.assign(**{end: _among(rows[end], experts) for end in ENDS})


def leading(
    r: Float[np.ndarray, "rows sites experts"], sites: Sequence[Site]
) -> Int16[np.ndarray, "rows sites"]:
    """The place of the largest weight at each site; ties go to the first, padding never wins."""
    first = [r[:, i, : len(site.experts)].argmax(-1) for i, site in enumerate(sites)]
    return np.stack(first, -1).astype(np.int16)


def paths(steps: pd.DataFrame, experts: Sequence[str]) -> pd.DataFrame:
    """One row per sample from one per step: its top-1 expert on the whole way.

    Parameters
    ----------
    steps : step, top1, answer, correct and what names the sample; samples one after the other,
        each from step 0 on, as `runs.store` keeps them.
    experts : all that there are, in their order.

    Returns
    -------
    What names the sample, base_answer, answer, base_correct, correct (of its first and last
    step), before and after, and "step n" for every step between that any of them has. At a step
    that is not stored of it a sample counts as where it was last.
    """
    starts = np.flatnonzero(steps["step"].to_numpy() == 0)
    lengths = np.diff(np.append(starts, len(steps)))
    sample, step = np.repeat(np.arange(len(starts)), lengths), steps["step"].to_numpy()
    codes = np.full((len(starts), step.max(initial=0) + 1), -1, np.int16)
    codes[sample, step] = _among(steps["top1"], experts).cat.codes
    for i in range(1, codes.shape[1]):
        codes[:, i] = np.where(codes[:, i] < 0, codes[:, i - 1], codes[:, i])
    stored = np.unique(step)
    names = dict.fromkeys(["before", *(f"step {i}" for i in stored[1:-1])])
    ways = {
        name: pd.Categorical.from_codes(codes[:, i], list(experts))
        for name, i in [*zip(names, stored, strict=False), ("after", -1)]
    }
    said = ["answer", "correct"]
    named = steps.drop(columns=["step", "top1", *said]).iloc[starts].reset_index(drop=True)
    first = steps[said].iloc[starts].reset_index(drop=True).add_prefix("base_")
    last = steps[said].iloc[starts + lengths - 1].reset_index(drop=True)
    return pd.concat([named, first, last, pd.DataFrame(ways)], axis=1)


def way(moves: pd.DataFrame, most: int = 6) -> list[str]:
    """The columns of `paths` from before to after, evenly thinned to about `most`."""
    steps = [name for name in moves if name.startswith("step ")]
    every = -(-(len(steps) + 1) // (most - 1))
    return ["before", *steps[every - 1 :: every], "after"]


def transitions(moves: pd.DataFrame, columns: Sequence[str] = ENDS) -> pd.DataFrame:
    """How many samples of each outcome go from which expert to which; the one pass over samples.

    Returns
    -------
    start and end (two of `columns` that follow each other), outcome, source and target (the
    experts there), n; only where there are samples, experts in their order.
    """
    outcome = outcomes(moves).cat.codes.to_numpy(int)
    parts = []
    for start, end in pairwise(columns):
        experts = moves[start].cat.categories
        shape = len(OUTCOMES), len(experts), len(experts)
        places = outcome, moves[start].cat.codes, moves[end].cat.codes
        cells = np.bincount(np.ravel_multi_index(places, shape), minlength=np.prod(shape))
        there = np.flatnonzero(cells)
        which, source, target = np.unravel_index(there, shape)
        parts.append(
            pd.DataFrame(
                {
                    "start": start,
                    "end": end,
                    "outcome": pd.Categorical.from_codes(which, list(OUTCOMES)),
                    "source": pd.Categorical.from_codes(source, experts),
                    "target": pd.Categorical.from_codes(target, experts),
                    "n": cells[there],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def flows(transitions: pd.DataFrame) -> pd.DataFrame:
    """Outcomes together: what went from which expert to which, and what became of it.

    Returns
    -------
    start, end, source, target, n, share (percent of all samples), gained and lost (samples that
    went from wrong to right and from right to wrong), right_before, right_after.
    """
    by = ["start", "end", "source", "target"]
    counts = transitions.pivot_table(
        index=by, columns="outcome", values="n", aggfunc="sum", fill_value=0, observed=True
    ).reindex(columns=list(OUTCOMES), fill_value=0)
    _, gained, lost, stayed_right = (counts[name] for name in OUTCOMES)
    table = pd.DataFrame({"n": counts.sum(axis=1), "gained": gained, "lost": lost})
    table["right_before"], table["right_after"] = lost + stayed_right, gained + stayed_right
    order = list(dict.fromkeys(transitions["start"]))
    table = table.reset_index()
    table = table.sort_values("start", key=lambda names: names.map(order.index), kind="stable")
    table.insert(4, "share", 100 * table["n"] / table.groupby("start")["n"].transform("sum"))
    return table.reset_index(drop=True)


def helping(
    moves: pd.DataFrame, controls: Mapping[str, Bool[np.ndarray, " samples"]] | None = None
) -> pd.DataFrame:
    """Which shifts help: by what their samples gain less what they lose, best first.

    Parameters
    ----------
    controls : control -> whether it answers each of the samples right.

    Returns
    -------
    source, target, net (gained less lost, samples), gained, lost, n, accuracy_before and
    accuracy_after (percent), p (McNemar's exact test of gained and lost), and for each control a
    column of its name: what it gains, net, on the same samples.
    """
    of = flows(transitions(moves))
    table = of[["source", "target"]].assign(
        net=of["gained"] - of["lost"],
        gained=of["gained"],
        lost=of["lost"],
        n=of["n"],
        accuracy_before=100 * of["right_before"] / of["n"],
        accuracy_after=100 * of["right_after"] / of["n"],
        p=[mcnemar(int(g), int(x)) for g, x in zip(of["gained"], of["lost"], strict=True)],
    )
    places = moves["before"].cat.codes, moves["after"].cat.codes
    shape = (len(moves["before"].cat.categories),) * 2
    flow = np.ravel_multi_index(places, shape)
    rows = np.ravel_multi_index((of["source"].cat.codes, of["target"].cat.codes), shape)
    for name, correct in (controls or {}).items():
        net = np.bincount(flow, correct.astype(int) - moves["base_correct"], np.prod(shape))
        table[name] = net[rows].astype(int)
    return table.sort_values(["net", "n"], ascending=False, kind="stable", ignore_index=True)


def use(transitions: pd.DataFrame, experts: Sequence[str]) -> pd.DataFrame:
    """How often each expert is the top-1 one, before and after.

    Returns
    -------
    expert, before, after (samples), share_before, share_after (percent); all of `experts`.
    """
    table = pd.DataFrame({"expert": list(experts)})
    for end, column in zip(ENDS, ("source", "target"), strict=True):
        counts = transitions.groupby(column, observed=True)["n"].sum()
        table[end] = counts.reindex(list(experts), fill_value=0).to_numpy(int)
    for end in ENDS:
        table[f"share_{end}"] = 100 * table[end] / max(table[end].sum(), 1)
    return table


def entropy(counts: Sequence[int] | pd.Series) -> float:
    """The entropy of how samples spread over experts, in bits; 2 to its power is the number of
    experts that, used evenly, would be as spread (Hill's number of order 1)."""
    share = np.asarray(counts, float)
    share = share[share > 0] / share.sum()
    return float(-(share * np.log2(share)).sum()) + 0.0


def moved(transitions: pd.DataFrame) -> int:
    """How many samples have another top-1 expert at the end."""
    changed = transitions["source"].to_numpy(object) != transitions["target"].to_numpy(object)
    return int(transitions.loc[changed, "n"].sum())


def relied_on(use: pd.DataFrame) -> pd.DataFrame:
    """The experts that lead in most samples before or after, and whether that share changed.

    Returns
    -------
    Rows of `use` of which share_before or share_after is above `RELIANCE`, with `change`: "less"
    or "more" where the 95 % intervals of the two shares lie apart, else "same".
    """
    n = int(use["before"].sum())
    if not n:
        return use.head(0).assign(change="same")
    high = use[(use["before"] > RELIANCE * n) | (use["after"] > RELIANCE * n)]
    return high.assign(
        change=[
            _change(interval(before, n), interval(after, n))
            for before, after in zip(high["before"], high["after"], strict=True)
        ]
    )


def _change(before: tuple[float, float], after: tuple[float, float]) -> str:
    if after[1] < before[0]:
        return "less"
    return "more" if after[0] > before[1] else "same"


def chosen(moves: pd.DataFrame, where: Iterable[tuple[str, str]]) -> pd.Series:
    """Which samples have all experts that are asked for: columns of `moves` and the expert there.

    A column that there is not asks for nothing.
    """
    asked = pd.Series(True, moves.index)
    for column, expert in where:
        if column in moves:
            asked &= moves[column] == expert
    return asked


def _among(names: pd.Series, experts: Sequence[str]) -> pd.Series:
    # Two unordered categorical types are equal in any order, so that `astype` would keep the old.
    return names.astype("category").cat.set_categories(list(experts))
