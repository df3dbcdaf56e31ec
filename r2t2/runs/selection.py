"""Which runs a table shows when nobody chose any."""

from __future__ import annotations

from collections.abc import Sequence

from r2t2.rerouting.settings import STRATEGIES, strategy
from r2t2.runs.identity import RunSpec
from r2t2.runs.store import Run


def default_runs(runs: Sequence[Run]) -> list[Run]:
    """One complete run per model, benchmark, seed and strategy, under the strategy's own setting.

    Of several, the one with the most samples, then the newest; runs with changed options are
    for comparing, and left out here.
    """
    best: dict[tuple[str, str, int, str], Run] = {}
    for run in runs:
        if run.status != "complete" or not _as_named(run.spec):
            continue
        key = (run.spec.model, run.spec.benchmark, run.spec.seed, run.spec.strategy)
        if key not in best or _order(run) > _order(best[key]):
            best[key] = run
    order = {name: i for i, name in enumerate(STRATEGIES)}
    return sorted(
        best.values(), key=lambda run: (run.spec.seed, order.get(run.spec.strategy, len(order)))
    )


def _as_named(spec: RunSpec) -> bool:
    # The embedded models share a preset; any other model has the paper's.
    preset = "mini" if spec.model.startswith("mini") else "paper"
    return spec.strategy in STRATEGIES and spec.setting == strategy(spec.strategy, preset).options


def _order(run: Run) -> tuple[int, str]:
    return run.spec.size, str(run.manifest.get("created", ""))
