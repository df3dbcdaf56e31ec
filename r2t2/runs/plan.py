"""What is asked for by name, and which runs that makes."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from itertools import product
from math import prod
from statistics import median
from typing import Any, get_args

from r2t2.data.world import BENCHMARKS
from r2t2.paths import reference_name
from r2t2.rerouting.settings import CONTROLS, PAPER, STRATEGIES, Setting, preset_of, strategy
from r2t2.runs.identity import RunSpec, Trace
from r2t2.runs.selection import changes, variant_of
from r2t2.runs.store import Run
from r2t2.studio import open_dataset

TRACES = ("auto", *get_args(Trace))
# Who computes: the process that was asked, or actors on a Ray cluster (docs/scaling.md).
ENGINES = ("local", "ray")
# The options of a strategy that a request may change.
OPTIONS = tuple(field.name for field in fields(Setting) if field.name != "algorithm")
# A sweep is a product, and a product is easily larger than was meant.
MOST_RUNS = 10_000


def engines() -> tuple[str, ...]:
    """Those of `ENGINES` that can be used here."""
    return ENGINES if importlib.util.find_spec("ray") else ENGINES[:1]


@dataclass(frozen=True)
class Planned:
    """One run of a request; it has an id once the model is loaded (`RunSpec`)."""

    benchmark: str
    strategy: str
    setting: Setting
    trace: Trace


@dataclass(frozen=True)
class Request:
    """Strategies to run on benchmarks, as a form, a command line or a file asks for them.

    Parameters
    ----------
    model, reference : names of a model and of one of its reference sets.
    benchmarks, strategies : names; every strategy is run on every benchmark.
    overrides : options that differ from the preset's, each "k=5", or "k=1,3,5" to sweep: one
        run per value, and per combination where several options have several values.
    seed : of the benchmarks.
    limit : only the first samples of each benchmark; None for all.
    trace : the steps that are kept: "all", "ends", "none", or "auto", which keeps all of NGD's,
        none of a control's, and of the others the first and the last.
    preset : whose settings the strategies begin with; None for the model's own.
    engine : who computes, one of `ENGINES`; what comes out is the same.

    Raises
    ------
    ValueError, KeyError : it cannot be run; the message says what can.
    """

    model: str
    reference: str
    benchmarks: tuple[str, ...]
    strategies: tuple[str, ...]
    overrides: tuple[str, ...] = ()
    seed: int = 0
    limit: int | None = None
    trace: str = "auto"
    preset: str | None = None
    engine: str = "local"

    def __post_init__(self) -> None:
        """Refuse what cannot be run; a request may come from a file that anyone wrote."""
        for name, barred in (("model", "\0"), ("reference", "/\\\0")):
            value = getattr(self, name)
            if not isinstance(value, str) or not value or value[0] == "." or {*value} & {*barred}:
                raise ValueError(f"{value!r} is no name of a {name}")
        for name in ("benchmarks", "strategies", "overrides"):
            value = getattr(self, name)
            if not isinstance(value, tuple) or not all(isinstance(text, str) for text in value):
                raise ValueError(f"{name} must be a tuple of texts, not {value!r}")
            if not value and name != "overrides":
                raise ValueError(f"name one or more {name}")
        for name, least in (("seed", 0), ("limit", 1)):
            value = getattr(self, name)
            if value is None and name == "limit":
                continue
            if type(value) is not int or not least <= value < 2**31:
                raise ValueError(f"{name} is {value!r}; it must be a whole number from {least} on")
        for name, known in (("trace", TRACES), ("engine", ENGINES)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(known)}"
                )
        values = (override.count(",") + 1 for override in self.overrides)
        runs = prod((len(self.benchmarks), len(self.strategies), *values))
        if runs > MOST_RUNS:
            raise ValueError(f"these are {runs} combinations; {MOST_RUNS} are the most")
        _ = self.planned  # so that an option that cannot be run is refused here

    @cached_property
    def planned(self) -> tuple[Planned, ...]:
        """Its runs, each once: values of an option that a strategy does not use do not count."""
        runs: dict[str, Planned] = {}
        for benchmark in self.benchmarks:
            for name in self.strategies:
                start = strategy(name, self.preset or preset_of(self.model))
                for setting in _variants(start, self.overrides):
                    run = Planned(benchmark, name, setting, _trace(self.trace, name))
                    runs.setdefault(json.dumps([benchmark, name, setting.options]), run)
        return tuple(runs.values())

    @cached_property
    def id(self) -> str:
        """A hash of the runs that it makes, in whatever words it asks for them; 16 digits."""
        runs = sorted(
            [run.benchmark, run.strategy, json.dumps(run.setting.options), run.trace]
            for run in self.planned
        )
        named = [self.model, self.reference, self.seed, self.limit, runs]
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:16]

    def label(self, run: Planned) -> str:
        """One of its runs as tables name it, e.g. "reading / ngd[k=5]"."""
        return f"{run.benchmark} / {variant_of(self.model, run.strategy, run.setting.options)}"

    def size(self, run: Planned) -> int:
        """The number of samples of one of its runs.

        Raises
        ------
        KeyError : there is no such benchmark.
        """
        return len(open_dataset(run.benchmark, self.seed).head(self.limit))

    @property
    def command(self) -> str:
        """The command line that does the same."""
        words = ["python", "-m", "r2t2", "run", "--model", self.model]
        if self.reference != reference_name(self.model):
            words += ["--reference", self.reference]
        for option, names, all_of_them in (
            ("strategy", self.strategies, STRATEGIES),
            ("benchmark", self.benchmarks, tuple(BENCHMARKS)),
            ("set", self.overrides, ()),
        ):
            for name in ("all",) if names and names == all_of_them else names:
                words += [f"--{option}", name]
        words += ["--seed", str(self.seed)]
        for option, value, usual in (
            ("preset", self.preset, preset_of(self.model)),
            ("limit", self.limit, None),
            ("trace", self.trace, "auto"),
            ("engine", self.engine, "local"),
        ):
            if value not in (None, usual):
                words += [f"--{option}", str(value)]
        return shlex.join(words)

    @property
    def text(self) -> str:
        """As a file holds it."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @staticmethod
    def parse(text: str) -> Request:
        """What `text` wrote.

        Raises
        ------
        ValueError, KeyError : it is no request, or none that can be run.
        """
        values = json.loads(text)
        known = {field.name for field in fields(Request)}
        # Requests of the days before engines name none.
        if not isinstance(values, dict) or {"engine", *values} != known:
            raise ValueError(f"a request has {', '.join(sorted(known))} and nothing else")
        lists = {name: tuple(v) for name, v in values.items() if isinstance(v, list)}
        return Request(**{**values, **lists})

    @staticmethod
    def again(spec: RunSpec) -> Request:
        """The request that makes one run, to go on with it where it stopped.

        Raises
        ------
        ValueError, KeyError : it is of a strategy, benchmark or option that is not here.
        """
        request = Request(
            model=spec.model,
            reference=spec.reference,
            benchmarks=(spec.benchmark,),
            strategies=(spec.strategy,),
            overrides=tuple(f"{name}={value}" for name, value in changes(spec).items()),
            seed=spec.seed,
            trace=spec.trace,
        )
        (run,) = request.planned
        return replace(request, limit=spec.size if spec.size < request.size(run) else None)


@dataclass(frozen=True)
class Expected:
    """What is known of a planned run before it starts.

    Parameters
    ----------
    size, stored : its samples, and how many of them are in the cache already.
    seconds : per sample, from the timings of the stored runs most like it; None without any.
    """

    size: int
    stored: int
    seconds: float | None

    @property
    def left(self) -> int:
        """Samples that are still to be made."""
        return self.size - self.stored


def expect(request: Request, runs: Iterable[Run]) -> list[Expected]:
    """What is known of each of a request's runs, by the runs that are stored.

    Names stand for fingerprints here, so a model trained anew under its old name shows only
    when the runs are made.
    """
    of_model = [run for run in runs if run.spec.model == request.model]
    timed = [run for run in of_model if run.status == "complete"]
    stored: dict[tuple[Any, ...], list[Run]] = {}
    for run in of_model:
        of = run.spec
        samples = (of.reference, of.benchmark, of.seed, of.size)
        stored.setdefault((*samples, of.strategy, of.trace), []).append(run)
    found = []
    for planned in request.planned:
        size = request.size(planned)
        samples = (request.reference, planned.benchmark, request.seed, size)
        like = stored.get((*samples, planned.strategy, planned.trace), [])
        same = (run.done for run in like if run.spec.setting == planned.setting.options)
        found.append(Expected(size, next(same, 0), _seconds(planned, timed)))
    return found


def _seconds(run: Planned, timed: Sequence[Run]) -> float | None:
    """Seconds per sample: the median of the runs that are most like a planned one."""
    options = run.setting.options
    alike: dict[tuple[bool, ...], list[float]] = {}
    for other in timed:
        its = other.spec.setting
        if its.get("algorithm") != options["algorithm"]:
            continue
        rank = its.get("steps") == options.get("steps"), other.spec.trace == run.trace
        seconds = other.manifest["timings"]["wall_seconds"] / other.spec.size
        alike.setdefault((*rank, its == options), []).append(seconds)
    return median(alike[max(alike)]) if alike else None


def _trace(asked: str, strategy_name: str) -> Trace:
    for known in get_args(Trace):
        if asked == known:
            return known
    if strategy_name == "ngd":
        return "all"
    return "none" if strategy_name in CONTROLS else "ends"


def _variants(start: Setting, overrides: Sequence[str]) -> Iterator[Setting]:
    """A setting under every combination of the options' values."""
    names, values = [], []
    for override in overrides:
        name, equals, listed = override.partition("=")
        if not equals or name.strip() not in OPTIONS:
            raise ValueError(f"{override!r} is not OPTION=VALUE with OPTION {', '.join(OPTIONS)}")
        names.append(name.strip())
        values.append([_value(names[-1], text.strip()) for text in listed.split(",")])
    for chosen in product(*values):
        yield replace(start, **dict(zip(names, chosen, strict=True)))


def _value(name: str, text: str) -> Any:
    usual = getattr(PAPER, name)
    if isinstance(usual, bool):
        known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.lower() not in known:
            raise ValueError(f"{name} is {text!r}; it must be true or false")
        return known[text.lower()]
    if isinstance(usual, str) or text == "median":
        return text
    try:
        return type(usual)(text)
    except ValueError:
        kind = "a whole number" if isinstance(usual, int) else "a number"
        raise ValueError(f"{name} is {text!r}; it must be {kind}") from None
