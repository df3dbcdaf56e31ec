"""Opens an engine by name: what the command line and the pages start from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from r2t2.data import benchmarks as stored
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
    """The names that `open_dataset` takes: benchmarks first, then what is kept apart from them.

    Of those outside the embedded world, the ones that are here.
    """
    real = [stored.names(role) for role in ("benchmark", "reference")]
    return (*world.BENCHMARKS, *real[0], *sorted(world.SIZES), *real[1])


def open_dataset(name: str, seed: int = 0) -> Dataset:
    """A benchmark or a set of reference samples by name.

    Raises
    ------
    KeyError : there is no such dataset.
    FileNotFoundError, ValueError : it is one of `r2t2.data.benchmarks` that is not here, or is
        damaged; the message says what to do. Its samples are the same for every seed.
    """
    own = name in world.BENCHMARKS or name in world.SIZES
    return stored.dataset(name) if not own and stored.known(name) else world.dataset(name, seed)


def overlaps(reference: str, benchmark: str, seed: int = 0) -> dict[str, int]:
    """How many samples of a benchmark a reference set overlaps with (`overlap.counts`).

    Empty where nothing is known of either's pictures, as in the embedded world, whose splits
    share none.

    Raises
    ------
    KeyError, FileNotFoundError, ValueError : as `open_dataset` and `ReferenceSet.read` say.
    """
    from r2t2 import overlap
    from r2t2.reference import ReferenceSet

    dataset = open_dataset(benchmark, seed)
    if not dataset.fingerprint:
        return {}
    found = ReferenceSet.read(reference_folder(reference), "MODEL").correct
    return {} if found.traces is None else overlap.counts(found.overlaps(list(dataset)))


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
    dataset = open_dataset(found.manifest["dataset"], found.manifest["seed"])
    if dataset.fingerprint != found.manifest.get("data", ""):
        raise ValueError(
            f"the reference set in {folder} was built from another version of {dataset.name} than "
            f"is here; build it again with 'python -m r2t2 reference build --model {loaded.name} "
            f"--dataset {dataset.name}'"
        )
    return Engine(loaded, found, dataset, folder)
