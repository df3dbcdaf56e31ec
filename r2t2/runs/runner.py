"""Computes runs: batches of samples in, shards out; and all the runs of a request."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from r2t2 import studio
from r2t2.contract import top1
from r2t2.engine import Engine, Prepared
from r2t2.estimate import SHARE, free_memory
from r2t2.metrics import is_correct
from r2t2.paths import runs_folder
from r2t2.peak import watch
from r2t2.rerouting.settings import Setting
from r2t2.rerouting.trajectory import Trajectory
from r2t2.runs.ahead import Ahead
from r2t2.runs.identity import RunSpec, Trace
from r2t2.runs.mirror import Mirror
from r2t2.runs.plan import Planned, Request
from r2t2.runs.store import SCHEMAS, Run, UnreadableRun, writing
from r2t2.samples import Dataset
from r2t2.sites import Site

SHARD = 200
Report = Callable[[int, int, str], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """What was computed of a run: the rows of some samples, ready to store.

    Parameters
    ----------
    first : the position of its first sample.
    samples, steps : its rows (`SCHEMAS`).
    strategy_seconds, wall_seconds : what the strategy took, and all of it.
    encoding_seconds, answer_seconds : what it took to encode the samples, their pictures being
        loaded, whether that was done for this run or for an earlier one; and to answer them once.
    peak_memory : the most bytes that were in use at once (`r2t2.peak.watch`), if that is known.
    """

    first: int
    samples: pa.Table
    steps: pa.Table
    strategy_seconds: float
    wall_seconds: float
    encoding_seconds: float
    answer_seconds: float
    peak_memory: int | None


class Workers(Protocol):
    """Who computes shards: this process (`Worker`) or a cluster (`r2t2.runs.cluster`).

    Attributes
    ----------
    sites, device : of the model that the shards are computed with.
    """

    @property
    def sites(self) -> Sequence[Site]: ...

    @property
    def device(self) -> str: ...

    def lacking(self, setting: Setting) -> str:
        """`Engine.lacking` of the engine that the shards are computed with."""
        ...

    def spec(
        self,
        dataset: Dataset,
        seed: int,
        strategy: str,
        setting: Setting,
        trace: Trace,
        shard: int,
    ) -> RunSpec:
        """`RunSpec.of` the engine that the shards are computed with."""
        ...

    def shards(
        self, spec: RunSpec, dataset: Dataset, firsts: Iterable[int]
    ) -> Generator[Shard, None, None]:
        """The shards that begin at some positions, in any order.

        A position is asked for when there is somebody to compute its shard, not before.
        """
        ...


class Worker:
    """An engine that computes shards, and what it has prepared for them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.sites = engine.model.sites
        self.device = str(engine.model.device)
        self.lacking = engine.lacking
        self.spec = partial(RunSpec.of, engine)
        self._prepared: dict[tuple[int, int], tuple[Prepared, float]] = {}
        self._prepared_of: tuple[str, int] | None = None
        self._warm = False

    def shards(
        self, spec: RunSpec, dataset: Dataset, firsts: Iterable[int]
    ) -> Generator[Shard, None, None]:
        """One after the other; while a device computes one, the next one's pictures are loaded."""

        def wanted(part: slice) -> bool:
            # The processor, where it computes itself, has no time to spare, and what it takes of
            # time is measured.
            return self.device != "cpu" and (part.start, part.stop) not in self._prepared

        with Ahead(dataset, wanted) as ahead:
            for first in firsts:
                yield self.shard(spec, ahead, first)

    def shard(self, spec: RunSpec, dataset: Dataset, first: int) -> Shard:
        """The shard that begins at a position; it depends on nothing but these and the engine.

        Raises
        ------
        ValueError : a sample has no label.
        """
        started, peak = time.perf_counter(), watch(self.device)
        # Options that are not the spec's are not the algorithm's, so their values do not count.
        setting, trace = Setting(**spec.setting), spec.trace
        prepared, encoding = self._prepare(dataset, spec.seed, first, spec.shard)
        begun = time.perf_counter()
        trajectory = self.engine.run(prepared, setting, trace == "all")
        answering = self._now() - begun - trajectory.cost.seconds
        answer = answering / len({*map(id, trajectory.answers)})  # one that is kept stands for many
        kept = replace(trajectory, neighbours=None) if trace == "none" else trajectory
        samples = sample_rows(self.engine, prepared, kept, first)
        steps = step_rows(self.engine, prepared, kept, first)
        if trace == "none":
            steps = steps.slice(0, 0)
        wall = time.perf_counter() - started
        own = trajectory.cost.seconds
        return Shard(first, samples, steps, own, wall, encoding, answer, peak())

    def _prepare(
        self, dataset: Dataset, seed: int, first: int, size: int
    ) -> tuple[Prepared, float]:
        """Prepared samples, and the seconds that it took to prepare them."""
        if self._prepared_of != (dataset.name, seed):
            self._prepared.clear()
            self._prepared_of = dataset.name, seed
        key = first, min(first + size, len(dataset))
        if key in self._prepared:
            return self._prepared[key]
        held = sum(prepared.encoded.nbytes for prepared, _ in self._prepared.values())
        if held > SHARE * free_memory("cpu"):
            self._prepared.clear()  # made again for the next strategy
        samples = dataset[slice(*key)]
        if not self._warm:
            # What is loaded when it is first needed must not count as encoding.
            self.engine.prepare(samples[:1])
            self._warm = True
        loading = _Clock()
        started = time.perf_counter()
        # What is loaded already takes no time.
        pictures = [loading.timed(partial(getattr, sample, "image")) for sample in samples]
        prepared = self.engine.prepare(
            [
                replace(sample, load_image=load)
                for sample, load in zip(samples, pictures, strict=True)
            ]
        )
        seconds = self._now() - started - loading.seconds
        # Copies without their pictures: the encodings are kept, and pictures are large.
        forgetful = [replace(sample) for sample in samples]
        self._prepared[key] = replace(prepared, samples=forgetful), seconds
        return self._prepared[key]

    def _now(self) -> float:
        """The time, once the device has done what it was given."""
        self.engine.settle()
        return time.perf_counter()


class _Clock:
    """Adds up the seconds of calls."""

    seconds = 0.0

    def timed(self, call: Callable[[], T]) -> Callable[[], T]:
        """The same call, its seconds counted."""

        def timed() -> T:
            started = time.perf_counter()
            try:
                return call()
            finally:
                self.seconds += time.perf_counter() - started

        return timed


class Runner:
    """Runs strategies on whole benchmarks and keeps the results.

    Parameters
    ----------
    workers : who computes; of an engine, this process.
    folder : where runs are kept.
    shard : samples per shard.
    mirror : where every shard is copied to once it is stored, and where a run that the folder
        lacks is looked for.
    """

    def __init__(
        self,
        workers: Engine | Workers,
        folder: Path,
        shard: int = SHARD,
        mirror: Mirror | None = None,
    ) -> None:
        self.workers: Workers = Worker(workers) if isinstance(workers, Engine) else workers
        self.folder = folder
        self.shard = shard
        self.mirror = mirror

    def run(
        self,
        dataset: Dataset,
        seed: int,
        strategy: str,
        setting: Setting,
        trace: Trace = "all",
        limit: int | None = None,
        report: Report = lambda done, total, note: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Run:
        """The run of a strategy on a dataset, as far as it is not in the folder already.

        Parameters
        ----------
        dataset, seed : the samples, and the seed that they were drawn from.
        strategy, setting : what to run, and the name to keep it under.
        trace : "all" answers and stores every step, and who the neighbours were; "ends" only
            the first and the last step, with the neighbours; "none" neither, which makes runs
            that are kept for their outcomes alone a tenth as large.
        limit : the first samples only.
        report : called with samples done, samples in total, and a note (mostly empty).
        cancelled : asked before each shard; True ends the session, and the run returned is
            "running". Like one that was killed, it goes on when it is asked for again.

        Raises
        ------
        RunLocked : another process is writing the run.
        ValueError : there is no sample, or one has no label.
        OSError : the mirror cannot be read, or the complete run not be written to it.
        """
        dataset = dataset if limit is None else dataset.head(max(limit, 0))
        total = len(dataset)
        if total == 0:
            raise ValueError(f"there is nothing to run: no sample of {dataset.name} is asked for")
        workers = self.workers
        spec = workers.spec(dataset, seed, strategy, setting, trace, self.shard)
        folder = self.folder / spec.folder
        if self.mirror:
            self.mirror.pull(spec.folder, self.folder)
        found = _finished(folder, spec)
        if found is not None:
            if self.mirror:
                self.mirror.push(found)
            report(total, total, "already in the cache")
            return found
        with writing(folder, spec, workers.sites, workers.device) as writer:
            for note in writer.notes:
                report(writer.done, total, note)
            report(writer.done, total, "")
            wanted = takewhile(lambda first: not cancelled(), writer.missing)
            with closing(workers.shards(spec, dataset, wanted)) as shards:
                for shard in shards:
                    writer.add(**vars(shard))
                    report(writer.done, total, self._copied(folder))
            if not writer.missing:
                writer.finish()
        run = Run.load(folder)
        if self.mirror:
            self.mirror.push(run)
        return run

    def _copied(self, folder: Path) -> str:
        """Copy what is stored to the mirror; why it is not there, mostly empty."""
        try:
            if self.mirror:
                self.mirror.push(Run.load(folder))
        except OSError as error:
            # A store far away fails now and then; what it lacks goes along with the next shard.
            return f"the mirror lacks the last shard: {error}"
        return ""


def carry_out(
    request: Request,
    report: Callable[[int, int, int, str], None],
    device: str = "auto",
    actors: int | None = None,
    mirror: str | None = None,
) -> Iterator[tuple[Planned, Run]]:
    """The runs of a request, one after the other, as far as they are not in the cache already.

    Parameters
    ----------
    report : called with the number of the run, its samples done, its samples in total, and a
        note (mostly empty).
    actors : of an engine that has some; None for as many as its cluster has room for.
    mirror : the address of a copy of the runs (`Mirror`).

    Raises
    ------
    KeyError, FileNotFoundError, ValueError, RuntimeError : as `studio.open_engine` says.
    ImportError : the engine asked for is not installed.
    RunLocked : another process is writing one of the runs.
    """
    datasets = {name: studio.open_dataset(name, request.seed) for name in request.benchmarks}
    with _workers(request, device, actors) as workers:
        copy = Mirror(mirror) if mirror else None
        runner = Runner(workers, runs_folder(), mirror=copy)
        for number, planned in enumerate(request.planned):
            # Who asks for all strategies should get those that the model can do.
            lacking = workers.lacking(planned.setting) if len(request.strategies) > 1 else ""
            if lacking:
                report(number, 0, request.size(planned), f"left out: {lacking}")
                continue
            run = runner.run(
                datasets[planned.benchmark],
                request.seed,
                planned.strategy,
                planned.setting,
                planned.trace,
                request.limit,
                partial(report, number),
            )
            yield planned, run


@contextmanager
def _workers(request: Request, device: str, actors: int | None) -> Iterator[Workers]:
    if request.engine == "ray":
        from r2t2.runs.cluster import Cluster

        with Cluster(request.model, request.reference, device, actors) as cluster:
            yield cluster
    else:
        yield Worker(studio.open_engine(request.model, request.reference, device))


def sample_rows(
    engine: Engine, prepared: Prepared, trajectory: Trajectory, first: int = 0
) -> pa.Table:
    """One row per sample (`SCHEMAS["samples"]`), positions counted from `first`.

    Floats are rounded to four decimals, those of neighbours to three. A neighbour is named by
    its position in the dataset that the reference set was built from.

    Raises
    ------
    ValueError : a sample has no label.
    """
    samples = prepared.samples
    answers = trajectory.answers[0].texts, trajectory.answers[-1].texts
    before, after = (
        [sample.score(answer) for sample, answer in zip(samples, texts, strict=True)]
        for texts in answers
    )
    confidence = [trajectory.answers[i].confidence for i in (0, -1)]
    names = _top1(engine, trajectory.r[:, [0, -1]])
    columns: dict[str, Any] = {
        "position": np.arange(first, first + len(samples)),
        "sample": [sample.id for sample in samples],
        "category": [sample.category for sample in samples],
        "label": [sample.label for sample in samples],
        "base_answer": answers[0],
        "answer": answers[1],
        "base_correct": list(map(is_correct, before)),
        "correct": list(map(is_correct, after)),
        "base_score": before,
        "score": after,
        "metric": [sample.metric for sample in samples],
        "group": [sample.group for sample in samples],
        "base_confidence": _rounded(confidence[0]),
        "confidence": _rounded(confidence[1]),
        "top1_before": names[:, 0],
        "top1_after": names[:, 1],
        "forward": trajectory.cost.forward.cpu().numpy(),
        "backward": trajectory.cost.backward.cpu().numpy(),
        "objective_before": _rounded(trajectory.objective[:, 0]),
        "objective_after": _rounded(trajectory.objective[:, -1]),
        **_neighbours(engine, trajectory, len(samples)),
    }
    return pa.table(columns, schema=SCHEMAS["samples"])


def step_rows(
    engine: Engine, prepared: Prepared, trajectory: Trajectory, first: int = 0
) -> pa.Table:
    """One row per sample and step that was answered (`SCHEMAS["steps"]`), samples first.

    Floats are rounded to four decimals, `r` to three; it is flattened, sites before experts.

    Raises
    ------
    ValueError : a sample has no label.
    """
    last = trajectory.steps
    steps = [0, last] if len(trajectory.answers) == 2 else list(range(last + 1))
    count, r = len(prepared.samples), trajectory.r[:, steps]
    answers = list(zip(*(step.texts for step in trajectory.answers), strict=True))
    confidence = torch.stack([step.confidence for step in trajectory.answers], 1)
    width = r[0, 0].numel()
    columns: dict[str, Any] = {
        "position": np.arange(first, first + count).repeat(len(steps)),
        "step": np.tile(steps, count),
        "objective": _rounded(trajectory.objective[:, steps]).ravel(),
        "answer": [answer for row in answers for answer in row],
        "correct": [
            sample.is_correct(answer)
            for sample, row in zip(prepared.samples, answers, strict=True)
            for answer in row
        ],
        "confidence": _rounded(confidence).ravel(),
        "top1": _top1(engine, r).ravel(),
        "r": _lists(_rounded(r, 3).ravel(), np.full(count * len(steps), width)),
    }
    return pa.table(columns, schema=SCHEMAS["steps"])


def _neighbours(engine: Engine, trajectory: Trajectory, count: int) -> dict[str, pa.Array]:
    """The columns that speak of neighbours: lists of those present, empty without any."""
    found, losses = trajectory.neighbours, trajectory.losses
    names = [name for name in SCHEMAS["samples"].names if name.startswith("neighbour")]
    columns: dict[str, Any] = {name: [[]] * count for name in names}
    if found is None:
        return columns
    present = found.present.cpu().numpy()
    positions = engine.references(trajectory.setting).table["position"].to_numpy(np.int32)
    values = {
        "neighbours": positions[found.index.cpu().numpy()],
        "neighbour_distance": _rounded(found.distance, 3),
        "neighbour_weight": _rounded(found.weights, 3),
    }
    if losses is not None:
        values["neighbour_loss_before"] = _rounded(losses[:, 0], 3)
        values["neighbour_loss_after"] = _rounded(losses[:, 1], 3)
    lengths = present.sum(1)
    return columns | {name: _lists(value[present], lengths) for name, value in values.items()}


def _top1(engine: Engine, r: Float[Tensor, "batch steps sites experts"]) -> np.ndarray:
    names = np.array(engine.model.experts, object)
    return names[top1(r, engine.model.sites).cpu().numpy()]


def _rounded(values: Float[Tensor, "*shape"], decimals: int = 4) -> Float[np.ndarray, "*shape"]:
    # More would be noise of the arithmetic, and fewer distinct values make small files.
    return values.detach().double().cpu().numpy().round(decimals).astype(np.float32)


def _lists(values: np.ndarray, lengths: np.ndarray) -> pa.Array:
    ends = np.concatenate([[0], lengths.cumsum()])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(values))


def _finished(folder: Path, spec: RunSpec) -> Run | None:
    """The complete run in a folder, if every file of it is as it should be."""
    try:
        run = Run.load(folder)
    except UnreadableRun:
        return None
    whole = run.status == "complete" and run.id == spec.id
    return run if whole and not run.damaged and not run.strays else None
