"""Gradient descent on `r` (equation 1): learning rates, optimisers, and the simplex."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from r2t2.rerouting.settings import Setting

Losses = Callable[[Float[Tensor, "batch sites experts"]], Float[Tensor, "batch neighbours"]]


@dataclass(frozen=True)
class Path:
    """Where a strategy took `r`, step 0 being where it began.

    Parameters
    ----------
    r : at every step.
    objective : what the strategy minimises, at every step; nan where it is not defined.
    losses : the neighbours' own losses, at the first and the last step; nan where unknown.
    """

    r: Float[Tensor, "batch steps sites experts"]
    objective: Float[Tensor, "batch steps"]
    losses: Float[Tensor, "batch 2 neighbours"]


def project(r: Float[Tensor, "*batch experts"]) -> Float[Tensor, "*batch experts"]:
    """The nearest point of the simplex (Duchi et al. 2008, figure 1)."""
    ordered = r.sort(-1, descending=True).values
    excess = (ordered.cumsum(-1) - 1) / torch.arange(1, r.shape[-1] + 1, device=r.device)
    last = (ordered > excess).sum(-1, keepdim=True) - 1
    return (r - excess.gather(-1, last)).clamp_min(0)


def learning_rate(setting: Setting, step: int) -> float:
    """lambda of equation 1 at a step, counted from 0.

    "cosine" falls from `learning_rate` to `final_learning_rate` over the steps, "step" divides
    by ten after each third of them, "constant" stays.
    """
    high, low = setting.learning_rate, setting.final_learning_rate
    if setting.schedule == "constant":
        return high
    if setting.schedule == "step":
        return float(high * 0.1 ** (3 * step // setting.steps))
    progress = step / max(setting.steps - 1, 1)
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * progress))


def descend(
    losses: Losses,
    weights: Float[Tensor, "batch neighbours"],
    r: Float[Tensor, "batch sites experts"],
    setting: Setting,
) -> Path:
    """Minimise L(r) = sum_i weights_i * losses_i(r) (equations 1 and 3).

    With `space="simplex"` the step is taken on `r` itself and projected back: the step is the
    paper's, rows stay on the simplex exactly, and an expert can be switched off. With
    `space="logits"` the step is taken on log r, which keeps every weight positive but hardly
    moves those that are near zero.
    """
    on_logits = setting.space == "logits"
    z = r.clamp_min(1e-4).log() if on_logits else r.clone()
    mean, square = torch.zeros_like(z), torch.zeros_like(z)
    rs, objectives, seen = [], [], []
    for step in range(setting.steps + 1):
        final = step == setting.steps
        with torch.set_grad_enabled(not final):
            z = z.detach().requires_grad_(not final)
            r = z.softmax(-1) if on_logits else z
            each = losses(r)
            objective = (weights * each).sum(-1)
        rs.append(r.detach())
        objectives.append(objective.detach())
        seen.append(each.detach())
        if final:
            break
        (gradient,) = torch.autograd.grad(objective.sum(), z)
        rate = learning_rate(setting, step)
        with torch.no_grad():
            if setting.optimiser == "adam":
                mean = 0.9 * mean + 0.1 * gradient
                square = 0.99 * square + 0.01 * gradient**2
                unbiased = (square / (1 - 0.99 ** (step + 1))).sqrt()
                z = z - rate * mean / (1 - 0.9 ** (step + 1)) / (unbiased + 1e-8)
            else:
                z = z - rate * gradient
            if not on_logits:
                z = project(z)
    return Path(torch.stack(rs, 1), torch.stack(objectives, 1), torch.stack([seen[0], seen[-1]], 1))
