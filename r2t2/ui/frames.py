"""One sample's trajectory as the data frames that figures and tables take."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from r2t2.reference import ReferenceSet
from r2t2.rerouting.trajectory import Trajectory
from r2t2.sites import Site


def weights(trajectory: Trajectory, sites: Sequence[Site]) -> pd.DataFrame:
    """step, site, expert, weight of the first sample; padding is left out."""
    return pd.DataFrame(
        [
            {"step": step, "site": site.name, "expert": expert, "weight": float(r[s, e])}
            for step, r in enumerate(trajectory.r[0].float().cpu().numpy())
            for s, site in enumerate(sites)
            for e, expert in enumerate(site.experts)
        ]
    )


def objective(trajectory: Trajectory) -> pd.DataFrame:
    """step, objective (nats)."""
    values = trajectory.objective[0].float().cpu().numpy()
    return pd.DataFrame({"step": range(len(values)), "objective": values})


def answers(trajectory: Trajectory, count: int) -> pd.DataFrame:
    """step, answer, probability of the `count` answers that were ever the most probable."""
    table = pd.DataFrame([dict(a.top(len(a.candidates[0]))[0]) for a in trajectory.answers])
    best = table.max().sort_values(ascending=False, kind="stable").index[:count]
    kept = table[best].rename_axis(index="step", columns="answer").fillna(0.0)
    return kept.stack().rename("probability").reset_index()


def neighbours(trajectory: Trajectory, references: ReferenceSet) -> pd.DataFrame:
    """The references that the sample listened to, nearest first.

    Returns
    -------
    position (in the reference set's dataset), question, label, category, distance, similarity
    (inner product of unit vectors; of questions only), weight, and the neighbour's own loss
    before and after (nats; nan where the strategy reads none).
    """
    found = trajectory.neighbours
    if found is None:
        return pd.DataFrame()
    there = found.present[0]
    rows = references.table.iloc[found.index[0][there].tolist()]
    table = rows[["position", "question", "label", "category"]].reset_index(drop=True)
    distance = found.distance[0][there].numpy()
    table["distance"] = distance
    by_question = trajectory.setting.algorithm != "mode_finding"
    table["similarity"] = 1 - distance**2 / 2 if by_question else float("nan")
    table["weight"] = found.weights[0][there].numpy()
    losses = trajectory.losses
    for i, name in enumerate(("loss before", "loss after")):
        table[name] = float("nan") if losses is None else losses[0, i].cpu()[there].numpy()
    return table
