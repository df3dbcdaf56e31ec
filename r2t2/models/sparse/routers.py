"""The routers of a language model's blocks, and how their logits are shifted from outside.

A router computes logits, one per expert, and makes of them by its family's own rule which experts
a token goes to and with what weights. Here a router is run by its own code with other logits, so
that every rule is kept (softmax or sigmoid, before or after the choice, correction biases, groups,
scales) and none has to be written down.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_PRODUCTS = (F.linear, torch.mm)
_SIGMOIDS = (torch.sigmoid, Tensor.sigmoid)

Change = Callable[[int, Float[Tensor, "*tokens experts"]], Float[Tensor, "*tokens experts"]]


@dataclass(frozen=True)
class Router:
    """A router that a text token passes through.

    Parameters
    ----------
    name : of the module in its model.
    module : what turns a hidden state into experts and their weights.
    experts : how many it chooses from; the width of its logits.
    sigmoid : whether it weighs experts by sigmoids, each by itself, or by one softmax.
    """

    name: str
    module: nn.Module
    experts: int
    sigmoid: bool

    @property
    def layer(self) -> int:
        """The number of its layer: the first in its name."""
        return int(next(part for part in self.name.split(".") if part.isdecimal()))

    def weights(self, logits: Float[Tensor, "*tokens experts"]) -> Float[Tensor, "*tokens experts"]:
        """The gate's weights of all experts, chosen or not; they sum to 1."""
        logits = logits if logits.dtype == torch.float64 else logits.float()
        if not self.sigmoid:
            return logits.softmax(-1)
        return logits.sigmoid() / logits.sigmoid().sum(-1, keepdim=True)


class _Watched(TorchFunctionMode):
    """What a router's own code does: how wide its last product is, and whether by sigmoids."""

    width, sigmoid = 0, False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in _PRODUCTS:
            self.width = out.shape[-1]
        self.sigmoid |= func in _SIGMOIDS
        return out


class _Changed(TorchFunctionMode):
    """A router's own code, its logits going through `change` as soon as they are computed."""

    def __init__(self, width: int, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._width, self._change = width, change

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        return self._change(out) if func in _PRODUCTS and out.shape[-1] == self._width else out


def find(network: nn.Module) -> list[Router]:
    """The routers that a text token passes through, in the order in which it meets them."""
    found: list[Router] = []

    def watch(name: str, module: nn.Module, args: Any, kwargs: Any, output: object) -> None:
        with _Watched() as seen:
            module.forward(*args, **kwargs)
        if seen.width:
            found.append(Router(name, module, seen.width, seen.sigmoid))

    hooks = [
        module.register_forward_hook(partial(watch, name), with_kwargs=True)
        for name, module in network.named_modules()
        if re.search(r"(^|\.)(gate|router)$", name) and re.search("Rout|Gat", type(module).__name__)
    ]
    device = next(network.parameters()).device
    try:
        with torch.no_grad():
            network(input_ids=torch.zeros(1, 2, dtype=torch.long, device=device), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return found


class Hooks:
    """On routers, each a site of the model: lets their logits be read and changed."""

    def __init__(self, routers: Sequence[Router]) -> None:
        # A thread's own: several may run the model at once.
        self._change: ContextVar[Change | None] = ContextVar("change", default=None)
        for site, router in enumerate(routers):
            hook = partial(self._again, site, router)
            router.module.register_forward_hook(hook, with_kwargs=True)

    @contextmanager
    def through(self, change: Change) -> Iterator[None]:
        """Within it, all routers decide on `change(site, logits)` instead of their logits."""
        token = self._change.set(change)
        try:
            yield
        finally:
            self._change.reset(token)

    def _again(
        self, site: int, router: Router, module: nn.Module, args: Any, kwargs: Any, output: object
    ) -> object:
        change = self._change.get()
        if change is None:
            return output
        with _Changed(router.experts, partial(change, site)):
            return module.forward(*args, **kwargs)


def add(shifts: Float[Tensor, "batch sites experts"]) -> Change:
    """The change that adds to the logits of every token of a sample its shift."""

    def change(site: int, logits: Tensor) -> Tensor:
        own = shifts[:, site, : logits.shape[-1]]
        tokens = logits.numel() // own.numel()
        return logits + own.repeat_interleave(tokens, 0).view_as(logits).to(logits.dtype)

    return change
