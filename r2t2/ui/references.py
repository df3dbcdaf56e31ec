"""Reference sets as the pages see them: read once, searched, mapped, held against runs.

What is returned is shared by all sessions: read it, never write into it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st
from jaxtyping import Float

from r2t2 import overlap
from r2t2.analysis import coverage, maps
from r2t2.data import benchmarks
from r2t2.data.stored import stamp
from r2t2.estimate import span
from r2t2.paths import cache_folder, reference_folder
from r2t2.reference import ReferenceSet, how_to_build
from r2t2.sites import Site
from r2t2.ui import engine, runs, show

if TYPE_CHECKING:
    import numpy as np

    from r2t2.runs.store import Run

# What a complete run holds does not change; when it is made anew, `finished` does.
_RUNS: dict[str | type[Any], Any] = {
    "r2t2.runs.store.Run": lambda run: (run.id, run.manifest["finished"])
}
_SETS: dict[str | type[Any], Any] = {ReferenceSet: lambda references: references.fingerprint}


def stored(name: str, model: str) -> ReferenceSet:
    """A reference set by name.

    Raises
    ------
    FileNotFoundError, ValueError : as `ReferenceSet.read` says.
    """
    folder = reference_folder(name)
    manifest = folder / "manifest.json"
    return _stored(folder, model, manifest.stat().st_mtime_ns if manifest.exists() else 0)


@st.cache_resource(max_entries=4, show_spinner=False)
def _stored(folder: Path, model: str, stamp: int) -> ReferenceSet:
    return ReferenceSet.read(folder, model)


def sites(name: str, references: ReferenceSet) -> tuple[Site, ...]:
    """The routing sites of the model that a set was built with.

    Any run of the same model names them; without one the model is loaded.

    Raises
    ------
    FileNotFoundError, ValueError, KeyError, RuntimeError : as `engine.engine` says.
    """
    built = references.manifest
    for run in runs.complete():
        if run.spec.model_fingerprint == built["model_fingerprint"]:
            return run.sites
    return engine.engine(built["model"], name).model.sites


@st.cache_resource(max_entries=4, show_spinner=False, hash_funcs=_SETS)
def table(references: ReferenceSet, sites: tuple[Site, ...]) -> pd.DataFrame:
    """A row per sample as `samples.gallery` takes them.

    Returns
    -------
    Those of `ReferenceSet.table`, with model, benchmark and seed, and expert (the top-1).
    """
    built = references.manifest
    return references.table.assign(
        model=built["model"],
        benchmark=built["dataset"],
        seed=built["seed"],
        expert=maps.top1(references.r, sites),
    )


@st.cache_data(max_entries=256, show_spinner="Loading the embedder (once for all sessions) …")
def embedded(question: str, embedder: str) -> Float[np.ndarray, "1 dimensions"]:
    """A question as a set's embedder has it.

    Raises
    ------
    OSError : the embedder cannot be loaded; the message says what to do.
    """
    from r2t2.embedders import embed

    return embed([question], embedder)


class Making:
    """A map or a set that is being made, in a process of its own: no session waits for it.

    Attributes
    ----------
    done : the fraction.
    error : the last words of a process that failed.
    """

    def __init__(self, *module: str, **environment: str) -> None:
        self.done = 0.0
        self.error = "it was stopped"
        self._process = subprocess.Popen(  # noqa: S603 (a module of our own, and no shell)
            [sys.executable, "-m", *module],
            cwd=Path(maps.__file__).parents[2],
            env={**os.environ, "R2T2_CACHE": str(cache_folder().resolve()), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def running(self) -> bool:
        """Whether the process is still at work."""
        return self._listener.is_alive()

    def _listen(self) -> None:
        with self._process as process:
            assert process.stdout is not None
            for line in process.stdout:
                # A fraction, or what the command line says where it cannot draw a bar.
                if told := re.search(r"^([\d.]+)$|: (\d+) of (\d+)", line.strip()):
                    self.done = float(told[1] or int(told[2]) / int(told[3]))
                else:
                    self.error = line.strip() or self.error


@st.cache_resource(max_entries=32, show_spinner=False)
def making(folder: Path, path: Path, space: str, method: str) -> Making:
    """The making of a map at a path, started by whoever asks first; `clear` starts it anew."""
    of = "r2t2.analysis.maps", str(folder.resolve()), space, method
    return Making(*of, OMP_NUM_THREADS="1")


_building: dict[str, Making] = {}


def build(model: str, size: int) -> None:
    """Start building a model's reference set of the first samples, once for all sessions."""
    if model not in _building or not _building[model].running:
        words = ("r2t2", "reference", "build", "--model", model, "--size", str(size))
        # In lines so long that an error is one.
        _building[model] = Making(*words, COLUMNS="10000")


def none_yet(model: str) -> None:
    """What stands where a model has no reference set: what that is, and how to build one."""
    show.empty(
        "This model has no reference set yet",
        "Re-routing listens to labelled samples that the model answers correctly. Have it answer "
        "some here, or from a terminal, where there are more options:",
        how_to_build(model),
    )
    # Looked after by itself, so that nobody has to reload the page.
    at_work = model in _building and _building[model].running
    st.fragment(_builder, run_every=1.0 if at_work else None)(model)


def _builder(model: str) -> None:
    making = _building.get(model)
    if making and making.running:
        st.progress(making.done, f"The model answers samples: {making.done:.0%}")
        return
    if engine.references(model):
        st.rerun()
    if making:
        st.error("The reference set could not be built.", icon=":material/error:")
        st.text(making.error)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        size = st.number_input("Samples", 10, None, 1000, step=100, key="build-size", width=160)
        if st.button("Build the reference set", key="build", icon=":material/play_arrow:"):
            build(model, int(size))
            st.rerun()
    try:
        if told := engine.estimate(model):
            least = span(int(size) * told.seconds(2))
            st.caption(f"At least {least}: {told.report}.")
    except (OSError, ValueError, RuntimeError) as error:
        show.failure(error, "What this would take cannot be told.")


def chart(path: Path) -> pd.DataFrame | None:
    """The map at a path; None while there is none."""
    return _chart(path, path.stat().st_mtime_ns) if path.exists() else None


@st.cache_resource(max_entries=16, show_spinner=False)
def _chart(path: Path, stamp: int) -> pd.DataFrame | None:
    return maps.read(path)


def searched(references: ReferenceSet, found: Sequence[Run]) -> list[Run]:
    """The runs that looked for the k nearest references of this very set, and kept them."""
    return [
        run
        for run in found
        if run.spec.reference_fingerprint == references.fingerprint
        and run.spec.trace != "none"
        and run.spec.setting.get("neighbourhood") == "nearest"
    ]


def overlaps(references: ReferenceSet) -> pd.DataFrame:
    """How many samples of each benchmark that is here a set overlaps with; empty without traces."""
    names = benchmarks.names("benchmark") if references.traces is not None else ()
    rows = [{"benchmark": name, **_overlaps(references, name, stamp())} for name in names]
    return pd.DataFrame(rows)


@st.cache_data(
    max_entries=64,
    show_spinner="Looking for the same pictures and questions …",
    hash_funcs=_SETS,
)
def _overlaps(references: ReferenceSet, name: str, stamp: int) -> dict[str, int]:
    samples = list(engine.benchmark(name, 0))
    return overlap.counts(references.correct.overlaps(samples))


def listened_to(references: ReferenceSet, run: Run) -> ReferenceSet:
    """The part of a set that a run searched."""
    return references if run.spec.setting["references"] == "all" else references.correct


@st.cache_resource(max_entries=8, show_spinner=False, hash_funcs=_SETS)
def own_distances(references: ReferenceSet, k: int) -> pd.DataFrame:
    """`coverage.own_distances` of a set."""
    return coverage.own_distances(references.embeddings, k)


@st.cache_resource(max_entries=8, show_spinner=False, hash_funcs=_RUNS)
def distances(found: list[Run]) -> pd.DataFrame:
    """`coverage.distances` of one strategy's runs."""
    return coverage.distances(runs.samples(found, "neighbour_distance"))


@st.cache_resource(max_entries=8, show_spinner=False, hash_funcs=_RUNS)
def located(found: list[Run], others: list[Run]) -> pd.DataFrame:
    """`coverage.located`: one strategy's distances, and what it and others make of the samples."""
    return coverage.located(distances(found), runs.samples([*found, *others]))


@st.cache_resource(max_entries=16, show_spinner=False, hash_funcs={**_RUNS, **_SETS})
def uses(found: list[Run], references: ReferenceSet) -> pd.DataFrame:
    """`coverage.uses` of the references of a set by runs."""
    return coverage.uses(runs.samples(found, "neighbours")["neighbours"], references.table)
