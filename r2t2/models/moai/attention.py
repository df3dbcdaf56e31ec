"""InternLM2's attention with partial low-rank adapters, and where a pass's tokens stand."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from r2t2.models.moai.config import Config

KeysValues = tuple[Tensor, Tensor]  # each (batch, key-value heads, tokens, head_dim)


def precise(x: Tensor) -> Tensor:
    """At least float32, for what is not to be computed in half precision."""
    return x if x.dtype == torch.float64 else x.float()


@dataclass(frozen=True)
class Part:
    """The tokens of one kind, gathered into as few columns as hold every row's.

    Parameters
    ----------
    order : where each column's token stands.
    kept : which columns hold a token of this kind; the others hold any.
    """

    order: Int[Tensor, "batch columns"]
    kept: Bool[Tensor, "batch columns"]

    @staticmethod
    def of(mask: Bool[Tensor, "batch tokens"]) -> Part:
        """The tokens for which a mask holds."""
        columns = int(mask.sum(1).max())
        order = mask.byte().argsort(dim=1, descending=True, stable=True)[:, :columns]
        return Part(order, mask.gather(1, order))

    def take(self, x: Float[Tensor, "batch tokens d"]) -> Float[Tensor, "batch columns d"]:
        """These tokens."""
        return x.gather(1, self._index(x))

    def put(
        self, x: Float[Tensor, "batch tokens d"], values: Float[Tensor, "batch columns d"]
    ) -> Float[Tensor, "batch tokens d"]:
        """All tokens, these with other values."""
        values = torch.where(self.kept[..., None], values, self.take(x))
        return x.scatter(1, self._index(x), values)

    def _index(self, x: Tensor) -> Tensor:
        return self.order[..., None].expand(-1, -1, x.shape[-1])


@dataclass(frozen=True)
class Place:
    """Where the tokens of a pass stand, among each other and behind those kept of earlier passes.

    Parameters
    ----------
    cos, sin : of their rotary angles.
    bias : added to the scores, lowest where a token must not look.
    pictured : the numbers, in the flattened batch, of the tokens that adapters act on; None for
        no such token.
    """

    cos: Float[Tensor, "batch 1 tokens head_dim"]
    sin: Float[Tensor, "batch 1 tokens head_dim"]
    bias: Float[Tensor, "batch 1 tokens keys"]
    pictured: Int[Tensor, " pictured"] | None

    @staticmethod
    def of(
        config: Config,
        real: Bool[Tensor, "batch keys"],
        image: Bool[Tensor, "batch tokens"] | None,
        tokens: int,
        dtype: torch.dtype,
    ) -> Place:
        """The place of the last `tokens` of all that are looked at.

        Parameters
        ----------
        real : which of all, earlier ones included, are no padding.
        image : which of the tokens are a picture's.
        """
        steps = torch.arange(0, config.head_dim, 2, device=real.device, dtype=torch.float32)
        frequencies = config.rope_theta ** (-steps / config.head_dim)
        positions = (real.cumsum(1) - 1).clamp_min(0)[:, -tokens:]
        angles = (positions[..., None] * frequencies).repeat(1, 1, 2)[:, None]
        lowest = torch.finfo(dtype).min
        keys = torch.arange(real.shape[1], device=real.device)
        later = keys > keys[-tokens:, None]
        # Two terms that add up, as in the original: padding then looks where it looked there.
        bias = torch.zeros(later.shape, dtype=dtype, device=real.device).masked_fill(later, lowest)
        hidden = torch.zeros(real.shape, dtype=dtype, device=real.device)
        hidden = hidden.masked_fill(~real, lowest)[:, None, None]
        return Place(
            angles.cos().to(dtype),
            angles.sin().to(dtype),
            bias + hidden,
            None if image is None else image.flatten().nonzero()[:, 0],
        )


class PartialLora(nn.Module):
    """A linear map with a low-rank addition for the tokens of a picture."""

    def __init__(self, config: Config, inputs: int, outputs: int, bias: bool = False) -> None:
        super().__init__()
        self.Plora_A = nn.Linear(inputs, config.plora_rank, bias=False)
        self.Plora_B = nn.Linear(config.plora_rank, outputs, bias=False)
        self.Plora_main = nn.Linear(inputs, outputs, bias=bias)
        self._scale = config.plora_alpha / config.plora_rank

    def forward(
        self, x: Float[Tensor, "batch tokens inputs"], pictured: Int[Tensor, " pictured"] | None
    ) -> Float[Tensor, "batch tokens outputs"]:
        out = self.Plora_main(x)
        if pictured is None:
            return out
        more = self.Plora_B(self.Plora_A(x.flatten(0, 1)[pictured])) * self._scale
        return out.flatten(0, 1).index_add(0, pictured, more).view_as(out)


class Attention(nn.Module):
    """Grouped attention with rotary positions; `wqkv` holds each group's queries, key and value."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._heads, self._groups = config.num_attention_heads, config.num_key_value_heads
        self._head_dim = config.head_dim
        width = (self._heads + 2 * self._groups) * self._head_dim
        self.wqkv = PartialLora(config, config.hidden_size, width, config.bias)
        self.wo = PartialLora(config, config.hidden_size, config.hidden_size, config.bias)

    def forward(
        self,
        x: Float[Tensor, "batch tokens d"],
        place: Place,
        past: KeysValues | None = None,
        last: int | None = None,
    ) -> tuple[Float[Tensor, "batch last d"], KeysValues]:
        """What the last tokens, none a picture's, see (None: all do); all keys and values."""
        batch, tokens, _ = x.shape
        grouped = self.wqkv(x, place.pictured).view(batch, tokens, self._groups, -1, self._head_dim)
        q = grouped[..., :-2, :].reshape(batch, tokens, self._heads, -1).transpose(1, 2)
        k, v = (grouped[..., i, :].transpose(1, 2) for i in (-2, -1))
        q, k = _rotate(q, place), _rotate(k, place)
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        bias, pictured = place.bias, place.pictured
        if last is not None:
            q, bias, pictured = q[:, :, -last:], bias[:, :, -last:], None
        # Repeated here, since of the kernels for grouped heads none takes a mask without
        # writing down all scores.
        heads = self._heads // self._groups
        keys, values = (kept.repeat_interleave(heads, 1) for kept in (k, v))
        seen = F.scaled_dot_product_attention(q, keys, values, attn_mask=bias)
        return self.wo(seen.transpose(1, 2).flatten(2), pictured), (k, v)


def _rotate(x: Float[Tensor, "batch heads tokens d"], place: Place) -> Tensor:
    left, right = x.chunk(2, -1)
    return x * place.cos + torch.cat([-right, left], -1) * place.sin
