"""The models, by name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from r2t2.paths import checkpoint_folder, shipped_checkpoint

if TYPE_CHECKING:
    from r2t2.contract import RoutedModel


def load_model(name: str = "mini", device: str = "auto") -> RoutedModel:
    """A model by the name that `--model` takes, on a device.

    "mini" is the embedded model that ships; "mini-1" the one trained from seed 1 by
    `python -m r2t2 train --seed 1`.

    Raises
    ------
    KeyError : there is no such model.
    FileNotFoundError, ValueError : its checkpoint is missing or damaged.
    RuntimeError : there is no such device.
    """
    device = resolve_device(device)
    if re.fullmatch(r"mini(-\d+)?", name):
        from r2t2.models.mini.model import Mini

        path = shipped_checkpoint() if name == "mini" else checkpoint_folder(name)
        return Mini(path / "model.safetensors", name, device)
    raise KeyError(f"there is no model {name!r}; there are {', '.join(available())}")


def available() -> list[str]:
    """The names of the models that can be loaded here."""
    trained = checkpoint_folder("mini").parent.glob("mini-*/model.safetensors")
    return ["mini", *sorted(path.parent.name for path in trained)]


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
