"""MoV-Adapter: blocks whose gates mix what seven vision experts see into the base's tokens.

Names of modules are those of the published checkpoint (arXiv 2404.13046, section 3.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertModel

from r2t2.models.mova.layers import ChannelNorm, Rope, SwiGLU

OFF = -1e6  # is added to the gate logits of experts that the coarse routing left out
SQUEEZE = 4  # channels of a residual block over those of its squeeze-and-excitation


@dataclass(frozen=True)
class Shape:
    """The adapter's sizes, under the names of the published configuration.

    Parameters
    ----------
    mm_hidden_size, hidden_size : channels of the base's tokens and of the language model's.
    topk_experts : experts that a gate keeps.
    image_feat_size : the base's tokens in a row and in a column.
    expert_channels : of each expert's tokens.
    num_projector_layers : blocks.
    head_dim, num_heads : of every attention.
    text_feat : width of the text feature.
    """

    mm_hidden_size: int = 1024
    hidden_size: int = 4096
    topk_experts: int = 3
    image_feat_size: int = 48
    expert_channels: tuple[int, ...] = (1536, 512, 256, 1536, 768, 768, 256)
    num_projector_layers: int = 3
    head_dim: int = 64
    num_heads: int = 16
    text_feat: int = 1024

    @staticmethod
    def read(config: Mapping[str, Any]) -> Shape:
        """The sizes that a configuration names; the heads fill the base's channels."""
        known = {name: config[name] for name in Shape.__dataclass_fields__ if name in config}
        known["expert_channels"] = tuple(known.get("expert_channels", Shape.expert_channels))
        shape = Shape(**known)
        if "num_heads" in known:
            return shape
        return Shape(**{**known, "num_heads": shape.mm_hidden_size // shape.head_dim})


@dataclass(frozen=True)
class Mixed:
    """What an adapter makes of a batch.

    Parameters
    ----------
    tokens : for the language model.
    logits : of each block's gate, before the coarse routing and the shift.
    weights : that each block's gate gives the experts, before it keeps the top ones.
    blocks : the tokens after each block.
    """

    tokens: Float[Tensor, "batch fewer hidden"]
    logits: Float[Tensor, "batch blocks experts"]
    weights: Float[Tensor, "batch blocks experts"]
    blocks: list[Float[Tensor, "batch tokens channels"]]


class Adapter(nn.Module):
    """The adapter; the text encoder whose feature its gates read is a part of it.

    Parameters
    ----------
    text : the text encoder's configuration; without it the feature is given.
    """

    def __init__(self, shape: Shape, text: BertConfig | None = None) -> None:
        super().__init__()
        self.shape = shape
        width, side = shape.mm_hidden_size, shape.image_feat_size
        self.pos_embed = nn.Parameter(torch.zeros(1, side**2, width))
        self.mixers = [Block(shape) for _ in range(shape.num_projector_layers)]
        self.blocks = nn.ModuleList(self.mixers)
        self.mlp = nn.Sequential(
            nn.Linear(width, shape.hidden_size),
            nn.GELU(),
            nn.Linear(shape.hidden_size, shape.hidden_size),
        )
        if text is not None:
            self.text_encoder = nn.ModuleDict({"bert": BertModel(text, add_pooling_layer=False)})
        halved = nn.AdaptiveAvgPool2d(side // 2)
        self.downsample = nn.Sequential(Stage(width), halved, Stage(width))

    def read(self, ids: Tensor, mask: Tensor) -> Float[Tensor, "batch text"]:
        """The text feature: the text encoder's last state at a question's first token."""
        states = self.text_encoder["bert"](input_ids=ids, attention_mask=mask).last_hidden_state
        return states[:, 0]

    def forward(
        self,
        base: Float[Tensor, "batch tokens channels"],
        experts: Sequence[Float[Tensor, "batch _ _"] | None],
        text: Float[Tensor, "batch text"],
        coarse: Bool[Tensor, "batch experts"],
        shift: Float[Tensor, "batch blocks experts"] | None = None,
    ) -> Mixed:
        """Mix the experts into the base's tokens.

        Parameters
        ----------
        experts : what each one sees, a square of tokens of any size; None for one that none of the
            samples is routed to.
        coarse : the experts that each sample is routed to.
        shift : of the blocks' gate logits; experts that are left out stay so.
        """
        side = self.shape.image_feat_size
        seen = [None if expert is None else aligned(expert, side) for expert in experts]
        x = base + self.pos_embed
        logits, weights, blocks = [], [], []
        for number, block in enumerate(self.mixers):
            moved = None if shift is None else shift[:, number]
            x, own, given = block(x, seen, text, coarse, moved)
            logits.append(own)
            weights.append(given)
            blocks.append(x)
        picture = ((x + base) / 2).transpose(1, 2).unflatten(2, (side, side))
        tokens = self.mlp(self.downsample(picture).flatten(2).transpose(1, 2))
        return Mixed(tokens, torch.stack(logits, 1), torch.stack(weights, 1), blocks)


class Block(nn.Module):
    """Gated experts, self-attention, feed-forward."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.mm_hidden_size
        channels = shape.expert_channels
        self.top = shape.topk_experts
        self.cross_attn = nn.ModuleList(Attention(shape, inner) for inner in channels)
        self.norm1 = nn.ModuleList(nn.LayerNorm(width) for _ in channels)
        self.norm2 = nn.ModuleList(nn.LayerNorm(inner) for inner in channels)
        self.mlp = SwiGLU(width, 8 * width // 3)
        self.self_attn = Attention(shape, width)
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.gate = nn.Sequential(
            nn.Linear(shape.text_feat + width, width), nn.GELU(), nn.Linear(width, len(channels))
        )

    def forward(
        self,
        x: Float[Tensor, "batch tokens channels"],
        experts: Sequence[Float[Tensor, "batch tokens _"] | None],
        text: Float[Tensor, "batch text"],
        coarse: Bool[Tensor, "batch experts"],
        shift: Float[Tensor, "batch experts"] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        logits = self.gate(torch.cat([text, x.mean(1)], -1))
        weights = gated(logits, coarse, shift)
        mixed = torch.zeros_like(x)
        for number, shares in enumerate(top(weights, self.top).unbind(-1)):
            rows = coarse[:, number].nonzero()[:, 0]
            expert = experts[number]
            if not len(rows):
                continue
            if expert is None:
                raise ValueError(f"a sample is routed to expert {number}, which is not here")
            known = self.norm2[number](expert[rows])
            said = self.cross_attn[number](self.norm1[number](x[rows]), known)
            mixed = mixed.index_add(0, rows, said * shares[rows, None, None].to(x.dtype))
        x = x + mixed
        own = self.norm3(x)
        x = x + self.self_attn(own, own)
        return x + self.mlp(self.norm4(x)), logits, weights


def gated(
    logits: Float[Tensor, "batch experts"],
    coarse: Bool[Tensor, "batch experts"],
    shift: Float[Tensor, "batch experts"] | None = None,
) -> Float[Tensor, "batch experts"]:
    """A gate's weights of all experts; 0 for those that the coarse routing left out.

    A sample that is routed to none has weights, but nothing is multiplied by them.
    """
    exact = logits if logits.dtype == torch.float64 else logits.float()
    if shift is not None:
        exact = exact + torch.where(coarse, shift.to(exact), 0.0)
    return (exact + OFF * (~coarse).to(exact)).softmax(-1)


def top(weights: Float[Tensor, "batch experts"], count: int) -> Float[Tensor, "batch experts"]:
    """The largest weights, renormalised; the others 0."""
    kept = torch.zeros_like(weights).scatter(-1, weights.topk(count, -1).indices, 1.0)
    return weights * kept / (weights * kept).sum(-1, keepdim=True)


def aligned(
    expert: Float[Tensor, "batch tokens channels"], side: int
) -> Float[Tensor, "batch aligned channels"]:
    """A square of tokens, brought to another size."""
    own = round(expert.shape[1] ** 0.5)
    if own == side:
        return expert
    exact = expert if expert.dtype == torch.float64 else expert.float()
    square = exact.transpose(1, 2).unflatten(2, (own, own))
    resized = F.interpolate(square, (side, side), mode="bilinear", align_corners=False)
    return resized.flatten(2).transpose(1, 2).to(expert.dtype)


class Attention(nn.Module):
    """Attention with rotary positions on both sides and a norm before its last map."""

    def __init__(self, shape: Shape, inner: int) -> None:
        super().__init__()
        self.heads = shape.num_heads
        width, all_heads = shape.mm_hidden_size, shape.num_heads * shape.head_dim
        self.q_proj = nn.Linear(width, all_heads, bias=False)
        self.k_proj = nn.Linear(inner, all_heads, bias=False)
        self.v_proj = nn.Linear(inner, all_heads, bias=False)
        self.inner_attn_ln = nn.LayerNorm(all_heads)
        self.proj = nn.Linear(all_heads, width)
        self.rope = Rope(shape.image_feat_size, shape.head_dim)

    def forward(
        self,
        x: Float[Tensor, "batch tokens channels"],
        known: Float[Tensor, "batch tokens inner"],
    ) -> Float[Tensor, "batch tokens channels"]:
        q, k, v = (
            made.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for made in (self.q_proj(x), self.k_proj(known), self.v_proj(known))
        )
        seen = F.scaled_dot_product_attention(self.rope(q), self.rope(k), v)
        return self.proj(self.inner_attn_ln(seen.transpose(1, 2).flatten(2)))


class Stage(nn.Module):
    """timm's RegStage of one block, whose names it bears; timm itself needs torchvision."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.b1 = Residual(width)

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        return self.b1(x)


class Residual(nn.Module):
    """A RegNet block that keeps width and size, its convolution depthwise, its output linear."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = Conv(width, 1)
        self.conv2 = Conv(width, 3, groups=width)
        self.se = Excitation(width)
        self.conv3 = Conv(width, 1)

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        inner = self.se(F.silu(self.conv2(F.silu(self.conv1(x)))))
        return x + self.conv3(inner)


class Conv(nn.Module):
    """A convolution and a norm over channels."""

    def __init__(self, width: int, kernel: int, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=groups, bias=False)
        self.bn = ChannelNorm(width, eps=1e-5)

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        return self.bn(self.conv(x))


class Excitation(nn.Module):
    """Squeeze and excitation: channels scaled by what their means say."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(width, round(width / SQUEEZE), 1)
        self.fc2 = nn.Conv2d(round(width / SQUEEZE), width, 1)

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        return x * self.fc2(F.silu(self.fc1(x.mean((2, 3), keepdim=True)))).sigmoid()
