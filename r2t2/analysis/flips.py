"""Who turns right, who turns wrong, when, and for how long: DataFrame in, DataFrame out.

Step rows are those of runs that kept every step, as `r2t2.runs.store.gather` gives them: sample
by sample, each from step 0 (the base model) on.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from jaxtyping import Shaped

from r2t2.analysis.results import OUTCOMES, outcomes
from r2t2.statistics import mcnemar

# What the paper says of NGD (figure 5 and section 4.3; MoAI on CVBench 2D/3D), in percent of the
# answers that were wrong (or right) at step 0.
PAPER = pd.DataFrame(
    {
        "outcome": ["wrong to right", "wrong to right", "right to wrong"],
        "step": [4, 10, 10],
        "share": [17.22, 28.12, 2.31],
    }
)
# Columns of an alluvial at most; more cannot be read.
_STAGES = 7


def paths(steps: pd.DataFrame) -> pd.DataFrame:
    """Whether each sample's answer is right at each step.

    Parameters
    ----------
    steps : step, correct.

    Returns
    -------
    One row per sample, in the order of the rows, and one column (bool) per step. Where runs
    have different numbers of steps, a sample keeps its last answer through the rest.
    """
    return pd.DataFrame(_by_step(steps["step"].to_numpy(), steps["correct"].to_numpy()))


def ends(samples: pd.DataFrame) -> pd.DataFrame:
    """`paths` of samples whose steps were not kept: before (0) and after (1) re-routing."""
    return samples[["base_correct", "correct"]].set_axis([0, 1], axis=1)


def histories(steps: pd.DataFrame) -> pd.DataFrame:
    """What each sample's answers went through.

    Parameters
    ----------
    steps : step, correct, answer.

    Returns
    -------
    One row per sample, in the order of the rows: changes (how often correctness changed) and
    settled (the step from which on the answer is the final one; 0 where it never changed).
    """
    right = paths(steps).to_numpy()
    answer = _by_step(steps["step"].to_numpy(), pd.factorize(steps["answer"])[0])
    moved = answer[:, 1:] != answer[:, :-1]
    last = moved.shape[1]
    settled = np.where(moved.any(1), last - moved[:, ::-1].argmax(1), 0) if last else 0
    return pd.DataFrame(
        {"changes": (right[:, 1:] != right[:, :-1]).sum(1), "settled": settled},
        index=range(len(right)),
    )


def over_steps(paths: pd.DataFrame) -> pd.DataFrame:
    """How many answers have turned by each step (figure 5).

    Returns
    -------
    One row per step: step, n, right, accuracy (percent), gain (points over step 0),
    wrong_to_right and right_to_wrong (counts, against step 0), their share of what was wrong
    and of what was right at step 0 (percent; nan where nothing was), and turned_right and
    turned_wrong (counts, against the step before).
    """
    right = paths.to_numpy()
    base = right[:, :1]
    before = np.concatenate([base, right[:, :-1]], axis=1)
    n, base_right = len(right), int(base.sum())
    gained, lost = (~base & right).sum(0), (base & ~right).sum(0)
    with np.errstate(invalid="ignore"):
        shares = 100 * gained / np.float64(n - base_right), 100 * lost / np.float64(base_right)
    return pd.DataFrame(
        {
            "step": paths.columns,
            "n": n,
            "right": right.sum(0),
            "accuracy": 100 * right.mean(0),
            "gain": 100 * (gained - lost) / n,
            "wrong_to_right": gained,
            "right_to_wrong": lost,
            "wrong_to_right_share": shares[0],
            "right_to_wrong_share": shares[1],
            "turned_right": (~before & right).sum(0),
            "turned_wrong": (before & ~right).sum(0),
        }
    )


def stages(paths: pd.DataFrame) -> list[int]:
    """The steps that an alluvial shows: 0, 2, 4, ... of ten, and always the last."""
    last = int(paths.columns[-1])
    return [*range(0, last, max(1, -(-last // (_STAGES - 1)))), last]


def flows(paths: pd.DataFrame, steps: Sequence[int]) -> pd.DataFrame:
    """What became of answers from each of some steps to the next.

    Returns
    -------
    from_step, to_step, outcome (one of `OUTCOMES`, between these two) and n; only flows that
    there are samples in.
    """
    rows = [
        (before, after, outcome, int(n))
        for before, after in pairwise(steps)
        for outcome, n in zip(
            OUTCOMES,
            np.bincount(2 * paths[before].to_numpy(int) + paths[after].to_numpy(int), minlength=4),
            strict=True,
        )
        if n
    ]
    return pd.DataFrame(rows, columns=["from_step", "to_step", "outcome", "n"])


def turned(samples: pd.DataFrame, *by: str) -> pd.DataFrame:
    """What each strategy turns right and wrong.

    Parameters
    ----------
    samples : strategy, base_correct, correct and the columns of `by`.
    by : what is told apart beside the strategies; all else is pooled.

    Returns
    -------
    The columns of `by`, strategy, n, base_accuracy and accuracy (percent), wrong_to_right and
    right_to_wrong (counts), gained, lost and gain (points: percent of all n), and p (McNemar's
    exact test against base).
    """
    keys = [*by, "strategy"]
    counts = (
        samples[keys]
        .assign(outcome=outcomes(samples))
        .groupby([*keys, "outcome"], observed=True, sort=False)
        .size()
        .unstack("outcome", fill_value=0)
        .reindex(columns=list(OUTCOMES), fill_value=0)
    )
    n, gained, lost = counts.sum(axis=1), counts["wrong to right"], counts["right to wrong"]
    base = counts["stayed right"] + lost
    return pd.DataFrame(
        {
            "n": n,
            "base_accuracy": 100 * base / n,
            "accuracy": 100 * (base + gained - lost) / n,
            "wrong_to_right": gained,
            "right_to_wrong": lost,
            "gained": 100 * gained / n,
            "lost": 100 * lost / n,
            "gain": 100 * (gained - lost) / n,
            "p": [mcnemar(int(a), int(b)) for a, b in zip(gained, lost, strict=True)],
        }
    ).reset_index()


def settling(samples: pd.DataFrame) -> pd.DataFrame:
    """How many samples reach their final answer for good at each step, by outcome.

    Parameters
    ----------
    samples : settled, outcome; without those whose answer never changed (settled is 0).

    Returns
    -------
    settled, outcome, n; only what there are samples of.
    """
    changed = samples[samples["settled"] > 0]
    return _counted(changed, "settled", "outcome")


def wavering(samples: pd.DataFrame) -> pd.DataFrame:
    """How many samples flip back and forth, by how often and by where they end.

    Parameters
    ----------
    samples : changes, correct.

    Returns
    -------
    changes (2 or more), correct (at the end), n; only what there are samples of.
    """
    return _counted(samples[samples["changes"] >= 2], "changes", "correct")


def confidence_changes(samples: pd.DataFrame, width: int = 5) -> pd.DataFrame:
    """How far confidence moved, by outcome.

    Parameters
    ----------
    samples : outcome, confidence_change (points, from -100 to 100).
    width : of a bin, in points; a divisor of 100.

    Returns
    -------
    outcome, low and high (of a bin, in points), n and share (percent of the outcome's samples).
    A change of 0 lies in the bin from 0 on; only bins that there are samples in.
    """
    low = (samples["confidence_change"] // width * width).clip(-100, 100 - width).astype(int)
    table = _counted(samples.assign(low=low), "outcome", "low")
    totals = table.groupby("outcome", observed=True)["n"].transform("sum")
    return table.assign(high=table["low"] + width, share=100 * table["n"] / totals)


def _counted(samples: pd.DataFrame, *by: str) -> pd.DataFrame:
    return samples.groupby(list(by), observed=True).size().rename("n").reset_index()


def _by_step(
    step: Shaped[np.ndarray, " rows"], values: Shaped[np.ndarray, " rows"]
) -> Shaped[np.ndarray, "samples steps"]:
    """Values of consecutive rows, a row per sample; short ones repeat their last."""
    starts = np.flatnonzero(step == 0)
    lengths = np.diff(starts, append=len(step))
    longest = np.arange(lengths.max(initial=1))
    return values[starts[:, None] + np.minimum(longest, lengths[:, None] - 1)]
