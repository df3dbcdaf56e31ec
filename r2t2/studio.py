"""Opens an engine by name: what the command line and the pages start from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from r2t2.data import world
from r2t2.paths import reference_folder, reference_name
from r2t2.reference import how_to_build
from r2t2.samples import Dataset

if TYPE_CHECKING:
    from r2t2.contract import RoutedModel
    from r2t2.engine import Engine


def default_seed(model: str) -> int:
    """The seed of the data a model is evaluated on by default: that of its own training."""
    trained = re.fullmatch(r"mini-(\d+)", model)
    return int(trained[1]) if trained else 0


def benchmarks() -> tuple[str, ...]:
    """The names that `open_dataset` takes: benchmarks first, then what is kept apart from them."""
    return (*world.BENCHMARKS, *sorted(world.SIZES))


def open_dataset(name: str, seed: int = 0) -> Dataset:
    """A benchmark or a set of reference samples by name.

    Raises
    ------
    KeyError : there is no such dataset.
    """
    return world.dataset(name, seed)


def check(model: str, reference: str, benchmarks: Iterable[str]) -> None:
    """Whether what these names stand for is here; nothing is loaded.

    Raises
    ------
    KeyError, FileNotFoundError : it is not; the message says what is, or how to make it.
    """
    from r2t2.models import available

    if model not in available():
        raise KeyError(f"there is no model {model!r} here; there are {', '.join(available())}")
    if not (reference_folder(reference) / "manifest.json").exists():
        raise FileNotFoundError(
            f"there is no reference set {reference!r} here; build one with: {how_to_build(model)}"
        )
    for name in benchmarks:
        open_dataset(name)


def open_engine(
    model: str | RoutedModel = "mini",
    reference: str | None = None,
    device: str = "auto",
) -> Engine:
    """A model with its reference set.

    Parameters
    ----------
    model : a name or a loaded model.
    reference : the name of a reference set; the model's own by default.

    Raises
    ------
    FileNotFoundError, ValueError, KeyError, RuntimeError : as `load_model` and
        `ReferenceSet.load` say.
    """
    # Imported here, so that a page without a model opens without torch.
    from r2t2.engine import Engine
    from r2t2.models import family_of, load_model
    from r2t2.reference import ReferenceSet

    name = model if isinstance(model, str) else model.name
    folder = reference_folder(reference or reference_name(name))
    if family_of(name) and not (folder / "manifest.json").exists():
        ReferenceSet.read(folder, name)  # says how to build one, before a model is loaded in vain
    loaded = load_model(model, device) if isinstance(model, str) else model
    found = ReferenceSet.load(folder, loaded)
    return Engine(loaded, found, open_dataset(found.manifest["dataset"], found.manifest["seed"]))
