"""The models, by name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from r2t2.files import written
from r2t2.models.names import is_here
from r2t2.paths import cache_folder, checkpoint_folder, shipped_checkpoint

if TYPE_CHECKING:
    from r2t2.contract import RoutedModel
    from r2t2.estimate import Estimate
    from r2t2.sites import Site

# In the cache: the names of large models that are offered, one a line.
LISTED = "models.txt"


@dataclass(frozen=True)
class Family:
    """Models whose weights come from elsewhere: `FAMILY:FOLDER_OR_HUB_NAME?OPTION=VALUE&...`.

    Parameters
    ----------
    module, cls : the class on the contract; it is made from a name and a device.
    usual : the hub name that may be left out.
    about : the module that tells of a model by its name, with no weight read: `notice(name)`,
        without torch, `sites(name)` and `estimate(name, device)`; empty where nothing is told.
    """

    module: str
    cls: str
    usual: str = ""
    about: str = ""


FAMILIES = {
    "hf": Family("r2t2.models.sparse.model", "Sparse", about="r2t2.models.sparse.about"),
    "moai": Family("r2t2.models.moai.model", "MoAI", "BK-Lee/MoAI-7B", "r2t2.models.moai.about"),
    "mova": Family(
        "r2t2.models.mova.model", "MoVA", "zongzhuofan/llama3-mova-8b", "r2t2.models.mova.about"
    ),
}


def family_of(name: str) -> Family | None:
    """The family that a model's name begins with; None for a model of this project."""
    return FAMILIES.get(re.split("[:?]", name)[0])


def load_model(name: str = "mini", device: str = "auto") -> RoutedModel:
    """A model by the name that `--model` takes, on a device.

    "mini" is the embedded model that ships; "mini-1" the one trained from seed 1 by
    `python -m r2t2 train --seed 1`; "hf:NAME?OPTION=VALUE&..." a sparse mixture of transformers,
    in a folder or on the hub (docs/sparse.md); "moai:NAME?..." MoAI-7B (docs/moai.md);
    "mova:NAME?..." MoVA (docs/mova.md).

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
        from r2t2.memory import let_go

        let_go()  # weights come before what others keep at hand
        return getattr(import_module(family.module), family.cls)(name, device)
    raise KeyError(f"there is no model {name!r}; there are {', '.join(available())}")


def available() -> list[str]:
    """The names of the models that can be loaded here.

    Of the families in `FAMILIES` they are those that `models.txt` in the cache names, one a line,
    and every `usual` one, as far as they are on this machine.
    """
    trained = checkpoint_folder("mini").parent.glob("mini-*/model.safetensors")
    usual = [name for name, family in FAMILIES.items() if family.usual]
    large = [
        name
        for name in dict.fromkeys([*usual, *map(str.strip, _listed())])
        if (family := family_of(name)) and is_here(name, family.usual)
    ]
    return ["mini", *sorted(path.parent.name for path in trained), *large]


def add(name: str) -> None:
    """Have a large model offered: name it in `models.txt`.

    Raises
    ------
    KeyError, ValueError, FileNotFoundError : it is of no family, is not on this machine, or
        cannot be re-routed; the message says what to do.
    """
    family = family_of(name)
    if not family or name != name.strip() or not name.isprintable():
        raise KeyError(
            f"{name!r} is no name of a large model; it must be FAMILY:FOLDER_OR_HUB_NAME with "
            f"FAMILY {', '.join(FAMILIES)}"
        )
    if not is_here(name, family.usual):
        path = name.partition("?")[0].partition(":")[2] or family.usual
        raise FileNotFoundError(
            f"{path!r} is not on this machine: give the folder that it lies in, or fetch it from "
            f"the hub with 'hf download {path}' first"
        )
    sites(name)
    if name not in map(str.strip, _listed()):
        with written(cache_folder() / LISTED) as part:
            part.write_text("\n".join([*_listed(), name, ""]))


def remove(name: str) -> None:
    """Have a large model offered no more; its files and runs stay.

    Raises
    ------
    KeyError : `models.txt` does not name it.
    """
    if name not in map(str.strip, _listed()):
        raise KeyError(f"{cache_folder() / LISTED} does not name {name!r}")
    with written(cache_folder() / LISTED) as part:
        part.write_text("".join(f"{line}\n" for line in _listed() if line.strip() != name))


def notice(name: str) -> str:
    """What a model's `notice` says, without loading the model or torch."""
    if name.partition("-")[0] == "mini":
        from r2t2.models.mini.notice import NOTICE

        return NOTICE
    about = _about(name)
    return about.notice(name) if about else ""


def sites(name: str) -> tuple[Site, ...]:
    """A large model's sites, without loading it; empty where they cannot be told.

    Raises
    ------
    OSError, ValueError : its configuration is missing or damaged, or an option is wrong.
    """
    about = _about(name)
    return about.sites(name) if about else ()


def estimate(name: str, device: str = "auto") -> Estimate | None:
    """What a large model will take of memory and time, without loading it; None where it cannot
    be told, or where it is too small to matter.

    Raises
    ------
    OSError, ValueError, RuntimeError : as `load_model`.
    """
    about = _about(name)
    return about.estimate(name, resolve_device(device)) if about else None


def _about(name: str) -> Any:
    family = family_of(name)
    return import_module(family.about) if family and family.about else None


def _listed() -> list[str]:
    file = cache_folder() / LISTED
    return file.read_text().splitlines() if file.exists() else []


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
