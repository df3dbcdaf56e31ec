"""The embedded model's network with a gradient in `r` alone, in about four fifths of the time.

It computes what `Network.forward` does, up to rounding. Autograd does not know that nothing but
`r` varies nor that the last block reads one token; each part here returns its value and its
pullback, from the gradient of its value to that of its input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from r2t2.models.mini.network import BLOCKS, CHANNEL, HEADS, QUERIES, WIDTH, Attention, Network
from r2t2.models.mini.perception import CELLS

Pullback = Callable[[Tensor], Tensor]
Part = tuple[Tensor, Pullback]
aten = torch.ops.aten
SCALE = (WIDTH // HEADS) ** -0.5


def logits(
    network: Network, encoded: Mapping[str, Tensor], r: Float[Tensor, "batch sites experts"]
) -> Float[Tensor, "batch answers"]:
    """Logits of the answers under `r`, differentiable in `r` alone, once."""
    return _Logits.apply(r, network, encoded)


class _Logits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, r: Tensor, network: Network, encoded: Mapping[str, Tensor]) -> Tensor:
        value, ctx.pullback = _network(network, encoded, r)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.pullback(gradient), None, None


def _network(network: Network, encoded: Mapping[str, Tensor], r: Tensor) -> Part:
    messages = encoded["messages"]
    mixed = (r[:, :, None] @ messages).view(len(r), BLOCKS, CELLS, CHANNEL)
    x = torch.cat([encoded["queries"], encoded["cells"]], 1)
    backs: list[tuple[Pullback, Pullback]] = []
    for i, block in enumerate(network.blocks):
        said, up = _chain(network.norm[i], *_parts(network.up[i]))(mixed[:, i])
        x[:, QUERIES:] += said
        x, back = _block(block, x, alone=i == BLOCKS - 1)
        backs.append((up, back))
    value, head = _chain(*network.head)(x)

    def pullback(gradient: Tensor) -> Tensor:
        gradient = head(gradient)
        heard = []
        for up, back in reversed(backs):
            gradient = back(gradient)
            heard.append(up(gradient[:, QUERIES:].contiguous()).flatten(1))
        return (messages @ torch.stack(heard[::-1], 1)[..., None])[..., 0]

    return value, pullback


def _block(block: nn.Module, x: Float[Tensor, "batch tokens width"], alone: bool) -> Part:
    """A block; `alone`, of its first token only, which is all that the head reads."""
    assert isinstance(block, Attention)
    read, norm = _norm(block.norm1, x)
    seen, attend = (_attend_alone if alone else _attend)(block, read)
    said, out = _linear(block.out, seen)
    x = said.add_(x[:, 0] if alone else x)
    more, mlp = _chain(block.norm2, *_parts(block.mlp))(x)

    def pullback(gradient: Tensor) -> Tensor:
        gradient = mlp(gradient).add_(gradient)
        whole = norm(attend(out(gradient)))
        (whole[:, 0] if alone else whole).add_(gradient)
        return whole

    return more.add_(x), pullback


def _attend(block: Attention, read: Float[Tensor, "batch tokens width"]) -> Part:
    """Every token reads every token."""
    batch, tokens, _ = read.shape
    weight = torch.cat([block.q.weight, block.kv.weight])
    qkv = F.linear(read, weight, torch.cat([block.q.bias, block.kv.bias]))
    apart = qkv.view(batch, tokens, 3, HEADS, -1).permute(2, 0, 3, 1, 4).contiguous()
    q, k, v = apart.flatten(1, 2)
    much = _scaled(q, k.mT).softmax(-1)
    seen = _joined(much @ v, batch)

    def pullback(gradient: Tensor) -> Tensor:
        gradient = gradient.view(batch, tokens, HEADS, -1).transpose(1, 2).flatten(0, 1)
        score = _softmax_pullback(gradient @ v.mT, much)
        gradients = torch.empty_like(apart).flatten(1, 2)
        _scaled(score, k, out=gradients[0])
        _scaled(score.mT, q, out=gradients[1])
        torch.bmm(much.mT, gradient, out=gradients[2])
        gradients = gradients.view(3, batch, HEADS, tokens, -1).permute(1, 3, 0, 2, 4)
        return gradients.reshape(batch, tokens, -1) @ weight

    return seen, pullback


def _attend_alone(block: Attention, read: Float[Tensor, "batch tokens width"]) -> Part:
    """The first token reads every token: no token's key or value is ever made.

    q_h . (W_h x) is (W_h^T q_h) . x, and a mean of values is the value of the mean; a key's bias
    adds the same to all scores, which the softmax does not see.
    """
    batch = len(read)
    k, v = block.kv.weight.view(2, HEADS, -1, WIDTH)
    q = _per_head(block.q(read[:, 0]))
    asked = (q @ k).transpose(0, 1).contiguous()
    much = _scaled(asked, read.mT).softmax(-1)
    mean = (much @ read).transpose(0, 1)
    seen = (mean @ v.mT).transpose(0, 1).reshape(batch, WIDTH) + block.kv.bias[WIDTH:]

    def pullback(gradient: Tensor) -> Tensor:
        of_mean = (_per_head(gradient) @ v).transpose(0, 1).contiguous()
        score = _softmax_pullback(of_mean @ read.mT, much)
        # Of what is read as value and as key, in one product.
        both = torch.cat([much, score * SCALE], 1).mT @ torch.cat([of_mean, asked], 1)
        of_q = (_scaled(score, read).transpose(0, 1) @ k.mT).transpose(0, 1).reshape(batch, WIDTH)
        both[:, 0] += of_q @ block.q.weight
        return both

    return seen, pullback


def _per_head(x: Float[Tensor, "batch width"]) -> Float[Tensor, "heads batch part"]:
    return x.view(len(x), HEADS, -1).transpose(0, 1)


def _joined(x: Float[Tensor, "rows tokens part"], batch: int) -> Float[Tensor, "batch tokens _"]:
    return x.view(batch, HEADS, x.shape[1], -1).transpose(1, 2).reshape(batch, x.shape[1], WIDTH)


def _scaled(
    a: Float[Tensor, "rows i j"], b: Float[Tensor, "rows j k"], out: Tensor | None = None
) -> Float[Tensor, "rows i k"]:
    return torch.baddbmm(a.new_empty(1), a, b, beta=0, alpha=SCALE, out=out)


def _softmax_pullback(gradient: Tensor, value: Tensor) -> Tensor:
    return aten._softmax_backward_data(gradient, value, -1, value.dtype)


def _chain(*modules: nn.Module) -> Callable[[Tensor], Part]:
    def run(x: Tensor) -> Part:
        backs = []
        for module in modules:
            x, back = _PARTS[type(module)](module, x)
            backs.append(back)

        def pullback(gradient: Tensor) -> Tensor:
            for back in reversed(backs):
                gradient = back(gradient)
            return gradient

        return x, pullback

    return run


def _parts(module: nn.Module) -> Iterable[nn.Module]:
    assert isinstance(module, nn.Sequential)
    return module


def _norm(module: nn.LayerNorm, x: Tensor) -> Part:
    shape, weight, bias = module.normalized_shape, module.weight, module.bias
    x = x.contiguous()
    value, mean, scale = aten.native_layer_norm(x, shape, weight, bias, module.eps)

    def pullback(gradient: Tensor) -> Tensor:
        only_x = [True, False, False]
        return aten.native_layer_norm_backward(
            gradient.contiguous(), x, shape, mean, scale, weight, bias, only_x
        )[0]

    return value, pullback


def _linear(module: nn.Linear, x: Tensor) -> Part:
    return module(x), lambda gradient: gradient @ module.weight


def _gelu(module: nn.GELU, x: Tensor) -> Part:
    return module(x), lambda gradient: aten.gelu_backward(gradient, x)


_PARTS: dict[type[nn.Module], Callable[[Any, Tensor], Part]] = {
    nn.LayerNorm: _norm,
    nn.Linear: _linear,
    nn.GELU: _gelu,
}
