"""What a sparse mixture will take, told from its configuration before any weight is read."""

from __future__ import annotations

import re
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from r2t2.estimate import Estimate, free_memory, speed
from r2t2.models.sparse.options import Options

# Names under which families say how many experts a token goes to.
_CHOSEN = ("num_experts_per_tok", "moe_topk", "moe_k", "top_k_experts")


def estimate(config: PreTrainedConfig, options: Options, device: str) -> Estimate:
    """The estimate for a configuration; no weights are read."""
    network = hollow(config)
    named = dict(network.named_parameters())
    text = config.get_text_config()
    experts = [weights for name, weights in named.items() if ".experts." in name]
    chosen = next((getattr(text, name) for name in _CHOSEN if hasattr(text, name)), 1)
    idle = sum(w.numel() * max(0, 1 - chosen / len(w)) for w in experts)
    total = sum(weights.numel() for weights in named.values())
    kind = dtype(config, options)
    active = int(total - idle)
    return Estimate(
        parameters=total,
        active=active,
        weights=total * kind.itemsize,
        encoding=options.prompt * _kept(network.get_decoder()) * kind.itemsize,
        encode=2 * active * options.prompt,
        forward=2 * active * (options.tokens + options.answer - 1),
        free=free_memory(device),
        speed=speed(device, kind),
    )


def hollow(config: PreTrainedConfig) -> PreTrainedModel:
    """The model of a configuration, with shapes in place of weights."""
    with torch.device("meta"):
        return auto_class(config).from_config(config)


def auto_class(config: PreTrainedConfig) -> Any:
    """The class of transformers that loads a model of this configuration.

    Raises
    ------
    ValueError : it is not one that decodes alone.
    """
    if config.is_encoder_decoder:
        raise ValueError(
            f"a {config.model_type} encodes and decodes; only models that decode alone can be "
            "re-routed"
        )
    return AutoModelForImageTextToText if sees(config) else AutoModelForCausalLM


def sees(config: PreTrainedConfig) -> bool:
    """Whether a model of this configuration takes pictures."""
    return config.model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES


def dtype(config: PreTrainedConfig, options: Options) -> torch.dtype:
    """The dtype that the weights are held in."""
    if options.dtype != "auto":
        return getattr(torch, options.dtype)
    saved = config.dtype or config.get_text_config().dtype
    return saved if isinstance(saved, torch.dtype) else torch.float32


def _kept(decoder: Any) -> int:
    """Numbers that a language model keeps of a token: as many as it projects keys and values to."""
    projections = re.compile(r"\b(k_proj|v_proj|kv_b_proj)\.weight$")
    weights = decoder.named_parameters()
    kept = sum(len(weight) for name, weight in weights if projections.search(name))
    return kept or 2 * decoder.config.hidden_size * decoder.config.num_hidden_layers
