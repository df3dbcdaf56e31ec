"""Opens an engine by name: what the command line and the pages start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from r2t2.data import world
from r2t2.paths import reference_folder, reference_name
from r2t2.samples import Dataset

if TYPE_CHECKING:
    from r2t2.contract import RoutedModel
    from r2t2.engine import Engine


def default_seed(model: str) -> int:
    """The seed of the data a model is evaluated on by default: that of its own training."""
    tail = model.rpartition("-")[2]
    return int(tail) if tail.isdigit() else 0


def open_dataset(name: str, seed: int = 0) -> Dataset:
    """A benchmark or a set of reference samples by name.

    Raises
    ------
    KeyError : there is no such dataset.
    """
    return world.dataset(name, seed)


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
    from r2t2.models import load_model
    from r2t2.reference import ReferenceSet

    loaded = load_model(model, device) if isinstance(model, str) else model
    folder = reference_folder(reference or reference_name(loaded.name))
    found = ReferenceSet.load(folder, loaded)
    return Engine(loaded, found, open_dataset(found.manifest["dataset"], found.manifest["seed"]))
