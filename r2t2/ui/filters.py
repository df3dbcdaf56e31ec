"""Filters that several pages share, each in the address under one name.

None of Inspect's names: a link there would lose what the page that it stands on has bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from r2t2.figures.style import label
from r2t2.ui import runs
from r2t2.ui.state import kept

if TYPE_CHECKING:
    from r2t2.runs.store import Run

EVERY = "all benchmarks"


def benchmark(found: Sequence[Run], every: bool = True) -> list[Run]:
    """The runs of the benchmark that is picked; with `every`, all but dev's are a choice too."""
    names = runs.benchmarks(found)
    options = [EVERY, *names] if every and len(names) > 1 else names
    picked = kept("benchmarks", "Benchmark", options)
    if picked == EVERY:
        from r2t2.runs.selection import DEV

        return [run for run in found if run.spec.benchmark != DEV]
    return [run for run in found if run.spec.benchmark == picked]


def strategy(found: Sequence[Run], default: str = "ngd") -> list[Run]:
    """The runs of the strategy, or the variant of one, that is picked; never base's."""
    names = [name for name in dict.fromkeys(map(runs.variant, found)) if name != "base"]
    if not names:
        return []
    picked = kept("variant", "Strategy", names, label, default)
    return [run for run in found if runs.variant(run) == picked]
