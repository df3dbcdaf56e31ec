"""Prints how often other runs answer as those of exact strategies: `python -m docs.agreement`.

The others are the amortised strategies' runs, or with `python -m docs.agreement RUNS` those in a
folder. Compared are the samples of seed 0 that both have, on benchmarks that both were run on.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from r2t2.paths import runs_folder
from r2t2.rerouting.settings import AMORTISED
from r2t2.runs.selection import best, variant
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
        (run.spec.benchmark, variant(run.spec)): run
        for run in best(list_runs(runs_folder()))
        if run.spec.seed == 0
    }
    compared: dict[tuple[str, str], list[tuple[str, float, float, float, int]]] = {}
    for run in sorted(best(list_runs(folder)), key=lambda run: run.spec.benchmark):
        of, base = run.spec, run.spec.strategy.removesuffix("_amortised")
        wanted = folder != runs_folder() or of.strategy in AMORTISED
        if wanted and of.seed == 0 and (of.benchmark, base) in exact:
            row = agreement(exact[of.benchmark, base], run)
            compared.setdefault((base, variant(of)), []).append((of.benchmark, *row))
    for (base, name), rows in compared.items():
        print(f"\n| benchmark | {base}, % | {name}, % | same answer, % | n |")
        print("| --- | ---: | ---: | ---: | ---: |")
        means = np.mean([row[1:4] for row in rows], axis=0)
        for row in [*rows, ("mean", *means, sum(row[4] for row in rows))]:
            print("| {} | {:.1f} | {:.1f} | {:.1f} | {} |".format(*row))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else runs_folder())
