"""What a model will take, told from its configuration before any weight is read."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from r2t2.models.sparse.options import Options

# Names under which families say how many experts a token goes to.
_CHOSEN = ("num_experts_per_tok", "moe_topk", "moe_k", "top_k_experts")


@dataclass(frozen=True)
class Estimate:
    """Memory and time that a model takes under given options.

    Parameters
    ----------
    parameters, active : in all, and those that a text token passes through.
    weights : bytes of all parameters.
    encoding : bytes that are kept of an encoded sample, about: keys and values of every token.
    prompt, steered : tokens of a prompt, and those that every pass runs through anew.
    free : bytes that are free on the device.
    speed : multiplications and additions per second, measured on the device in the dtype.
    """

    parameters: int
    active: int
    weights: int
    encoding: int
    prompt: int
    steered: int
    free: int
    speed: float

    @staticmethod
    def of(config: PreTrainedConfig, options: Options, device: str) -> Estimate:
        """The estimate for a configuration; no weights are read."""
        with torch.device("meta"):
            network = auto_class(config).from_config(config)
        named = dict(network.named_parameters())
        text = config.get_text_config()
        experts = [weights for name, weights in named.items() if ".experts." in name]
        chosen = next((getattr(text, name) for name in _CHOSEN if hasattr(text, name)), 1)
        idle = sum(w.numel() * max(0, 1 - chosen / len(w)) for w in experts)
        total = sum(weights.numel() for weights in named.values())
        kind = dtype(config, options)
        return Estimate(
            parameters=total,
            active=int(total - idle),
            weights=total * kind.itemsize,
            encoding=options.prompt * _kept(network.get_decoder()) * kind.itemsize,
            prompt=options.prompt,
            steered=options.tokens + options.answer - 1,
            free=free_memory(device),
            speed=_speed(device, kind),
        )

    def seconds(self, passes: int) -> float:
        """The least that a sample can take, encoded and sent through the routed part so often.

        A backward pass counts as two. Small batches, which wait for memory, take longer.
        """
        return 2 * self.active * (self.prompt + passes * self.steered) / self.speed

    @property
    def report(self) -> str:
        """The estimate in words."""
        return (
            f"{self.parameters / 1e9:.3g} billion parameters, {self.active / 1e9:.3g} billion of "
            f"them active; {_size(self.weights)} of weights and about {_size(self.encoding)} for "
            f"each encoded sample (prompt={self.prompt}); {_size(self.free)} are free; at least "
            f"{self.seconds(0):.2g} s to encode a sample and "
            f"{self.seconds(1) - self.seconds(0):.2g} s for each pass"
        )

    def check(self) -> None:
        """Refuse weights that cannot fit.

        Raises
        ------
        MemoryError : they do not; the message holds the report and what can be done.
        """
        if self.weights > self.free:
            raise MemoryError(
                f"the weights do not fit: {self.report}. Take a smaller model, another device, or "
                "a smaller dtype (such as dtype=bfloat16)"
            )


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


def free_memory(device: str) -> int:
    """Bytes that are free on a device."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return 1 << 62  # no way to ask: the system will say so itself
    lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
    return 1024 * int(lines["MemAvailable"].split()[0])


def _kept(decoder: Any) -> int:
    """Numbers that a language model keeps of a token: as many as it projects keys and values to."""
    projections = re.compile(r"\b(k_proj|v_proj|kv_b_proj)\.weight$")
    weights = decoder.named_parameters()
    kept = sum(len(weight) for name, weight in weights if projections.search(name))
    return kept or 2 * decoder.config.hidden_size * decoder.config.num_hidden_layers


def _speed(device: str, kind: torch.dtype) -> float:
    square = torch.ones(512, 512, device=device, dtype=kind)
    least = math.inf
    for _ in range(5):  # the first is slow, and any may be held up by other work
        started = time.perf_counter()
        float((square @ square).sum())
        least = min(least, time.perf_counter() - started)
    return 2 * 512**3 / least


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
