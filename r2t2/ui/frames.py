"""One sample's trajectories as the data frames that figures and tables take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float

from r2t2.sites import Site

if TYPE_CHECKING:
    from r2t2.reference import ReferenceSet
    from r2t2.rerouting.trajectory import Trajectory

# Answers that figures show.
ANSWERS = 5


def routing(r: Float[np.ndarray, "steps sites experts"], sites: Sequence[Site]) -> pd.DataFrame:
    """step, site, expert, weight of one sample; padding is left out."""
    slots = [(s, e) for s, site in enumerate(sites) for e in range(len(site.experts))]
    rows, columns = np.array(slots).T
    steps = len(r)
    return pd.DataFrame(
        {
            "step": np.repeat(np.arange(steps), len(slots)),
            "site": np.tile([sites[s].name for s, _ in slots], steps),
            "expert": np.tile([sites[s].experts[e] for s, e in slots], steps),
            "weight": r[:, rows, columns].ravel(),
        }
    )


@dataclass(frozen=True)
class Frames:
    """What figures and tables take of one trajectory; each made when it is first asked for.

    Parameters
    ----------
    trajectory : of one sample.
    sites : the model's.
    references : those that its setting listens to.
    """

    trajectory: Trajectory
    sites: Sequence[Site]
    references: ReferenceSet

    @cached_property
    def r(self) -> Float[np.ndarray, "steps sites experts"]:
        """The routing weights at every step."""
        return self.trajectory.r[0].float().cpu().numpy()

    @cached_property
    def weights(self) -> pd.DataFrame:
        """step, site, expert, weight."""
        return routing(self.r, self.sites)

    @cached_property
    def answers(self) -> pd.DataFrame:
        """step, answer, probability of the answers that were ever the most probable."""
        each = self.trajectory.answers
        table = pd.DataFrame([dict(a.top(len(a.candidates[0]))[0]) for a in each])
        best = table.max().sort_values(ascending=False, kind="stable").index[:ANSWERS]
        kept = table[best].rename_axis(index="step", columns="answer").fillna(0.0)
        return kept.stack().rename("probability").reset_index()

    @cached_property
    def objective(self) -> pd.DataFrame:
        """step, objective (nats; nan where the strategy minimises nothing)."""
        values = self.trajectory.objective[0].float().cpu().numpy()
        return pd.DataFrame({"step": range(len(values)), "objective": values})

    @cached_property
    def neighbours(self) -> pd.DataFrame:
        """The references that the sample listened to, nearest first.

        Returns
        -------
        reference (its row in the references), position (in the dataset that they were built
        from), question, label, category, distance, similarity (inner product of unit vectors;
        of questions only), weight, top1 (the expert that the router itself gives most), and the
        neighbour's own loss before and after (nats; nan where the strategy reads none). No
        columns for a strategy that has no neighbours.
        """
        from r2t2.analysis.maps import top1

        found = self.trajectory.neighbours
        if found is None:
            return pd.DataFrame()
        there = found.present[0]
        index = found.index[0][there].numpy()
        rows = self.references.table.iloc[index]
        table = rows[["position", "question", "label", "category"]].reset_index(drop=True)
        table.insert(0, "reference", index)
        distance = found.distance[0][there].numpy()
        table["distance"] = distance
        by_question = self.trajectory.setting.algorithm != "mode_finding"
        table["similarity"] = 1 - distance**2 / 2 if by_question else np.nan
        table["weight"] = found.weights[0][there].numpy()
        table["top1"] = top1(self.references.r[index], self.sites)
        losses = self.trajectory.losses
        for i, name in enumerate(("loss before", "loss after")):
            table[name] = np.nan if losses is None else losses[0, i].cpu()[there].numpy()
        return table
