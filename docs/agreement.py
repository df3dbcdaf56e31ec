"""Prints how often amortised strategies answer as exact ones: `python -m docs.agreement [RUNS]`.

Exact runs are read from the run cache, those compared with them from it or from the folder RUNS.
Of runs with a limit the samples that both have are compared.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from r2t2.paths import runs_folder
from r2t2.rerouting.settings import AMORTISED
from r2t2.runs.selection import best, default_runs, variant
from r2t2.runs.store import Run, list_runs

COLUMNS = ["sample", "answer", "correct"]


def agreement(exact: Run, other: Run) -> tuple[float, float, float, int]:
    """Both runs' share of right answers and that of equal ones, in per cent; and of how many."""
    both = exact.samples(COLUMNS).merge(other.samples(COLUMNS), on="sample")
    same = both["answer_x"].astype(str) == both["answer_y"].astype(str)
    exact_right, other_right = both["correct_x"].mean(), both["correct_y"].mean()
    return 100 * exact_right, 100 * other_right, 100 * same.mean(), len(both)


def main(folder: Path) -> None:
    """One table per compared variant."""
    exact = {
        (run.spec.benchmark, run.spec.strategy): run
        for run in default_runs(list_runs(runs_folder()))
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
        rows = []
        for run in sorted(runs, key=lambda run: run.spec.benchmark):
            row = agreement(exact[run.spec.benchmark, base], run)
            rows.append(row)
            print("| {} | {:.1f} | {:.1f} | {:.1f} | {} |".format(run.spec.benchmark, *row))
        means, count = np.mean([row[:3] for row in rows], axis=0), sum(row[3] for row in rows)
        print("| mean | {:.1f} | {:.1f} | {:.1f} | {} |".format(*means, count))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else runs_folder())
