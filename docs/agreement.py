"""Prints how often amortised strategies answer as exact ones: `python -m docs.agreement [RUNS]`.

Exact runs are read from the run cache, those compared with them from it or from the folder RUNS.
Of runs with a limit the samples that both have are compared. Where an amortised strategy is sure of
all its answers, a second table tells what it reaches where unsure ones are the exact strategy's.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from r2t2.analysis.amortised import Both, agreement, doubted
from r2t2.paths import runs_folder
from r2t2.rerouting.settings import AMORTISED
from r2t2.runs.selection import best, variant
from r2t2.runs.store import Run, gather, list_runs

COLUMNS = ["position", "correct", "answer", "top1_after", "confidence", "forward", "backward"]
THRESHOLDS = (0, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8, 0.9, 1)


def both(exact: Run, other: Run) -> Both:
    """The rows of two runs as `agreement` takes them."""
    first, second = (gather([run], "samples", COLUMNS)[COLUMNS] for run in (exact, other))
    return first, second


def told(table: pd.DataFrame, titles: Mapping[str, str], formats: Mapping[str, str]) -> None:
    """Print some columns of a table, by their names, as Markdown."""
    print(f"\n| {' | '.join(titles.values())} |")
    print("|" + " --- |" * len(titles))
    for row in table.to_dict("records"):
        print(
            "| " + " | ".join(format(row[name], formats.get(name, ".1f")) for name in titles) + " |"
        )


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
        runs.sort(key=lambda run: run.spec.benchmark)
        of_each = {run.spec.benchmark: both(exact[run.spec.benchmark, base], run) for run in runs}
        titles = {"benchmark": "benchmark", "exact": f"{base}, %", "amortised": f"{name}, %"}
        told(
            agreement(of_each),
            {**titles, "same_answer": "same answer, %", "n": "n"},
            {"benchmark": "", "n": ""},
        )
        setting = runs[0].spec.setting
        if setting.get("losses") == "fitted" and not setting.get("sure"):
            titles = {"sure": "sure", "again": f"{base} again, %", "same_answer": "same answer, %"}
            told(
                doubted(of_each, THRESHOLDS),
                {**titles, "accuracy": f"{name}, %", "passes": "passes"},
                {"sure": "g"},
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else runs_folder())
