"""The engine behind the pages: loaded when first needed, once for all sessions.

Nothing here imports torch until a model is asked for, so that pages without one open at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from jaxtyping import Float
from PIL import Image

from r2t2.analysis.projection import Plane, fit
from r2t2.data.stored import stamp
from r2t2.images import decode, picture_hash
from r2t2.paths import reference_folder
from r2t2.rerouting.settings import References, Setting
from r2t2.samples import Dataset, Sample

if TYPE_CHECKING:
    from r2t2.engine import Engine, Point, Prepared
    from r2t2.estimate import Estimate
    from r2t2.rerouting.trajectory import Trajectory


class Queue:
    """A lock that is given in the order of asking.

    `threading.Lock` goes to whoever is quickest, most often to the thread that has just let go
    of it, so that one session would have all its strategies before another had its first.

    Attributes
    ----------
    asked : how many have asked for a turn so far.
    """

    def __init__(self) -> None:
        self._moved = threading.Condition()
        self._done = 0
        self.asked = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for everybody who asked before, then hold the lock."""
        with self._moved:
            ticket = self.asked
            self.asked += 1
            self._moved.wait_for(lambda: self._done == ticket)
        try:
            yield
        finally:
            with self._moved:
                self._done += 1
                self._moved.notify_all()


_queue = Queue()


@contextmanager
def _turn() -> Iterator[None]:
    """Held for one strategy on one sample, so that no session waits for all of another's.

    One sample gains nothing from a second thread of torch's, and on a busy machine threads
    that wait for each other made it thirty times slower.
    """
    import torch

    with _queue.turn():
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

    @cached_property
    def key(self) -> tuple[object, ...]:
        """What it is told apart by; its picture is read once for that."""
        digest = hashlib.sha256(self.picture).hexdigest()
        return digest, self.question, self.label, self.choices, self.origin

    @cached_property
    def _hash(self) -> str:
        # A picture that was uploaded may be a reference's own.
        return picture_hash(decode(self.picture)) if self.origin == "upload" else ""

    def sample(self) -> Sample:
        """The sample itself."""
        return Sample(
            id=f"{self.origin}-{self.key[0]}"[:20],
            question=self.question,
            load_image=lambda: decode(self.picture),
            label=self.label or None,
            choices=self.choices,
            dataset=self.origin,
            picture=self._hash,
        )


Ask = Picked | Typed
_KEYS: dict[str | type, Callable[[Any], Any]] = {Typed: lambda ask: ask.key}


def benchmark(name: str, seed: int) -> Dataset:
    """A benchmark by name."""
    return _benchmark(name, seed, stamp())


@st.cache_resource(max_entries=32, show_spinner=False)
def _benchmark(name: str, seed: int, stamp: int) -> Dataset:
    from r2t2.studio import open_dataset

    return open_dataset(name, seed)


def thumbnail(ask: Picked, side: int = 160) -> Image.Image:
    """A sample's picture, small."""
    return _thumbnail(ask, side, stamp())


@st.cache_data(max_entries=512, show_spinner=False)
def _thumbnail(ask: Picked, side: int, stamp: int) -> Image.Image:
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


def benchmarks() -> tuple[str, ...]:
    """The names of all that samples can be picked from."""
    from r2t2.studio import benchmarks

    return benchmarks()


def default_seed(model: str) -> int:
    """The seed of the benchmarks that a model is evaluated on by default."""
    from r2t2.studio import default_seed

    return default_seed(model)


def references(model: str) -> list[str]:
    """The names of the reference sets built with a model, oldest first."""
    manifests = sorted(
        reference_folder("any").parent.glob("*/manifest.json"), key=lambda p: p.stat().st_mtime
    )
    return [path.parent.name for path in manifests if _told(path, "model") == model]


def embedder(reference: str) -> str:
    """The name of the embedder that a reference set was built with."""
    return _told(reference_folder(reference) / "manifest.json", "embedder")


def _told(manifest: Path, name: str) -> str:
    try:
        return str(json.loads(manifest.read_text())[name])
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # `ReferenceSet.load` says what is wrong with it


@st.cache_data(ttl=60, show_spinner="Reading what the model is …")
def estimate(model: str) -> Estimate | None:
    """What a large model takes, told without loading it (`models.estimate`); None of a small one.

    Raises
    ------
    OSError, ValueError, RuntimeError : as `models.estimate` says.
    """
    from r2t2 import models

    return models.estimate(model)


@st.cache_data(show_spinner=False)
def notice(model: str) -> str:
    """What a model's notice says, without loading it; why it cannot be told, where it cannot."""
    from r2t2 import models

    try:
        return models.notice(model)
    except (OSError, ValueError) as error:
        return f"Of this model nothing can be told: {error}"


def loading(model: str, reference: str | None) -> str:
    """What is said while a model is loaded: of a large one, what it will take."""
    said = "Loading the model (once for all sessions)"
    if (model, reference) not in _opened:
        try:
            if told := estimate(model):
                return f"{said}: {told.report} …"
        except (OSError, ValueError, RuntimeError):
            pass  # loading it says so better
    return f"{said} …"


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
    _opened.add((model, reference))
    return opened


@st.cache_resource(max_entries=32, show_spinner=False, hash_funcs=_KEYS)
def prepared(model: str, reference: str | None, ask: Ask) -> Prepared:
    """A sample, encoded, routed and embedded once for all strategies."""
    opened, sample = engine(model, reference), ask.sample()
    sample.image.load()  # A large picture takes long to decode, which nobody else need wait for.
    with _turn():
        ready = opened.prepare([sample])
    return replace(ready, samples=[ask.sample()])  # without the picture, decoded


@st.cache_resource(max_entries=64, show_spinner=False)
def _fitted(model: str, reference: str | None, setting: Setting) -> object:
    """What a control learns: half a minute's work, in which other sessions have their turns."""
    import torch

    torch.set_num_threads(1)
    return engine(model, reference).fit(setting)


@st.cache_resource(max_entries=512, show_spinner=False, hash_funcs=_KEYS)
def trajectory(model: str, reference: str | None, ask: Ask, setting: Setting) -> Trajectory:
    """Where a strategy takes a sample's routing.

    Raises
    ------
    ValueError : the setting reads a label that the model cannot express.
    """
    ready = prepared(model, reference, ask)
    opened = engine(model, reference)
    _fitted(model, reference, setting)
    with _turn():
        return opened.run(ready, setting)


def at(
    model: str,
    reference: str | None,
    ask: Ask,
    r: Float[np.ndarray, "sites experts"],
    setting: Setting,
) -> Point:
    """What a sample comes to under routing weights from outside (`Engine.at`)."""
    import torch

    ready = prepared(model, reference, ask)
    opened = engine(model, reference)
    with _turn():
        return opened.at(ready, torch.from_numpy(r)[None].to(ready.r), setting)


@st.cache_resource(max_entries=64, show_spinner=False, hash_funcs=_KEYS)
def judged(
    model: str, reference: str | None, ask: Ask, setting: Setting
) -> Float[np.ndarray, " steps"]:
    """The neighbours' exact weighted loss (eq. 3) at every step of a descent on fitted ones.

    Raises
    ------
    ValueError : as `trajectory` says.
    """
    exact, opened = replace(setting, losses="exact"), engine(model, reference)
    ready, moved = prepared(model, reference, ask), trajectory(model, reference, ask, setting)
    with _turn():
        steps = [float(opened.objective(ready, r, exact)) for r in moved.r.unbind(1)]
    return np.array(steps)


@st.cache_resource(max_entries=8, show_spinner=False)
def plane(model: str, reference: str | None, kept: References) -> Plane:
    """The plane in which the routing weights of a reference set differ most."""
    found = engine(model, reference).reference
    r = (found if kept == "all" else found.correct).r
    return fit(r.reshape(len(r), -1))


_loaded: list[str] = []
_opened: set[tuple[str, str | None]] = set()


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
