"""How often a strategy sends a sample through the routed part of a model, before it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from r2t2.rerouting.settings import Setting


@dataclass(frozen=True)
class Passes:
    """Passes of one sample.

    Parameters
    ----------
    forward, backward : as `Cost` counts them: the base answer and the final one included.
    between : answers at the steps in between, which `Cost` leaves out.
    """

    forward: int
    backward: int = 0
    between: int = 0

    @property
    def weighed(self) -> int:
        """In forward passes; a backward pass counts as two."""
        return self.forward + 2 * self.backward + self.between


def passes(
    setting: Setting, neighbours: int | None = None, trace: Literal["all", "ends", "none"] = "ends"
) -> Passes:
    """What a strategy spends on a sample; what a control learns beforehand is not in it.

    Parameters
    ----------
    neighbours : how many the sample has; None for k. A ball's number is not known before.
    trace : whether the answer at every step is asked for ("all").
    """
    found = setting.k if neighbours is None else neighbours
    if setting.options.get("losses") == "fitted":
        found = 0
    steps = setting.steps
    # Steps of the path, the base's own counted, of which the first and the last are answered.
    made, length = {
        "base": (Passes(1), 1),
        "ngd": (Passes(2 + (steps + 1) * found, steps * found), steps + 1),
        "kernel_regression": (
            Passes(2 + (steps + 1 if setting.search else 2) * found),
            3 if setting.search else 2,
        ),
        "mode_finding": (Passes(2), steps + 1),
        "oracle": (Passes(steps + 3, steps), steps + 1),
    }.get(setting.algorithm, (Passes(2), 2))
    between = max(length - 2, 0) if trace == "all" else 0
    return Passes(made.forward, made.backward, between)
