"""Prints how often amortised strategies answer as exact ones: `python -m docs.agreement [RUNS]`.

Exact runs are read from the run cache, those compared with them from it or from the folder RUNS.
Of runs with a limit the samples that both have are compared.
"""

from __future__ import annotations

import sys
from pathlib import Path

from r2t2.analysis.amortised import Both, agreement
from r2t2.paths import runs_folder
from r2t2.rerouting.settings import AMORTISED
from r2t2.runs.selection import best, variant
from r2t2.runs.store import Run, gather, list_runs

COLUMNS = ["position", "correct", "answer", "top1_after"]


def both(exact: Run, other: Run) -> Both:
    """The rows of two runs as `agreement` takes them."""
    first, second = (gather([run], "samples", COLUMNS)[COLUMNS] for run in (exact, other))
    return first, second


def main(folder: Path) -> None:
    """One table per compared variant."""
    exact = {
        (run.spec.benchmark, variant(run.spec)): run
        for run in best(list_runs(runs_folder()))
        if run.spec.seed == 0
    }
    compared: dict[str, list[Run]] = {}
    for run in best(list_runs(folder)):
        of = run.spec
        if of.seed == 0 and (folder != runs_folder() or of.strategy in AMORTISED):
            compared.setdefault(variant(run.spec), []).append(run)
    for name, runs in compared.items():
        base = runs[0].spec.strategy.removesuffix("_amortised")
        print(f"\n| benchmark | {base}, % | {name}, % | same answer, % | n |")
        print("| --- | ---: | ---: | ---: | ---: |")
        runs.sort(key=lambda run: run.spec.benchmark)
        of_each = {run.spec.benchmark: both(exact[run.spec.benchmark, base], run) for run in runs}
        for row in agreement(of_each).to_dict("records"):
            print(
                "| {benchmark} | {exact:.1f} | {amortised:.1f} | {same_answer:.1f} | {n} |".format(
                    **row
                )
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else runs_folder())
