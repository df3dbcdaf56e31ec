"""Many machines: what one process computes shard by shard, computed by actors on a Ray cluster.

Ray is optional. The cluster is the one that RAY_ADDRESS names, or one of this machine's cores
for as long as it is needed. Actors only compute: the process that asked stores what they give,
so a run has one writer whoever computes it.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from types import ModuleType
from typing import Any, Generic, TypeVar, cast

import torch

from r2t2 import studio
from r2t2.contract import RoutedModel
from r2t2.reference import (
    Part,
    ReferenceSet,
    Report,
    answered,
    at_once,
    built_from,
    collected,
)
from r2t2.rerouting.settings import Setting
from r2t2.runs.identity import RunSpec, Trace
from r2t2.runs.runner import Shard, Worker
from r2t2.runs.store import versions
from r2t2.samples import Dataset
from r2t2.sites import Site

# So often the same work may be lost with its actor before it is what kills them.
MOST_LOST = 3
# Seconds without any actor after which it is said what is waited for.
_PATIENCE = 30
# Shards are small; what Ray takes by default, a third of the memory, is the models'.
_STORE = 200 * 2**20

_log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")


class Pool(Generic[T]):
    """Actors that each hold the same opened thing and do work with it.

    Parameters
    ----------
    open : makes that thing; called in each actor.
    device : "cuda" or "auto" takes an actor per GPU where the cluster has any.
    actors : how many; None for one per GPU, or per as many cores as this process has threads.

    Raises
    ------
    ImportError : Ray is not installed.
    ConnectionError : there is no cluster at RAY_ADDRESS.
    """

    def __init__(
        self, open: Callable[[], T], device: str = "auto", actors: int | None = None
    ) -> None:
        self._ray = _import()
        # How many threads add up a sum is part of how it is rounded: actors use ours.
        self._threads = torch.get_num_threads()
        self._open = open
        self._own = not self._ray.is_initialized()
        if self._own:
            _connect(self._ray)
        there = self._ray.cluster_resources()
        gpus = int(there.get("GPU", 0)) if device.startswith(("auto", "cuda")) else 0
        if gpus:
            self._needs: dict[str, float] = {"num_gpus": 1, "num_cpus": 1}
            room = gpus
        else:
            self._needs = {"num_gpus": 0, "num_cpus": self._threads}
            room = int(there.get("CPU", 1)) // self._threads
        self._actors = max(1, room if actors is None else actors)
        self._actor = self._ray.remote(_Actor).options(**self._needs)
        self._kind: dict[str, str] | None = None
        self._lost: Counter[str] = Counter()
        self._idle: list[Any] = []
        self._starting: dict[Any, Any] = {}

    def __enter__(self) -> Pool[T]:
        return self

    def __exit__(self, *raised: object) -> None:
        for actor in (*self._idle, *self._starting.values()):
            self._ray.kill(actor)
        if self._own:
            self._ray.shutdown()

    def map(
        self, work: Callable[..., R], calls: Iterable[tuple[Any, ...]]
    ) -> Iterator[tuple[tuple[Any, ...], R]]:
        """Each call's arguments and what `work(thing, *arguments)` gives, as they are done.

        The arguments of a call are asked for when an actor is idle. What an actor was at work
        on when it was lost is given to another.

        Raises
        ------
        RuntimeError : actors are lost over the same work again and again, or one is unlike
            this machine.
        Exception : whatever `work` raises.
        """
        ray, errors = self._ray, self._ray.exceptions
        given, again = iter(calls), list[tuple[Any, ...]]()
        at_work: dict[Any, tuple[Any, tuple[Any, ...]]] = {}
        while len(self._idle) + len(self._starting) < self._actors:
            self._start()
        try:
            while True:
                while self._idle:
                    call = again.pop() if again else next(given, None)
                    if call is None:
                        break
                    actor = self._idle.pop()
                    at_work[actor.do.remote(work, *call)] = actor, call
                if self._idle and not at_work:
                    return
                ready, _ = ray.wait([*at_work, *self._starting], timeout=_PATIENCE)
                if not ready and not at_work:
                    _log.warning(
                        "waiting for the cluster to start an actor with %s; it has %s free",
                        self._needs,
                        ray.available_resources(),
                    )
                for ref in ready:
                    if ref in self._starting:
                        self._join(ref)
                        continue
                    actor, call = at_work.pop(ref)
                    try:
                        done = ray.get(ref)
                    except errors.RayTaskError as error:
                        self._idle.append(actor)
                        raise error.cause from None
                    except errors.RayError as error:
                        self._lose(repr(call), error)
                        again.append(call)
                    else:
                        self._idle.append(actor)
                        yield call, done
        finally:
            for actor, _ in at_work.values():
                ray.kill(actor)

    def _start(self) -> None:
        actor = self._actor.remote()
        # Each node has its own cache unless told where the common one is.
        opened = actor.open.remote(self._open, self._threads, os.environ.get("R2T2_CACHE"))
        self._starting[opened] = actor

    def _join(self, opened: Any) -> None:
        """Take in an actor that is ready, if it computes as the others do."""
        errors = self._ray.exceptions
        actor = self._starting.pop(opened)
        try:
            node, kind = self._ray.get(opened)
        except errors.RayTaskError as error:
            raise error.cause from None
        except errors.RayError as error:
            self._lose("start", error)
            return
        try:
            _check_alike(node, kind, self._kind or kind | versions())
        except RuntimeError:
            self._ray.kill(actor)
            raise
        self._kind = kind
        self._idle.append(actor)

    def _lose(self, what: str, error: Exception) -> None:
        """Replace an actor that was lost."""
        why = str(error).strip().partition("\n")[0]
        self._lost[what] += 1
        if self._lost[what] >= MOST_LOST:
            raise RuntimeError(
                f"actors of the cluster were lost {MOST_LOST} times over the same work; the last "
                f"time: {why} If the memory of its node ran out, use fewer actors there. What is "
                "stored stays, and the same command goes on from it"
            ) from error
        _log.warning("an actor was lost, and its work is given to another: %s", why)
        self._start()


class Cluster(Pool[Worker]):
    """Computes the shards of runs on a cluster, as `r2t2.runs.runner.Workers`.

    Actors open model, reference set and benchmarks by name, so these must be on every node.

    Parameters
    ----------
    model, reference, device : as `studio.open_engine` takes them.
    actors : as `Pool`.
    """

    sites: Sequence[Site]
    device: str

    def __init__(
        self, model: str, reference: str, device: str = "auto", actors: int | None = None
    ) -> None:
        super().__init__(partial(_worker, model, reference, device), device, actors)

    def __enter__(self) -> Cluster:
        return self

    def spec(
        self,
        dataset: Dataset,
        seed: int,
        strategy: str,
        setting: Setting,
        trace: Trace,
        shard: int,
    ) -> RunSpec:
        """`RunSpec.of` an actor's engine: this process need not have the model."""
        asked = (dataset.name, seed, len(dataset), strategy, setting, trace, shard)
        ((_, (spec, self.sites, self.device)),) = self.map(_identified, [asked])
        return spec

    def lacking(self, setting: Setting) -> str:
        """`Engine.lacking` of an actor's engine."""
        ((_, lacking),) = self.map(_lacking, [(setting,)])
        return lacking

    def shards(
        self, spec: RunSpec, dataset: Dataset, firsts: Iterable[int]
    ) -> Generator[Shard, None, None]:
        """As they are done; each is one call of one actor, so that its batch is the same."""
        calls = ((spec, first) for first in firsts)
        return (shard for _, shard in self.map(_shard, calls))


def build(
    open: Callable[[], RoutedModel],
    dataset: str,
    seed: int,
    size: int,
    embedder: str = "wordllama",
    device: str = "auto",
    actors: int | None = None,
    report: Report = lambda done, total: None,
) -> ReferenceSet:
    """`r2t2.reference.build` on a cluster: the first samples of a dataset by name.

    Parameters
    ----------
    open : loads the model; called in each actor.

    Raises
    ------
    ValueError, ImportError, ConnectionError, RuntimeError : as `reference.build` and `Pool`.
    """
    with Pool(open, device, actors) as pool:
        ((_, (origin, batch)),) = pool.map(_described, [(dataset, seed, size, embedder)])
        calls = ((origin, size, start, batch) for start in range(0, size, batch))
        parts = (part for _, part in pool.map(_answered, calls))
        return collected(parts, origin, size, report)


def _check_alike(node: str, kind: dict[str, str], others: dict[str, str]) -> None:
    """Refuse an actor whose shards would not add up to one run with the others'."""
    unlike = [f"{n} {kind[n]} and not {others[n]}" for n in kind if kind[n] != others[n]]
    if unlike:
        raise RuntimeError(
            f"the actor on {node} computes with {', '.join(unlike)}: floats are rounded otherwise "
            "there, so its shards and the others' would not be those of one run. Make the nodes "
            "alike, or leave this one out of the cluster"
        )


class _Actor:
    """What is in a Ray process: a thing, opened there."""

    thing: Any = None

    def open(
        self, open: Callable[[], Any], threads: int, cache: str | None
    ) -> tuple[str, dict[str, str]]:
        """Open it; the node's name, and all that rounding depends on there."""
        if cache:
            os.environ["R2T2_CACHE"] = cache
        torch.set_num_threads(threads)
        self.thing = open()
        unit = torch.backends.cpu.get_cpu_capability()
        if torch.cuda.is_available():
            unit = torch.cuda.get_device_name()
        return socket.gethostname(), {**versions(), "arithmetic": unit}

    def do(self, work: Callable[..., R], *arguments: Any) -> R:
        """Work with it."""
        return work(self.thing, *arguments)


# What actors do. Ray sends these by name, and names and numbers with them.


def _worker(model: str, reference: str, device: str) -> Worker:
    return Worker(studio.open_engine(model, reference, device))


def _identified(
    worker: Worker, benchmark: str, seed: int, size: int, *rest: Any
) -> tuple[RunSpec, Sequence[Site], str]:
    dataset = studio.open_dataset(benchmark, seed).head(size)
    return worker.spec(dataset, seed, *rest), worker.sites, worker.device


def _lacking(worker: Worker, setting: Setting) -> str:
    return worker.lacking(setting)


def _shard(worker: Worker, spec: RunSpec, first: int) -> Shard:
    dataset = studio.open_dataset(spec.benchmark, spec.seed).head(spec.size)
    setting, trace = Setting(**spec.setting), cast(Trace, spec.trace)
    own = worker.spec(dataset, spec.seed, spec.strategy, setting, trace, spec.shard)
    _check_same(asdict(own), asdict(spec))
    return worker.shard(spec, dataset, first)


def _described(
    model: RoutedModel, dataset: str, seed: int, size: int, embedder: str
) -> tuple[dict[str, Any], int]:
    samples = studio.open_dataset(dataset, seed).head(size)
    return built_from(model, samples, seed, embedder), at_once(model, samples)


def _answered(
    model: RoutedModel, origin: dict[str, Any], size: int, start: int, batch: int
) -> Part:
    samples = studio.open_dataset(origin["dataset"], origin["seed"]).head(size)
    _check_same(built_from(model, samples, origin["seed"], origin["embedder"]), origin)
    return answered(model, samples, start, batch)


def _check_same(own: dict[str, Any], asked: dict[str, Any]) -> None:
    """Refuse to work for others with a model, reference set or data that are not theirs."""
    other = [name.replace("_", " ") for name in asked if own.get(name) != asked[name]]
    if other:
        raise RuntimeError(
            f"on {socket.gethostname()} this is not what it is for the actor that was asked first: "
            f"{', '.join(other)}. Put the same checkpoint, reference set and data on every node"
        )


def _address() -> str:
    return os.environ.get("RAY_ADDRESS") or "local"


def _import() -> ModuleType:
    if _address() == "local" and "ray" not in sys.modules:
        # Ray listens to the network, and who may speak to it can run anything: so nobody may who
        # does not know a word that is made for this cluster alone. It is read on import.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        import ray
    except ImportError as error:
        raise ImportError(
            f"the engine 'ray' needs the package ray ({error}): pip install ray"
        ) from error
    return ray


def _connect(ray: ModuleType, **options: Any) -> None:
    """Join the cluster that RAY_ADDRESS names, or start one on this machine."""
    if _address() == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        options.setdefault("object_store_memory", _STORE)
    ray.init(_address(), log_to_driver=False, logging_level=logging.WARNING, **options)
