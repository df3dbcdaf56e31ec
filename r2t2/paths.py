"""Where things lie: what ships, and the cache that runs, references and checkpoints go to."""

from __future__ import annotations

import os
import re
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent


def cache_folder() -> Path:
    """The cache: `cache/` beside the code, or the folder that R2T2_CACHE names.

    Raises
    ------
    ValueError : it names an address elsewhere.
    """
    named = os.environ.get("R2T2_CACHE")
    if named and "://" in named:
        raise ValueError(
            f"R2T2_CACHE is {named!r}, but the cache is a folder: what is elsewhere cannot be "
            f"locked. Name a folder, and copy runs there with 'run --mirror {named}'"
        )
    return Path(named or _ROOT / "cache")


def runs_folder() -> Path:
    """Where runs are kept, one folder each."""
    return cache_folder() / "runs"


def jobs_folder() -> Path:
    """Where jobs are kept: runs that were asked for, and the processes that make them."""
    return cache_folder() / "jobs"


def reference_folder(name: str) -> Path:
    """Where a reference set lies."""
    return cache_folder() / "references" / name


def reference_name(model: str, dataset: str = "reference", embedder: str = "wordllama") -> str:
    """The folder name of the reference set that belongs to a model, dataset and embedder."""
    return _component("-".join((model, dataset, embedder.replace("/", "--"))))


def reference_title(name: str, model: str) -> str:
    """A reference set's name as it is told from others of a model, whose long name is left out."""
    own = name.removeprefix(f"{_component(model)}-")
    return own if ":" in model else name


def _component(name: str) -> str:
    # One component of a path, whatever the name holds: "hf:folder/name?layers=all" is a model.
    return re.sub(r"[^\w.-]", "-", name)


def data_folder() -> Path:
    """Where benchmarks and reference datasets are kept, one folder each, once they are prepared."""
    return cache_folder() / "data"


def official_folder() -> Path:
    """Where datasets lie as they are published: the folder that R2T2_DATA names, or the cache's."""
    return Path(os.environ.get("R2T2_DATA") or cache_folder() / "official")


def checkpoint_folder(name: str) -> Path:
    """Where a model trained here lies."""
    return cache_folder() / "checkpoints" / name


def auxiliary_folder() -> Path:
    """Where it is kept what auxiliary models saw in pictures."""
    return cache_folder() / "auxiliary"


def shipped_checkpoint() -> Path:
    """Where the embedded model's checkpoint ships."""
    return Path(__file__).resolve().parent / "models" / "mini" / "checkpoint"
