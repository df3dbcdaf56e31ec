"""InternLM2 with partial adapters, mixing at every eighth layer: hidden states in and out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from r2t2.models.moai.attention import (
    Attention,
    KeysValues,
    Part,
    PartialLora,
    Place,
    precise,
)
from r2t2.models.moai.config import Config
from r2t2.models.moai.mixer import Logits, Mixing


@dataclass(frozen=True)
class Mix:
    """What mixers need beside the hidden states.

    Parameters
    ----------
    image, language : the tokens of either kind; others, such as an answer's, are not mixed.
    aux : the compressed auxiliary tokens.
    shift : of the gates' logits, for every mixer those of the image and of the language tokens.
    """

    image: Part
    language: Part
    aux: Float[Tensor, "batch latents d"]
    shift: Float[Tensor, "batch mixers 2 3"] | None = None


@dataclass(frozen=True)
class Passed:
    """What a pass through layers leaves.

    Parameters
    ----------
    states : the hidden states that each layer gave, in order; the last alone where no others
        were asked for.
    logits : of the gates of each mixer passed.
    kept : the keys and values of each layer.
    """

    states: list[Float[Tensor, "batch tokens d"]]
    logits: list[Logits]
    kept: list[KeysValues]


class Norm(nn.Module):
    """The root mean square of a token's numbers becomes 1."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.hidden_size))
        self._eps = config.rms_norm_eps

    def forward(self, x: Float[Tensor, "*tokens d"]) -> Float[Tensor, "*tokens d"]:
        high = precise(x)
        scale = (high.pow(2).mean(-1, keepdim=True) + self._eps).rsqrt()
        return self.weight * (high * scale).to(x.dtype)


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.w1 = PartialLora(config, config.hidden_size, config.intermediate_size)
        self.w3 = PartialLora(config, config.hidden_size, config.intermediate_size)
        self.w2 = PartialLora(config, config.intermediate_size, config.hidden_size)

    def forward(self, x: Float[Tensor, "batch tokens d"], pictured: Tensor | None) -> Tensor:
        return self.w2(F.silu(self.w1(x, pictured)) * self.w3(x, pictured), pictured)


class Layer(nn.Module):
    """A layer of the language model; if it mixes, it does so before its attention."""

    def __init__(self, config: Config, mixes: bool) -> None:
        super().__init__()
        self.attention = Mixing(config) if mixes else Attention(config)
        self.feed_forward = FeedForward(config)
        self.attention_norm, self.ffn_norm = Norm(config), Norm(config)

    def forward(
        self,
        x: Float[Tensor, "batch tokens d"],
        place: Place,
        mix: Mix | None = None,
        shift: Float[Tensor, "batch 2 3"] | None = None,
        past: KeysValues | None = None,
        last: int | None = None,
    ) -> tuple[Float[Tensor, "batch last d"], Logits | None, KeysValues]:
        normed, logits = self.attention_norm(x), None
        if mix is not None and isinstance(self.attention, Mixing):
            normed, logits = self.attention.mix(normed, mix.image, mix.language, mix.aux, shift)
        seen, kept = self.attention(normed, place, past, last)
        x = seen + (x if last is None else x[:, -last:])
        pictured = place.pictured if last is None else None
        return x + self.feed_forward(self.ffn_norm(x), pictured), logits, kept


class Language(nn.Module):
    """The language model without its head."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        # The row after the vocabulary is the token that stands for a picture.
        self.tok_embeddings = nn.Embedding(config.vocab_size + 1, config.hidden_size)
        self.layers = nn.ModuleList(
            Layer(config, i in config.mixers) for i in range(config.num_hidden_layers)
        )
        self.norm = Norm(config)
        self.recompute = False

    def forward(
        self,
        x: Float[Tensor, "batch tokens d"],
        layers: range,
        real: Bool[Tensor, "batch keys"],
        image: Bool[Tensor, "batch tokens"] | None = None,
        mix: Mix | None = None,
        past: Sequence[KeysValues] | None = None,
        last: int | None = None,
        states: bool = False,
    ) -> Passed:
        """Send tokens through some of the layers.

        Parameters
        ----------
        x : what the first of these layers takes.
        real : which tokens are no padding, those in `past` included.
        image : which tokens are a picture's; None for none.
        past : the layers' keys and values of earlier tokens.
        last : of the model's last layer only so many tokens at the end are needed.
        states : whether to give what each layer gives.
        """
        place = Place.of(self.config, real, image, x.shape[1], x.dtype)
        passed = Passed([], [], [])
        mixers = self.config.mixers
        for i in layers:
            shift = None
            if mix is not None and mix.shift is not None and i in mixers:
                shift = mix.shift[:, mixers.index(i)]
            ends = last if i == len(self.layers) - 1 else None
            inputs = (x, place, mix, shift, past[i - layers.start] if past else None, ends)
            if self.recompute and torch.is_grad_enabled():
                x, logits, kept = checkpoint(self.layers[i], *inputs, use_reentrant=False)
            else:
                x, logits, kept = self.layers[i](*inputs)
            passed.kept.append(kept)
            if logits is not None:
                passed.logits.append(logits)
            if states:
                passed.states.append(x)
        if not states:
            passed.states.append(x)
        return passed
