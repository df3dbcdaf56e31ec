"""What MoAI will take, told from its configuration before any weight is read."""

from __future__ import annotations

import torch

from r2t2.estimate import Estimate, free_memory, speed
from r2t2.models.moai.config import Config
from r2t2.models.moai.network import Network
from r2t2.models.moai.options import Options
from r2t2.models.moai.quantise import shrinks

# Bytes that a quantised weight takes, its share of a block's scale included.
_QUANTISED = {"8bit": 1.0, "4bit": 0.53}


def estimate(config: Config, network: Network, options: Options, device: str) -> Estimate:
    """The estimate for a network that may lie on the meta device."""
    kind, sizes = dtype(config, options), config.vision_config
    total = _count(network)
    small = sum(map(_count, shrinks(network)))
    shrunk = _QUANTISED.get(options.quantise, kind.itemsize)
    tower = _count(network.vit)
    kept = options.prompt * config.hidden_size + sizes.tokens * sizes.hidden_size
    kept += config.resampler.num_latents * config.hidden_size
    layers = [_count(layer) for layer in network.model.layers]
    first = config.mixers[0]
    head = _count(network.output)
    # A picture and its panoptic map are looked at; at least the picture then passes the layers.
    looked = 2 * (tower * (sizes.tokens + 1) + _count(network.vision_proj) * sizes.tokens)
    return Estimate(
        parameters=total,
        active=total - _count(network.model.tok_embeddings),
        weights=int((total - small) * kind.itemsize + small * shrunk),
        encoding=kept * kind.itemsize,
        encode=2 * (looked + sum(layers) * sizes.tokens),
        forward=2 * (sum(layers[first:]) * sizes.tokens + head),
        free=free_memory(device),
        speed=speed(device, kind),
    )


def dtype(config: Config, options: Options) -> torch.dtype:
    """The dtype that the weights are held in."""
    return getattr(torch, config.torch_dtype if options.dtype == "auto" else options.dtype)


def _count(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())
