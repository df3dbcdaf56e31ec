"""What a model keeps of the tokens before the steered ones: its cache, as named tensors."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import Cache
from transformers.cache_utils import LinearAttentionCacheLayerMixin


def freeze(cache: Cache) -> dict[str, Tensor]:
    """A cache's tensors by name; their first dimension is the batch.

    Keys and values, and whatever else a family keeps: windows, convolutions, recurrent states.
    """
    return _tensors(vars(cache), "cache")


def thaw(like: Cache, tensors: Mapping[str, Tensor]) -> Cache:
    """A copy of a cache of the same length with tensors of other rows; using it leaves them be."""
    # Cloned, since recurrent layers write over theirs in place.
    swapped = {id(old): tensors[name].clone() for name, old in freeze(like).items()}
    return copy.deepcopy(like, swapped)


def recurs(cache: Cache) -> bool:
    """Whether some layers keep a state that every token changes, not keys and values of each."""
    return any(isinstance(layer, LinearAttentionCacheLayerMixin) for layer in cache.layers)


def _tensors(holder: Any, path: str) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for key, value in holder.items() if isinstance(holder, dict) else enumerate(holder):
        name = f"{path}.{key}"
        if isinstance(value, Tensor):
            found |= {name: value} if value.dim() else {}
        elif isinstance(value, (dict, list)):
            found |= _tensors(value, name)
        elif type(value).__module__.startswith("transformers."):
            found |= _tensors(vars(value), name)
    return found
