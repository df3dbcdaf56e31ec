"""The engine behind the pages: loaded when first needed, once for all sessions.

Nothing here imports torch until a model is asked for, so that pages without one open at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st
from PIL import Image

from r2t2.images import decode
from r2t2.paths import reference_folder
from r2t2.rerouting.settings import Setting
from r2t2.samples import Dataset, Sample

if TYPE_CHECKING:
    from r2t2.engine import Engine, Prepared
    from r2t2.rerouting.trajectory import Trajectory

_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def _turn() -> Iterator[None]:
    """Held for one strategy on one sample, so that no session waits for all of another's.

    One sample gains nothing from a second thread of torch's, and on a busy machine threads
    that wait for each other made it thirty times slower.
    """
    import torch

    with _ONE_AT_A_TIME:
        torch.set_num_threads(1)
        yield


@dataclass(frozen=True)
class Picked:
    """A sample of a benchmark."""

    benchmark: str
    seed: int
    position: int

    def sample(self) -> Sample:
        """The sample itself."""
        return benchmark(self.benchmark, self.seed)[self.position]


@dataclass(frozen=True)
class Typed:
    """A picture and a question from outside.

    Parameters
    ----------
    picture : a file that `images.decode` takes.
    label : empty where it is not known.
    origin : "upload", or "scene" for a picture of the embedded world.
    """

    picture: bytes
    question: str
    label: str = ""
    choices: tuple[str, ...] = ()
    origin: str = "upload"

    def sample(self) -> Sample:
        """The sample itself."""
        return Sample(
            id=f"{self.origin}-" + hashlib.sha256(self.picture).hexdigest()[:12],
            question=self.question,
            load_image=lambda: decode(self.picture),
            label=self.label or None,
            choices=self.choices,
            dataset=self.origin,
        )


Ask = Picked | Typed


@st.cache_resource(max_entries=32, show_spinner=False)
def benchmark(name: str, seed: int) -> Dataset:
    """A benchmark by name."""
    from r2t2.studio import open_dataset

    return open_dataset(name, seed)


@st.cache_data(max_entries=512, show_spinner=False)
def thumbnail(ask: Picked, side: int = 160) -> Image.Image:
    """A sample's picture, small."""
    image = ask.sample().image.copy()
    image.thumbnail((side, side))
    return image


@st.cache_data(max_entries=32, show_spinner=False)
def preview(picture: bytes) -> Image.Image:
    """A file from outside, decoded and small enough to be shown.

    Raises
    ------
    ValueError : as `images.decode` says.
    """
    image = decode(picture)
    image.thumbnail((640, 640))
    return image


def default_seed(model: str) -> int:
    """The seed of the benchmarks that a model is evaluated on by default."""
    from r2t2.studio import default_seed

    return default_seed(model)


def references(model: str) -> list[str]:
    """The names of the reference sets built with a model, oldest first."""
    manifests = sorted(
        reference_folder("any").parent.glob("*/manifest.json"), key=lambda p: p.stat().st_mtime
    )
    return [path.parent.name for path in manifests if _model_of(path) == model]


def _model_of(manifest: Path) -> str:
    try:
        return str(json.loads(manifest.read_text())["model"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # `ReferenceSet.load` says what is wrong with it


@st.cache_resource(show_spinner=False)
def engine(model: str, reference: str | None) -> Engine:
    """A model with its reference set.

    Raises
    ------
    FileNotFoundError, ValueError, KeyError, RuntimeError : as `studio.open_engine` says.
    """
    from r2t2.studio import open_engine

    opened = open_engine(model, reference)
    _loaded.append(opened.model.device.type)
    return opened


@st.cache_resource(max_entries=128, show_spinner=False)
def prepared(model: str, reference: str | None, ask: Ask) -> Prepared:
    """A sample, encoded, routed and embedded once for all strategies."""
    opened = engine(model, reference)
    with _turn():
        return opened.prepare([ask.sample()])


@st.cache_resource(max_entries=512, show_spinner=False)
def trajectory(model: str, reference: str | None, ask: Ask, setting: Setting) -> Trajectory:
    """Where a strategy takes a sample's routing.

    Raises
    ------
    ValueError : the setting reads a label that the model cannot express.
    """
    ready = prepared(model, reference, ask)
    opened = engine(model, reference)
    with _turn():
        return opened.run(ready, setting)


_loaded: list[str] = []


def device() -> tuple[str, str]:
    """The device that the model is on and the memory in use, in words."""
    memory = f"{_resident() / 2**30:.1f} GiB in use by this server"
    if not _loaded:
        return "model not loaded yet", memory
    if _loaded[-1] == "cuda":
        torch = sys.modules["torch"]
        free, total = torch.cuda.mem_get_info()
        used = (total - free) / 2**30
        return torch.cuda.get_device_name(), f"{used:.1f} of {total / 2**30:.0f} GiB in use"
    return f"{_loaded[-1].upper()}, {os.cpu_count()} cores", memory


def _resident() -> float:
    import resource

    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    # Elsewhere only the highest value so far is told; in bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
