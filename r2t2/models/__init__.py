"""The models, by name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from r2t2.models.sparse.options import PREFIX, is_here
from r2t2.paths import cache_folder, checkpoint_folder, shipped_checkpoint

if TYPE_CHECKING:
    from r2t2.contract import RoutedModel


def load_model(name: str = "mini", device: str = "auto") -> RoutedModel:
    """A model by the name that `--model` takes, on a device.

    "mini" is the embedded model that ships; "mini-1" the one trained from seed 1 by
    `python -m r2t2 train --seed 1`; "hf:NAME?OPTION=VALUE&..." a sparse mixture of transformers,
    in a folder or on the hub (docs/sparse.md).

    Raises
    ------
    KeyError : there is no such model.
    OSError, ValueError : its checkpoint is missing or damaged, or an option is wrong.
    MemoryError : its weights do not fit.
    RuntimeError : there is no such device.
    """
    device = resolve_device(device)
    if re.fullmatch(r"mini(-\d+)?", name):
        from r2t2.models.mini.model import Mini

        path = shipped_checkpoint() if name == "mini" else checkpoint_folder(name)
        return Mini(path / "model.safetensors", name, device)
    if name.startswith(PREFIX):
        from r2t2.models.sparse.model import Sparse

        return Sparse(name, device)
    raise KeyError(f"there is no model {name!r}; there are {', '.join(available())}")


def available() -> list[str]:
    """The names of the models that can be loaded here.

    Sparse mixtures are those that `models.txt` in the cache names, one a line, as far as they
    are on this machine.
    """
    trained = checkpoint_folder("mini").parent.glob("mini-*/model.safetensors")
    named = cache_folder() / "models.txt"
    lines = named.read_text().splitlines() if named.exists() else ()
    sparse = [line.strip() for line in lines if line.startswith(PREFIX)]
    return ["mini", *sorted(path.parent.name for path in trained), *filter(is_here, sparse)]


def notice(name: str) -> str:
    """What a model's `notice` says, without loading the model."""
    if name.partition("-")[0] == "mini":
        from r2t2.models.mini.notice import NOTICE

        return NOTICE
    return ""


def resolve_device(device: str) -> str:
    """ "auto" is the best that is there: cuda, then mps, then cpu.

    Raises
    ------
    RuntimeError : a device was asked for that is not there.
    """
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available()}
    there["mps"] = torch.backends.mps.is_available()
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there.get(device.split(":")[0], False):
        usable = ", ".join(name for name, has in there.items() if has)
        raise RuntimeError(f"there is no device {device!r} here; there is {usable}")
    return device
