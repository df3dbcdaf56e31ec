"""What MoVA will take, told from its configuration before any weight is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from r2t2.estimate import Estimate, free_memory, speed
from r2t2.models.mova.experts import EXPERTS
from r2t2.models.mova.network import Network
from r2t2.models.mova.options import Options
from r2t2.models.mova.routing import NAMED
from r2t2.models.quantise import BYTES, maps

ASKED = 400  # tokens of the routing prompt beside the picture's, about
WORDS = 100  # tokens of a question, about


def estimate(
    config: Mapping[str, Any], network: Network, options: Options, device: str
) -> Estimate:
    """The estimate for a network whose weights may lie on the meta device.

    A sample is taken to be routed to as many experts as may be named, each of average size.
    """
    kind = dtype(config, options)
    total = _count(network)
    small = sum(m.weight.numel() for m in maps(network.language.model).values())
    each = BYTES.get(options.quantise, kind.itemsize)
    layers = _count(network.language.model.layers)
    adapter = network.adapter
    side = adapter.shape.image_feat_size
    experts = network.experts
    clip = experts.pop("clip")
    share = min(1.0, NAMED / max(1, len(experts)))
    looks = sum(_count(expert) * expert.tokens for expert in experts.values())
    looked = _count(clip) * clip.tokens + share * looks
    mixers = sum(_count(block.cross_attn) for block in adapter.mixers)
    mixing = _count(adapter.blocks) - (1 - NAMED / len(EXPERTS)) * mixers
    idle = (1 - share) * sum(map(_count, experts.values()))
    return Estimate(
        parameters=total,
        active=int(total - idle),
        weights=int((total - small) * kind.itemsize + small * each),
        encoding=encoding(network) * kind.itemsize,
        encode=2 * (looked + mixing * side**2 + layers * (network.routing + ASKED)),
        forward=2 * (mixing * side**2 + layers * (side**2 // 4 + WORDS)),
        free=free_memory(device),
        speed=speed(device, kind),
    )


def encoding(network: Network) -> int:
    """Numbers that are kept of a sample."""
    shape = network.adapter.shape
    channels = dict(zip((expert.key for expert in EXPERTS), shape.expert_channels, strict=True))
    channels["clip"] = shape.mm_hidden_size
    seen = sum(tower.tokens * channels[key] for key, tower in network.experts.items())
    return seen + shape.text_feat


def dtype(config: Mapping[str, Any], options: Options) -> torch.dtype:
    """The dtype that the weights are held in."""
    saved = config.get("torch_dtype", config.get("dtype", "float32"))
    return getattr(torch, saved if options.dtype == "auto" else options.dtype)


def _count(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())
