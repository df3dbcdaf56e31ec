"""Writes the result tables of README.md from the run cache: `python -m docs.tables`.

`--check` writes nothing and fails where README.md does not say what the cache does.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pandas as pd

from r2t2.analysis.results import MEAN, results_table
from r2t2.paths import runs_folder
from r2t2.rerouting.settings import COMPARED, CONTROLS
from r2t2.runs.selection import default_runs
from r2t2.runs.store import list_runs, runs_table

NAMES = (*COMPARED, *CONTROLS)
README = Path(__file__).resolve().parent.parent / "README.md"


def tables(table: pd.DataFrame) -> dict[str, str]:
    """Each marked block of README.md with what belongs into it."""
    mean = table[table["benchmark"] == MEAN].set_index("strategy")
    rows = [
        [
            name + (" (reads the label)" if name == "oracle" else ""),
            f"{row.accuracy:.1f}",
            f"{row.low:.1f} to {row.high:.1f}",
            f"{row.lowest_seed:.1f} to {row.highest_seed:.1f}",
            f"{row.gain:+.1f}",
            "-" if name == "base" else ("< 0.001" if row.p < 0.001 else f"{row.p:.3f}"),
            f"{row.wrong_to_right:.1f}",
            f"{row.right_to_wrong:.1f}",
            f"{row.oracle_share:.0f} %",
        ]
        for name in NAMES
        for row in [mean.loc[name]]
    ]
    head = [
        "strategy",
        "accuracy, %",
        "95 % interval",
        "seeds",
        "gain",
        "McNemar's p",
        "wrong to right, %",
        "right to wrong, %",
        "oracle's gain",
    ]
    by = table.set_index(["benchmark", "strategy"])["accuracy"]
    benchmarks = [name for name in dict.fromkeys(table["benchmark"]) if name != MEAN]
    wide = [
        [benchmark, *(f"{by[benchmark, name]:.1f}" for name in NAMES)]
        for benchmark in [*benchmarks, MEAN]
    ]
    names = [name.replace("_", " ").replace(" neighbours", "") for name in NAMES]
    return {
        "mean": _markdown(head, rows),
        "benchmarks": _markdown(["benchmark", *names], wide),
    }


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def filled(text: str) -> str:
    """README.md's text with every marked block filled from the cache."""
    table = results_table(runs_table(default_runs(list_runs(runs_folder()))))
    for name, body in tables(table).items():
        block = re.compile(f"(<!-- {name} -->).*?(<!-- /{name} -->)", re.DOTALL)
        text = block.sub(lambda found, body=body: f"{found[1]}\n{body}\n{found[2]}", text)
    return text


if __name__ == "__main__":
    now = README.read_text()
    then = filled(now)
    if "--check" in sys.argv and now != then:
        sys.exit("README.md does not say what the cache does: run 'python -m docs.tables'")
    README.write_text(then)
