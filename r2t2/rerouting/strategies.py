"""The strategies of section 3: each takes the router's `r` and returns where it went."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from r2t2.rerouting.descent import Losses, Path, descend
from r2t2.rerouting.settings import Setting

Near = Callable[
    [Float[Tensor, "batch sites experts"]],
    tuple[Float[Tensor, "batch neighbours"], Float[Tensor, "batch neighbours sites experts"]],
]


def ngd(
    losses: Losses,
    weights: Float[Tensor, "batch neighbours"],
    r: Float[Tensor, "batch sites experts"],
    setting: Setting,
) -> Path:
    """Neighbourhood gradient descent: minimise the neighbours' weighted loss (eq. 1 and 3)."""
    return descend(losses, weights, r, setting)


def oracle(
    own_loss: Callable[[Float[Tensor, "batch sites experts"]], Float[Tensor, " batch"]],
    r: Float[Tensor, "batch sites experts"],
    setting: Setting,
) -> Path:
    """Descent on the sample's own loss, which takes its label: the ceiling (eq. 1 and 2)."""
    return descend(lambda r: own_loss(r)[:, None], r.new_ones(len(r), 1), r, setting)


def kernel_regression(
    losses: Losses,
    weights: Float[Tensor, "batch neighbours"],
    r: Float[Tensor, "batch sites experts"],
    neighbours_r: Float[Tensor, "batch neighbours sites experts"],
    setting: Setting,
) -> Path:
    """r_hat, the neighbours' weighted mean routing (eq. 4), and the best of the line to it.

    The path is base, r_hat and, with `search`, alpha r + (1 - alpha) r_hat for the alpha with
    the least neighbour loss (eq. 5 and 6). The paper speaks of a binary search; the loss on
    the line need not have a single minimum, so `steps` + 1 evenly spaced values are tried.
    """
    has_any = weights.sum(-1)[:, None, None] > 0
    r_hat = torch.einsum("bk,bkse->bse", weights, neighbours_r)
    r_hat = torch.where(has_any, r_hat, r)

    with torch.no_grad():
        alphas = torch.linspace(0, 1, setting.steps + 1).tolist() if setting.search else [0.0, 1.0]
        line = [alpha * r + (1 - alpha) * r_hat for alpha in alphas]
        each = torch.stack([losses(point) for point in line], 1)
    objective = torch.einsum("bk,bak->ba", weights, each)
    rs, values = [r, r_hat], [objective[:, -1], objective[:, 0]]
    last = each[:, 0]
    if setting.search:
        best = objective.argmin(1)
        rows = torch.arange(len(r), device=r.device)
        rs.append(torch.stack(line, 1)[rows, best])
        values.append(objective[rows, best])
        last = each[rows, best]
    return Path(torch.stack(rs, 1), torch.stack(values, 1), torch.stack([each[:, -1], last], 1))


def mode_finding(near: Near, r: Float[Tensor, "batch sites experts"], setting: Setting) -> Path:
    """Mean shift towards the densest routing nearby (eq. 7 and 8).

    `near` returns, for any `r`, the weights and the routing of the references nearest to it in
    routing space. A sample stops when a step moves no weight by more than 1e-4; the batch goes
    on until all have, or to the step limit. Nothing is minimised, so the objective is nan.
    """
    rs = [r]
    for _ in range(setting.steps):
        weights, neighbours_r = near(rs[-1])
        mean = torch.einsum("bk,bkse->bse", weights, neighbours_r)
        step = setting.alpha * rs[-1] + (1 - setting.alpha) * mean
        still = (step - rs[-1]).abs().amax((1, 2), keepdim=True) <= 1e-4
        rs.append(torch.where(still, rs[-1], step))
    path = torch.stack(rs, 1)
    undefined = r.new_full((len(r), len(rs)), torch.nan)
    return Path(path, undefined, undefined[:, :2, None])


def fixed(
    r: Float[Tensor, "batch sites experts"], to: Float[Tensor, "batch sites experts"]
) -> Path:
    """One step to a routing that was decided elsewhere: the controls, and base itself."""
    undefined = r.new_full((len(r), 2), torch.nan)
    return Path(torch.stack([r, to.expand_as(r)], 1), undefined, undefined[..., None])
