"""The models, by name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from r2t2.models.names import is_here
from r2t2.paths import cache_folder, checkpoint_folder, shipped_checkpoint

if TYPE_CHECKING:
    from r2t2.contract import RoutedModel


@dataclass(frozen=True)
class Family:
    """Models whose weights come from elsewhere: `FAMILY:FOLDER_OR_HUB_NAME?OPTION=VALUE&...`.

    Parameters
    ----------
    module, cls : the class on the contract; it is made from a name and a device.
    usual : the hub name that may be left out.
    notice : the module whose `notice(name)` says what a user must know before loading.
    """

    module: str
    cls: str
    usual: str = ""
    notice: str = ""


FAMILIES = {
    "hf": Family("r2t2.models.sparse.model", "Sparse"),
    "moai": Family("r2t2.models.moai.model", "MoAI", "BK-Lee/MoAI-7B", "r2t2.models.moai.notice"),
}


def family_of(name: str) -> Family | None:
    """The family that a model's name begins with; None for a model of this project."""
    return FAMILIES.get(re.split("[:?]", name)[0])


def load_model(name: str = "mini", device: str = "auto") -> RoutedModel:
    """A model by the name that `--model` takes, on a device.

    "mini" is the embedded model that ships; "mini-1" the one trained from seed 1 by
    `python -m r2t2 train --seed 1`; "hf:NAME?OPTION=VALUE&..." a sparse mixture of transformers,
    in a folder or on the hub (docs/sparse.md); "moai:NAME?..." MoAI-7B (docs/moai.md).

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
    if family := family_of(name):
        return getattr(import_module(family.module), family.cls)(name, device)
    raise KeyError(f"there is no model {name!r}; there are {', '.join(available())}")


def available() -> list[str]:
    """The names of the models that can be loaded here.

    Of the families in `FAMILIES` they are those that `models.txt` in the cache names, one a line,
    and every `usual` one, as far as they are on this machine.
    """
    trained = checkpoint_folder("mini").parent.glob("mini-*/model.safetensors")
    named = cache_folder() / "models.txt"
    lines = named.read_text().splitlines() if named.exists() else ()
    usual = [name for name, family in FAMILIES.items() if family.usual]
    large = [
        name
        for name in dict.fromkeys([*usual, *map(str.strip, lines)])
        if (family := family_of(name)) and is_here(name, family.usual)
    ]
    return ["mini", *sorted(path.parent.name for path in trained), *large]


def notice(name: str) -> str:
    """What a model's `notice` says, without loading the model."""
    if name.partition("-")[0] == "mini":
        from r2t2.models.mini.notice import NOTICE

        return NOTICE
    if (family := family_of(name)) and family.notice:
        return str(import_module(family.notice).notice(name))
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
