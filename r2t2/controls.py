"""Controls that are fitted on a reference set: what a gain must beat to be re-routing."""

from __future__ import annotations

import copy
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from r2t2.contract import Batch, RoutedModel

BATCH = 256
STEPS = 300


def fit_constant(
    model: RoutedModel, references: tuple[Batch, Batch], seed: int = 0
) -> Float[Tensor, "sites experts"]:
    """The one `r` that has the least mean loss over all references, by Adam on its logits."""
    encoded, target = references
    like = model.route(encoded[torch.arange(1)])
    padding = torch.zeros_like(like[0], dtype=torch.bool)
    for i, site in enumerate(model.sites):
        padding[i, len(site.experts) :] = True
    logits = torch.zeros_like(like[0]).requires_grad_()

    def r() -> Tensor:
        return logits.masked_fill(padding, -torch.inf).softmax(-1)

    optimiser = torch.optim.Adam([logits], 0.1)
    _minimise(
        optimiser,
        len(encoded),
        seed,
        lambda rows: model.loss(encoded[rows], target[rows], r().expand(len(rows), -1, -1)),
    )
    return r().detach()


def fit_router(model: RoutedModel, references: tuple[Batch, Batch], seed: int = 0) -> nn.Module:
    """The model's own router, fine-tuned on the references; the model itself stays as it is.

    Raises
    ------
    ValueError : the model's router cannot be trained by itself.
    """
    if model.router is None:
        raise ValueError(f"the router of {model.name} cannot be fine-tuned by itself")
    encoded, target = references
    router = copy.deepcopy(model.router).requires_grad_()
    optimiser = torch.optim.Adam(router.parameters(), 3e-3)
    _minimise(
        optimiser,
        len(encoded),
        seed,
        lambda rows: model.loss(encoded[rows], target[rows], router(encoded[rows])),
    )
    return router.requires_grad_(False)


def _minimise(optimiser, count, seed, loss) -> None:  # type: ignore[no-untyped-def]
    rng = torch.Generator().manual_seed(seed)
    rate = optimiser.param_groups[0]["lr"]
    for step in range(STEPS):
        optimiser.param_groups[0]["lr"] = rate * (0.505 + 0.495 * math.cos(math.pi * step / STEPS))
        rows = torch.randint(count, (BATCH,), generator=rng)
        optimiser.zero_grad()
        loss(rows).mean().backward()
        optimiser.step()
