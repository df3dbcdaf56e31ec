"""The sizes of a MoAI network, as its checkpoint's `config.json` gives them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

Sizes = TypeVar("Sizes")
DTYPES = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True)
class Resampler:
    """Of the compressor: as many heads of so many dimensions, and latents, in every layer."""

    depth: int = 4
    dim_head: int = 64
    heads: int = 4
    num_latents: int = 64
    ff_mult: int = 1


@dataclass(frozen=True)
class Vision:
    """Of the CLIP tower, by the names of transformers' `CLIPVisionConfig`."""

    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    image_size: int = 490
    patch_size: int = 14

    @property
    def tokens(self) -> int:
        """Tokens that a picture becomes."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True)
class Config:
    """The defaults are MoAI-7B's, since its own file tells no more than InternLM2's does.

    Parameters
    ----------
    moai_every : the last of so many layers mixes its experts.
    torch_dtype : that the weights were saved in.
    """

    vocab_size: int = 92544
    hidden_size: int = 4096
    intermediate_size: int = 14336
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int = 8
    bias: bool = False
    rms_norm_eps: float = 1e-5
    rope_theta: float = 1e6
    plora_rank: int = 256
    plora_alpha: int = 256
    moai_lora_rank: int = 64
    moai_heads: int = 4
    moai_every: int = 8
    torch_dtype: str = "float16"
    resampler: Resampler = field(default_factory=Resampler)
    vision_config: Vision = field(default_factory=Vision)

    @property
    def head_dim(self) -> int:
        """Dimensions of an attention head of the language model."""
        return self.hidden_size // self.num_attention_heads

    @property
    def mixers(self) -> tuple[int, ...]:
        """The layers that mix their experts: 7, 15, 23 and 31."""
        return tuple(range(self.moai_every - 1, self.num_hidden_layers, self.moai_every))

    @staticmethod
    def of(values: Mapping[str, Any]) -> Config:
        """From what `config.json` holds; what it does not name is as in MoAI-7B.

        Raises
        ------
        ValueError : a size is none, or sizes do not go together.
        """
        parts = {"resampler": Resampler, "vision_config": Vision}
        nested: dict[str, Any] = {
            key: _known(kind, values.get(key, {})) for key, kind in parts.items()
        }
        # Newer versions of transformers write the first of these two.
        flat = {"torch_dtype": values.get("dtype"), **values}
        config = Config(**{**vars(_known(Config, flat)), **nested})
        if (
            not config.mixers
            or config.hidden_size % (2 * config.num_attention_heads)
            or config.hidden_size % config.moai_heads
            or config.num_attention_heads % config.num_key_value_heads
        ):
            raise ValueError("its sizes do not go together")
        if config.torch_dtype not in DTYPES:
            raise ValueError(f"torch_dtype is {config.torch_dtype!r}, not one of {DTYPES}")
        return config

    @staticmethod
    def read(folder: Path) -> Config:
        """The configuration in a model's folder.

        Raises
        ------
        FileNotFoundError, ValueError : there is none, or it is no MoAI's.
        """
        path = folder / "config.json"
        if not path.exists():
            raise FileNotFoundError(f"{folder} has no config.json: download the model again")
        try:
            return Config.of(json.loads(path.read_text()))
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path} is not the configuration of a MoAI ({error})") from error


def _known(kind: type[Sizes], values: Mapping[str, Any]) -> Sizes:
    names = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    return kind(
        **{name: values[name] for name in names & values.keys() if values[name] is not None}
    )
