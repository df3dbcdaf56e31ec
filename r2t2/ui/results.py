"""What the Results page and Overview are made of: tables of accuracies, and what is beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd
import streamlit as st

from r2t2 import paper
from r2t2.analysis import results as analysis
from r2t2.analysis.results import ALL_CONTROLS, MEAN
from r2t2.figures.style import label
from r2t2.rerouting.settings import AMORTISED, COMPARED, STRATEGIES
from r2t2.ui import runs, show
from r2t2.ui.state import PAGES, address

if TYPE_CHECKING:
    from r2t2.runs.store import Run

Numbers = TypeVar("Numbers", pd.Series, pd.DataFrame)


def comparable() -> list[Run]:
    """The runs of the chosen set, variants included, each model's of one reference set."""
    found, usual = (
        runs.chosen(evaluations=True),
        {(run.spec.model, run.spec.reference) for run in runs.defaults()},
    )
    return [run for run in found if (run.spec.model, run.spec.reference) in usual] or found


def without_dev(found: Sequence[Run]) -> list[Run]:
    """The runs that results may be reported of: hyper-parameters were chosen on dev."""
    from r2t2.runs.selection import DEV

    return [run for run in found if run.spec.benchmark != DEV]


def place(found: Sequence[Run]) -> str:
    """The row of a results table that sums runs up: their one benchmark's, or the mean."""
    names = runs.benchmarks(found)
    return names[0] if len(names) == 1 else MEAN


def seeds(found: Sequence[Run]) -> list[tuple[str, int]]:
    """The models and seeds that runs are of."""
    return sorted({(run.spec.model, run.spec.seed) for run in found})


def left_out(table: pd.DataFrame) -> list[str]:
    """The strategies that have no mean, because they were not run everywhere."""
    mean = set(table.loc[table["benchmark"] == MEAN, "strategy"])
    return [name for name in dict.fromkeys(table["strategy"]) if name not in mean]


@st.cache_data(max_entries=32, show_spinner=False, hash_funcs=runs.BY_CONTENT)
def leads(found: Sequence[Run], strategy: str) -> pd.DataFrame:
    """How far a strategy lies ahead of the controls (`analysis.results.leads`).

    Raises
    ------
    DamagedRun : a file of one of the runs is missing or damaged.
    """
    return analysis.leads(runs.samples(_named(found, strategy, *ALL_CONTROLS)), strategy)


@st.cache_data(max_entries=32, show_spinner=False, hash_funcs=runs.BY_CONTENT)
def categories(found: Sequence[Run], strategy: str) -> pd.DataFrame:
    """What base, a strategy, the oracle and the controls reach on each kind of question.

    Returns
    -------
    `analysis.results.category_table`, by name.

    Raises
    ------
    DamagedRun : a file of one of the runs is missing or damaged.
    """
    kept = _named(found, "base", strategy, "oracle", *ALL_CONTROLS)
    figures = analysis.figures(runs.samples(kept, "category"), "category")
    return analysis.category_table(figures).sort_values("category", kind="stable")


def of_seeds(found: Sequence[Run], shown: Sequence[str]) -> pd.DataFrame:
    """The accuracy of every model and seed on what sums the runs up; a row per strategy."""
    table = runs.results(found)
    here = table.loc[table["benchmark"] == place(found), "strategy"]
    each = analysis.per_seed(runs.figures(found))
    each = each[(each["benchmark"] == place(found)) & each["strategy"].isin(set(here) & set(shown))]
    return wide(
        each.assign(seed=each["model"] + ", seed " + each["seed"].astype(str)), across="seed"
    )


def beside_reported(found: Sequence[Run]) -> pd.DataFrame:
    """Gain and share of the oracle's: of NGD in the paper's table 2, of NGD and controls in runs.

    Returns
    -------
    source, benchmark (with `MEAN`; of controls nothing else), accuracy, gain, oracle_share.
    """
    theirs, mine = paper.reported(), runs.results(found)
    theirs = theirs[theirs["strategy"] == "ngd"]
    controls = mine["strategy"].isin(ALL_CONTROLS) & (mine["benchmark"] == MEAN)
    mine = mine[(mine["strategy"] == "ngd") | controls]
    sources = [
        *("the paper's, " + theirs["model"]),
        *(f"yours, {label(name)}" for name in mine["strategy"]),
    ]
    table = pd.concat([theirs, mine]).assign(source=sources)
    return table[["source", "benchmark", "accuracy", "gain", "oracle_share"]]


def varied(found: Sequence[Run], options: Sequence[str]) -> pd.DataFrame:
    """NGD and its variants that change none but some options: accuracies by benchmark."""
    from r2t2.runs.selection import changes

    kept = [
        run
        for run in found
        if run.spec.strategy == "ngd" and set(changes(run.spec)) <= set(options)
    ]
    return wide(runs.results(kept), "accuracy") if kept else pd.DataFrame()


def _named(found: Sequence[Run], *strategies: str) -> list[Run]:
    return [run for run in found if runs.variant(run) in strategies]


def chance(p: float) -> str:
    """A p value as it is shown."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def points(value: float) -> str:
    """A difference of two percentages as it is shown."""
    return f"{value:+.1f} points".replace("-", "−")


def summary(rows: pd.DataFrame, pooled: int, own: pd.DataFrame) -> pd.DataFrame:
    """One benchmark's rows of a results table, or the mean's, as they are read.

    Parameters
    ----------
    pooled : of how many seeds.
    own : `scores.own` of the runs: where it is not empty, scores stand beside accuracies.
    """
    shown = pd.DataFrame(
        {
            "strategy": [label(name) for name in rows["strategy"]],
            "kind": [_kind(name) for name in rows["strategy"]],
            "accuracy": rows["accuracy"].to_numpy(),
            "95 % interval": _ranges(rows["low"], rows["high"]),
            "gain": _signless(rows["gain"], 1).to_numpy(),
            "p": [_p(p) for p in rows["p"].where(rows["strategy"] != "base")],
            "oracle share": _signless(rows["oracle_share"], 0).to_numpy(),
            "✗ → ✓": rows["wrong_to_right"].to_numpy(),
            "✓ → ✗": rows["right_to_wrong"].to_numpy(),
            "seeds": _ranges(rows["lowest_seed"], rows["highest_seed"]),
            "n": rows["n"].to_numpy(),
        }
    )
    if not own.empty:
        places = pd.MultiIndex.from_frame(rows[["benchmark", "strategy"]])
        there = own.set_index(["benchmark", "strategy"]).reindex(places)
        shown.insert(4, "score", rows["score"].to_numpy())
        if there["score"].notna().any():
            shown.insert(5, "score's interval", _ranges(there["score_low"], there["score_high"]))
    return shown if pooled > 1 else shown.drop(columns="seeds")


def score_rows(own: pd.DataFrame, strategies: Sequence[str]) -> pd.DataFrame:
    """`scores.own` as it is read."""
    own = own[own["strategy"].isin(strategies)].sort_values("benchmark", kind="stable")
    return pd.DataFrame(
        {
            "benchmark": own["benchmark"].astype(str),
            "strategy": [label(name) for name in own["strategy"]],
            "score": own["score"],
            "of": own["maximum"],
            "95 % interval": _ranges(own["score_low"], own["score_high"]),
            "score's gain": _signless(own["gain"], 1),
            "gain's interval": _ranges(own["gain_low"], own["gain_high"]),
            "n": own["n"],
        }
    )


def wide(
    table: pd.DataFrame, column: str = "accuracy", digits: int = 1, across: str = "benchmark"
) -> pd.DataFrame:
    """A column of a table of results with a row per strategy, as the paper's table 2 has it.

    Parameters
    ----------
    digits : with how many the numbers will be shown.
    """
    names = list(dict.fromkeys(table[across]))
    shown = table.pivot_table(index="strategy", columns=across, values=column, sort=False)
    shown = _signless(shown.reindex(columns=names), digits)
    shown.insert(0, "strategy", [label(name) for name in shown.index])
    return shown


def lead_table(table: pd.DataFrame) -> pd.DataFrame:
    """`analysis.results.leads` as it is read."""
    return pd.DataFrame(
        {
            "control": [label(name) for name in table["other"]],
            "ahead": _signless(table["ahead"], 1),
            "95 % interval": _ranges(table["low"], table["high"]),
            "p": [_p(p) for p in table["holm"]],
            "only it": table["won"],
            "only the control": table["lost"],
            "n": table["n"],
        }
    )


def by_category(table: pd.DataFrame, strategy: str) -> pd.DataFrame:
    """A row per category: base, a strategy, its gain, and the gain of every control."""
    of = table.pivot(index="category", columns="strategy")
    shown = pd.DataFrame({"category": of.index, "n": of["n"].max(axis=1).astype(int).to_numpy()})
    for name in ("base", strategy):
        if name in of["accuracy"]:
            shown[label(name)] = of["accuracy", name].to_numpy()
    shown["gain"] = _signless(of["gain", strategy], 1).to_numpy()
    shown["p"] = [_p(p) for p in of["p", strategy]]
    for name in ALL_CONTROLS:
        if name in of["gain"] and name != strategy:
            shown[label(name)] = _signless(of["gain", name], 1).to_numpy()
    return shown


def _kind(strategy: str) -> str:
    if strategy == "oracle":
        return "ceiling"
    if strategy in ALL_CONTROLS:
        return "control"
    if strategy in (*COMPARED, *AMORTISED):
        return "strategy"
    return "variant" if strategy.partition("[")[0] in STRATEGIES else "other evaluator"


def _signless(values: Numbers, digits: int) -> Numbers:
    """Zero for what would be shown as a zero with a sign."""
    return values.mask(values.abs() < 0.5 * 10**-digits, 0.0)


def _ranges(low: pd.Series, high: pd.Series) -> list[str]:
    return [f"{a:.1f} – {b:.1f}".replace("-", "−") for a, b in zip(low, high, strict=True)]


def _p(p: float) -> str:
    return "–" if pd.isna(p) else chance(p).removeprefix("p ").removeprefix("= ")


def columns(table: pd.DataFrame, form: str = "%.1f") -> dict[str, Any]:
    """How a table's columns are drawn; those of no known name by their type.

    Parameters
    ----------
    form : of fractions.
    """
    number = st.column_config.NumberColumn
    known = {
        "accuracy": number(format="%.1f", help="Percent."),
        "gain": number(format="%+.1f", help="Points over base."),
        "score": number(
            format="%.1f", help="The benchmark's own (docs/metrics.md); in percent, or in points."
        ),
        "score's gain": number(format="%+.1f", help="Over base, in percent or in points."),
        "of": number(format="%d", help="The highest score there could be."),
        "ahead": number(format="%+.1f", help="Points."),
        "oracle share": number(format="%.0f", help="Percent of the oracle's gain."),
        "✗ → ✓": number(format="%.1f", help="Percent of base's wrong answers."),
        "✓ → ✗": number(format="%.1f", help="Percent of base's right answers."),
        "parameter": number(format="%g"),
        **{
            label(name): number(format="%+.1f", help="Its gain, points over base.")
            for name in ALL_CONTROLS
        },
        "only it": number(format="localized", help="Samples that only the strategy is right on."),
        "only the control": number(
            format="localized", help="Samples that only the control is right on."
        ),
    }
    drawn = {}
    for name in table:
        if pd.api.types.is_float_dtype(table[name]):
            drawn[name] = known.get(name, number(format=form))
        elif pd.api.types.is_integer_dtype(table[name]):
            drawn[name] = known.get(name, number(format="localized"))
    return drawn


def empty() -> None:
    """What stands where there are no runs."""
    show.empty(
        "No complete runs in the cache",
        "Results appear here as soon as strategies have been run on benchmarks. This command "
        "runs all of them, with their controls; it can be stopped and resumed at any time:",
        "python -m r2t2 run",
    )
    if skipped := runs.unreadable():
        st.write(f"Folders in the cache that cannot be read: {len(skipped)}. The first:")
        st.text(next(iter(skipped.values())))
    st.page_link(
        PAGES["inspect"],
        label="Inspect works without runs: one sample at a time",
        icon=":material/search:",
        query_params=address(),
    )
