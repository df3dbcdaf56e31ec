"""The language model's linear maps in 8 or 4 bits, through bitsandbytes."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import torch
from torch import nn

from r2t2.models.moai.attention import PartialLora
from r2t2.models.moai.network import Network


def shrinks(network: Network) -> Iterator[nn.Linear]:
    """The maps that are quantised: the big ones. Experts, gates and the tower are not."""
    for module in network.model.modules():
        if isinstance(module, PartialLora):
            yield module.Plora_main


def package() -> Any:
    """bitsandbytes.

    Raises
    ------
    ValueError : it is not installed.
    """
    try:
        return import_module("bitsandbytes")
    except ImportError as error:
        raise ValueError(
            f"quantise needs bitsandbytes ({error}): 'pip install bitsandbytes', or load the "
            "model with quantise=none"
        ) from error


def quantise(network: Network, how: str, device: torch.device) -> None:
    """Replace the maps of a network in main memory; the new ones lie on the device."""
    made = package().nn
    for module in list(network.model.modules()):
        if not isinstance(module, PartialLora):
            continue
        old = module.Plora_main
        sizes = old.in_features, old.out_features, old.bias is not None
        if how == "8bit":
            new = made.Linear8bitLt(*sizes, has_fp16_weights=False, threshold=6.0)
        else:
            new = made.Linear4bit(*sizes, compute_dtype=old.weight.dtype, quant_type="nf4")
        new.load_state_dict(old.state_dict())
        module.Plora_main = new.to(device).requires_grad_(False)
