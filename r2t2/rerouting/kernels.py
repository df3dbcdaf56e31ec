"""The kernels K of equations 3, 4 and 8, and the bandwidth they are used with."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Kernel = Callable[
    [
        Float[Tensor, "batch dimensions"],
        Float[Tensor, "batch neighbours dimensions"],
        Float[Tensor, " batch"],
    ],
    Float[Tensor, "batch neighbours"],
]


def gaussian(
    x: Float[Tensor, "batch dimensions"],
    neighbours: Float[Tensor, "batch neighbours dimensions"],
    bandwidth: Float[Tensor, " batch"],
) -> Float[Tensor, "batch neighbours"]:
    """exp(-d^2 / 2h^2); scikit-learn's `rbf_kernel` with gamma = 1 / 2h^2."""
    return torch.exp(-0.5 * (distance(x, neighbours) / bandwidth[:, None]) ** 2)


def matern(
    x: Float[Tensor, "batch dimensions"],
    neighbours: Float[Tensor, "batch neighbours dimensions"],
    bandwidth: Float[Tensor, " batch"],
) -> Float[Tensor, "batch neighbours"]:
    """(1 + s) exp(-s), s = sqrt(3) d / h; scikit-learn's `Matern` with nu = 3/2."""
    s = math.sqrt(3) * distance(x, neighbours) / bandwidth[:, None]
    return (1 + s) * torch.exp(-s)


def polynomial(
    x: Float[Tensor, "batch dimensions"],
    neighbours: Float[Tensor, "batch neighbours dimensions"],
    bandwidth: Float[Tensor, " batch"],
) -> Float[Tensor, "batch neighbours"]:
    """(<x, x_i> / h^2 + 1)^3; scikit-learn's `polynomial_kernel` with gamma = 1 / h^2."""
    return (linear(x, neighbours, bandwidth) / bandwidth[:, None] ** 2 + 1) ** 3


def linear(
    x: Float[Tensor, "batch dimensions"],
    neighbours: Float[Tensor, "batch neighbours dimensions"],
    bandwidth: Float[Tensor, " batch"],
) -> Float[Tensor, "batch neighbours"]:
    """<x, x_i>; the bandwidth plays no part."""
    return torch.einsum("bd,bkd->bk", x, neighbours)


KERNELS: dict[str, Kernel] = {
    "gaussian": gaussian,
    "matern": matern,
    "polynomial": polynomial,
    "linear": linear,
}


def distance(
    x: Float[Tensor, "batch dimensions"],
    neighbours: Float[Tensor, "batch neighbours dimensions"],
) -> Float[Tensor, "batch neighbours"]:
    """Euclidean distance, the d of equations 9 and 10."""
    return torch.linalg.vector_norm(neighbours - x[:, None], dim=-1)


def weights(
    kernel: str,
    x: Float[Tensor, "batch dimensions"],
    neighbours: Float[Tensor, "batch neighbours dimensions"],
    present: Bool[Tensor, "batch neighbours"],
    bandwidth: float | Literal["median"],
) -> Float[Tensor, "batch neighbours"]:
    """K(x_i, x), each sample's divided by their sum; 0 where a neighbour is not present.

    Negative values of a kernel (the linear and the polynomial have them) count as 0. A sample
    all of whose neighbours are so far away that their kernels vanish weighs them equally, as
    the kernel's limit for a growing bandwidth would. With bandwidth "median", h is the median
    distance of the sample's own neighbours.
    """
    if bandwidth == "median":
        d = distance(x, neighbours).masked_fill(~present, torch.nan)
        h = d.nanmedian(-1).values.nan_to_num(1.0).clamp_min(1e-6)
    else:
        h = x.new_full((len(x),), float(bandwidth))
    value = KERNELS[kernel](x, neighbours, h).clamp_min(0) * present
    vanished = value.sum(-1, keepdim=True) <= torch.finfo(value.dtype).tiny
    value = torch.where(vanished, present.to(value.dtype), value)
    return value / value.sum(-1, keepdim=True).clamp_min(torch.finfo(value.dtype).tiny)
