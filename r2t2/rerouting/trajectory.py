"""What every strategy returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jaxtyping import Bool, Float, Int
from torch import Tensor

from r2t2.contract import Answers
from r2t2.rerouting.settings import Setting


@dataclass(frozen=True)
class Neighbours:
    """The references that a sample listens to, nearest first.

    Parameters
    ----------
    index : their positions in the reference set; 0 where not present.
    present : which of them there are (a ball can hold fewer than another's).
    distance : d(x_i, x) in the space they were searched in; nan where not present.
    weights : K(x_i, x) divided by the sample's sum; rows sum to 1, or to 0 where a sample
        has no neighbours.
    """

    index: Int[Tensor, "batch neighbours"]
    present: Bool[Tensor, "batch neighbours"]
    distance: Float[Tensor, "batch neighbours"]
    weights: Float[Tensor, "batch neighbours"]


@dataclass(frozen=True)
class Cost:
    """What a strategy spent; passes are of one sample through the routed part of the model.

    Parameters
    ----------
    forward, backward : passes per sample, the base answer and the final one included.
    seconds : for the whole batch, without the answers at the steps in between.
    """

    forward: Int[Tensor, " batch"]
    backward: Int[Tensor, " batch"]
    seconds: float


@dataclass(frozen=True)
class Trajectory:
    """Where a strategy took `r` and what the model answered on the way; step 0 is the base.

    Parameters
    ----------
    setting : the strategy with its options.
    r : at every step.
    objective : what the strategy minimises; nan where it minimises nothing.
    answers : at every step.
    neighbours : None for a strategy without any.
    losses : the neighbours' own losses before and after; None where they were not computed.
    cost : what it took.
    """

    setting: Setting
    r: Float[Tensor, "batch steps sites experts"]
    objective: Float[Tensor, "batch steps"]
    answers: Sequence[Answers]
    neighbours: Neighbours | None
    losses: Float[Tensor, "batch 2 neighbours"] | None
    cost: Cost

    def put(self, rows: Int[Tensor, " rows"], others: Trajectory) -> Trajectory:
        """This trajectory with other ways of some of its samples; what they cost is added.

        Parameters
        ----------
        others : of those samples, with the same neighbours and as many steps.
        """
        here = rows.to(self.r.device)
        forward, backward = self.cost.forward.clone(), self.cost.backward.clone()
        forward[rows] += others.cost.forward
        backward[rows] += others.cost.backward
        losses = self.losses
        if losses is not None and others.losses is not None:
            losses = losses.index_copy(0, here, others.losses)
        answers = zip(self.answers, others.answers, strict=True)
        return replace(
            self,
            r=self.r.index_copy(0, here, others.r),
            objective=self.objective.index_copy(0, here, others.objective),
            answers=[mine.put(rows, theirs) for mine, theirs in answers],
            losses=losses,
            cost=Cost(forward, backward, self.cost.seconds + others.cost.seconds),
        )

    @property
    def steps(self) -> int:
        """The number of steps taken, the base not counted."""
        return self.r.shape[1] - 1
