"""Linear maps in 8 or 4 bits, through bitsandbytes, which is an optional dependency."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch
from torch import nn

from r2t2.models.names import Quantise

# Bytes of a weight, its share of a block's scale included.
BYTES = {"8bit": 1.0, "4bit": 0.53}


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


def maps(network: nn.Module, ending: str = "") -> dict[str, nn.Linear]:
    """The linear maps of a network by name: those whose names end so."""
    modules = network.named_modules()
    return {name: m for name, m in modules if type(m) is nn.Linear and name.endswith(ending)}


def quantise(
    network: nn.Module, old_maps: Mapping[str, nn.Linear], how: Quantise, device: torch.device
) -> None:
    """Put smaller maps on the device in the place of some of a network's, in main memory so far."""
    made = package().nn
    for name, old in old_maps.items():
        sizes = old.in_features, old.out_features, old.bias is not None
        if how == "8bit":
            new = made.Linear8bitLt(*sizes, has_fp16_weights=False, threshold=6.0)
        else:
            new = made.Linear4bit(*sizes, compute_dtype=old.weight.dtype, quant_type="nf4")
        new.load_state_dict(old.state_dict())
        network.set_submodule(name, new.to(device).requires_grad_(False))
