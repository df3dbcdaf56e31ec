"""What follows from what a run is of: its command, its place in Inspect, its controls."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from r2t2.analysis.results import RANDOM_CONTROLS
from r2t2.ui import runs, settings

if TYPE_CHECKING:
    from r2t2.runs.identity import RunSpec
    from r2t2.runs.store import Run

# A gain is never shown without these.
CONTROLS = (*RANDOM_CONTROLS, "ngd_same_type_neighbours")


def command(found: Sequence[Run], trace: str) -> str:
    """What to type so that runs are computed again with more of their steps.

    Parameters
    ----------
    trace : the steps to keep: "ends" or "all".
    """
    from r2t2.data.world import BENCHMARKS
    from r2t2.runs.selection import changes

    asked: dict[tuple[str, str], list[str]] = {}
    for of in (run.spec for run in found):
        changed = [("set", f"{name}={value}") for name, value in changes(of).items()]
        what = _words([("strategy", of.strategy), ("trace", trace), *changed])
        where = _words([("model", of.model), ("reference", of.reference), ("seed", of.seed)])
        asked.setdefault((what, where), []).append(of.benchmark)
    commands = []
    for (what, where), benchmarks in asked.items():
        lines = [f"python -m r2t2 run {what}", where]
        if set(benchmarks) != set(BENCHMARKS):
            lines.append(_words([("benchmark", name) for name in benchmarks]))
        commands.append(" \\\n    ".join(lines))
    return "\n".join(commands)


def address(spec: RunSpec) -> dict[str, Any]:
    """What the address of Inspect is given to show a run's strategy and setting."""
    from r2t2.runs.selection import changes

    if spec.external:
        return {}
    return {"strategy": spec.strategy, **settings.query(changes(spec))}


def controls(found: Sequence[Run], every: Sequence[Run]) -> dict[str, list[Run]]:
    """The controls that were run on the very samples of some runs of one strategy.

    Returns
    -------
    Control -> its runs, each in the place of the run with the same samples; only where there is
    one for each.
    """
    own = runs.variant(found[0])
    beside = {}
    for name in (name for name in CONTROLS if name != own):
        there = {asked(run): run for run in every if runs.variant(run) == name}
        if all(asked(run) in there for run in found):
            beside[name] = [there[asked(run)] for run in found]
    return beside


def asked(run: Run) -> tuple[object, ...]:
    """What runs of the same samples share."""
    of = run.spec
    return of.model, of.reference, of.benchmark, of.seed, of.size


def _words(options: Iterable[tuple[str, object]]) -> str:
    return " ".join(f"--{name} {shlex.quote(str(value))}" for name, value in options)
