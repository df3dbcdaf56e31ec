"""What the Compare page reads: the runs that are picked, aligned, and what of them is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st
from jaxtyping import Float

from r2t2 import cards
from r2t2.analysis import ablations, pairs
from r2t2.analysis.results import ALL_CONTROLS
from r2t2.figures.style import GLYPHS, label
from r2t2.ui import engine, runs, show
from r2t2.ui.state import bound

if TYPE_CHECKING:
    from r2t2.analysis.ablations import Axis
    from r2t2.rerouting.settings import Setting
    from r2t2.runs.plan import Request
    from r2t2.runs.store import Run

LETTERS = "ABCD"
# What is compared before anything is chosen; the oracle is marked wherever it is shown.
DEFAULT = ("ngd", "kernel_regression", "ngd_same_type_neighbours", "oracle")
# Picked in place of a pattern: the samples on which the runs give more than one answer.
DIFFER = "differ"
_COLUMNS = ("answer", "confidence", "label", "category", "top1_after")

# Letter -> run: what is being compared.
Compared = Mapping[str, "Run"]


def same_samples(found: Sequence[Run]) -> list[Run]:
    """The runs of one benchmark that have the same samples: which seed's is asked for."""
    seeds = sorted({run.spec.seed for run in found})
    picked = st.selectbox("Seed", seeds, **bound("compare-seed")) if len(seeds) > 1 else seeds[0]
    return [run for run in found if run.spec.seed == picked]


def choose(found: Sequence[Run]) -> Compared:
    """The two to four runs that are picked among those of the same samples."""
    options = named(found)
    usual = [name for name in DEFAULT if name in options]
    picked = st.multiselect(
        "Runs (two to four)",
        list(options),
        default=(usual if len(usual) > 1 else list(options))[: len(LETTERS)],
        max_selections=len(LETTERS),
        format_func=title,
        **bound("compare-runs"),
    )
    return dict(zip(LETTERS, (options[name] for name in picked), strict=False))


def named(found: Sequence[Run]) -> dict[str, Run]:
    """Runs by their variants; of several reference sets, their names are added."""
    several = len({run.spec.reference for run in found}) > 1
    return {runs.variant(run) + (f"@{run.spec.reference}" if several else ""): run for run in found}


def title(name: str) -> str:
    """A name of `named` as it is shown."""
    variant, _, reference = name.partition("@")
    return label(variant) + (f", {reference}" if reference else "")


def kind(run: Run) -> str:
    """What a reader must know of a strategy beside its accuracy; mostly nothing."""
    if run.spec.strategy == "oracle":
        return "reads the label"
    return "control" if run.spec.strategy in ALL_CONTROLS else ""


@st.cache_resource(max_entries=16, show_spinner=False, hash_funcs=runs.BY_CONTENT)
def aligned(compared: Compared) -> pd.DataFrame:
    """The samples that all of the runs have (`analysis.pairs.aligned`); read only.

    Raises
    ------
    DamagedRun : a file of one of them is missing or damaged.
    """
    wanted = ["position", "base_correct", "correct", *_COLUMNS]
    # One by one, so that another choice reads what is new in it.
    return pairs.aligned(
        {letter: runs.samples([run], *_COLUMNS)[wanted] for letter, run in compared.items()}
    )


def routed(compared: Compared) -> dict[str, Float[np.ndarray, "n s e"]]:
    """The routing weights after the last step, of the shared samples, of the runs that keep them.

    Runs of a model with other routing sites than the first one's are left out.

    Raises
    ------
    DamagedRun : a file of one of them is missing or damaged.
    """
    shared = aligned(compared).index
    found, sites = {}, None
    for letter, run in compared.items():
        known, r = _last_r(run)
        if shared.isin(known).all() and sites in (None, run.sites):
            sites = run.sites
            found[letter] = r[np.searchsorted(known, shared)]
    return found


@st.cache_resource(max_entries=64, show_spinner=False, hash_funcs=runs.BY_CONTENT)
def routing(compared: Compared) -> pd.DataFrame:
    """How far apart two or more runs that keep r route (`analysis.pairs.routing`); read only.

    Raises
    ------
    DamagedRun : a file of one of them is missing or damaged.
    """
    return pairs.routing(
        routed(compared), [site.name for site in next(iter(compared.values())).sites]
    )


@st.cache_resource(max_entries=16, show_spinner=False, hash_funcs=runs.BY_CONTENT)
def _last_r(run: Run) -> tuple[np.ndarray, Float[np.ndarray, "n s e"]]:
    """The positions of the samples that a run keeps steps of, rising, and r after the last."""
    rows = run.read("steps", ["position", "r"])
    position = rows["position"].to_numpy()
    last = np.diff(position, append=-1) != 0
    r = rows["r"].combine_chunks().flatten().to_numpy()
    width = max(len(site.experts) for site in run.sites)
    return position[last], r.reshape(len(position), len(run.sites), width)[last]


def pattern_title(pattern: str) -> str:
    """A pattern of `analysis.pairs.pattern` as people read it: "101" is ✓✗✓."""
    if pattern == DIFFER:
        return "not all the same answer"
    return "".join(GLYPHS[digit == "1"] for digit in pattern)


def listed(compared: Compared, both: pd.DataFrame, kept: pd.Series) -> pd.DataFrame:
    """Samples as a list of them takes them.

    Returns
    -------
    model, benchmark, seed (of the first run), position, category, label, pattern, and of each
    run answer, confidence and correct with its letter, e.g. answer_A.
    """
    rows = both[kept.to_numpy()]
    first = next(iter(compared))
    of = compared[first].spec
    table = pd.DataFrame(
        {"model": of.model, "benchmark": of.benchmark, "seed": of.seed, "position": rows.index},
        index=rows.index,
    )
    for column in ("category", "label"):
        table[column] = rows[column, first]
    table["pattern"] = pairs.pattern(rows)
    for letter in compared:
        for column in ("answer", "confidence", "correct"):
            table[f"{column}_{letter}"] = rows[column, letter]
    return table


def told(row: dict[str, Any], letters: Sequence[str]) -> str:
    """The label and each run's answer, right or wrong, with its confidence."""
    answers = (
        f"{letter} {GLYPHS[bool(row[f'correct_{letter}'])]} {row[f'answer_{letter}']} "
        f"({row[f'confidence_{letter}']:.0%})"
        for letter in letters
    )
    return "\n".join([f"label: {row['label']}", *answers])


def accuracies(compared: Compared, table: pd.DataFrame) -> str:
    """A card per run, as HTML: its letter, its accuracy, what it gains and what that may mean.

    Parameters
    ----------
    table : `analysis.pairs.accuracies`.
    """
    shown = []
    for row, (letter, run) in zip(table.to_dict("records"), compared.items(), strict=True):
        name = show.escape(label(runs.variant(run)).removesuffix(" (reads the label)"))
        mark = f'<span class="r2-mark">{kind(run)}</span>' if kind(run) else ""
        facts = {"95 % interval": f"{row['low']:.1f} – {row['high']:.1f}"}
        if run.spec.strategy != "base":
            facts |= {
                "gain over base": signed(row["gain"]),
                "its interval": span(row["gain_low"], row["gain_high"]),
                "p": p_value(row["p"]),
                "✗ → ✓": f"{row['wrong_to_right']:,}",
                "✓ → ✗": f"{row['right_to_wrong']:,}",
            }
        shown.append(
            f'<div class="r2-card"><div class="r2-name"><span>{letter} · {name}</span>{mark}</div>'
            f'<div class="r2-answer">{row["accuracy"]:.1f} %</div>'
            f"{cards.rows(facts)}</div>"
        )
    return f'<div class="r2-grid">{"".join(shown)}</div>'


def signed(value: float) -> str:
    """Points with their sign; nothing where there are none."""
    return "" if pd.isna(value) else f"{value:+.1f}".replace("-", "−")


def span(low: float, high: float) -> str:
    """An interval of points; nothing where there is none."""
    return "" if pd.isna(low) else f"{signed(low)} to {signed(high)}"


def p_value(p: float) -> str:
    """A p value as tables have it; nothing where there is none."""
    if pd.isna(p):
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def family(found: Sequence[Run]) -> list[Run]:
    """The runs of one model, reference set and seed; which is asked only where there are several.

    Parameters
    ----------
    found : at least one; the sidebar's model comes first.
    """
    of: dict[str, list[Run]] = {}
    for run in found:
        name = f"{run.spec.model}, {run.spec.reference}, seed {run.spec.seed}"
        of.setdefault(name, []).append(run)
    if len(of) == 1:
        return list(found)
    first = st.session_state["model"]
    names = sorted(of, key=lambda name: (of[name][0].spec.model != first, name))
    return of[st.selectbox("Model, reference set, seed", names, **bound("ablation-family"))]


def varied(found: Sequence[Run]) -> list[str]:
    """The strategies that have options to vary, by name."""
    from r2t2.rerouting.settings import COMPARED

    there = {run.spec.strategy for run in found}
    return [name for name in COMPARED if name in there and name != "base"]


@dataclass(frozen=True)
class Study:
    """A strategy whose options are varied, on one benchmark.

    Parameters
    ----------
    own : its own setting for the model.
    reference : the reference set that is kept, unless it is what is varied.
    runs : the strategy's, of one model, benchmark and seed, and of any reference set.
    lines : base and the controls, with their accuracies in percent, the highest first.
    """

    own: Setting
    reference: str
    runs: Sequence[Run]
    lines: Mapping[str, float]

    @staticmethod
    def of(found: Sequence[Run], strategy: str) -> Study:
        """A strategy among the runs of one model, reference set, benchmark and seed."""
        from r2t2.rerouting import settings

        spec = found[0].spec
        same = (spec.model, spec.benchmark, spec.seed, strategy)
        every = [
            run
            for run in runs.complete()
            if (run.spec.model, run.spec.benchmark, run.spec.seed, run.spec.strategy) == same
        ]
        reached = {runs.variant(run): 100 * run.figures["accuracy"] for run in found}
        known = [(name, reached[name]) for name in ("base", *ALL_CONTROLS) if name in reached]
        return Study(
            settings.strategy(strategy, settings.preset_of(spec.model)),
            spec.reference,
            every,
            dict(sorted(known, key=lambda line: -line[1])),
        )

    @property
    def axes(self) -> dict[str, Axis]:
        """The options that the strategy has, by title."""
        return {axis.title: axis for axis in ablations.AXES if axis.applies(self.own)}

    @cached_property
    def table(self) -> pd.DataFrame:
        """The runs as `analysis.ablations` takes them, from their manifests."""
        settings = pd.Series([run.spec.setting for run in self.runs], dtype=object)
        return runs.figures(self.runs).assign(setting=settings)

    @cached_property
    def own_run(self) -> str | None:
        """The id of the run under its own setting."""
        return ablations.own_run(self.table, self.own, self.reference)

    @property
    def own_accuracy(self) -> float | None:
        """What its own setting reaches, in percent."""
        reached = (100 * run.figures["accuracy"] for run in self.runs if run.id == self.own_run)
        return next(reached, None)

    def points(self, axis: Axis) -> pd.DataFrame:
        """The runs that vary one option (`analysis.ablations.points`)."""
        return ablations.points(self.table, axis, self.own, self.reference)

    def every(self) -> pd.DataFrame:
        """The points of all options, with their titles as option."""
        parts = [self.points(axis).assign(option=title) for title, axis in self.axes.items()]
        return pd.concat(parts, ignore_index=True)

    def against_own(self, found: pd.DataFrame) -> pd.DataFrame:
        """Points beside the strategy's own setting (`analysis.ablations.against`).

        Raises
        ------
        DamagedRun : a file of one of the runs is missing or damaged.
        """
        wanted = {*found["id"], self.own_run}
        rows = runs.samples([run for run in self.runs if run.id in wanted])
        return ablations.against(found, rows, self.own_run)

    def missing(self, axis: Axis, found: pd.DataFrame) -> list[str]:
        """The usual values of an option, as texts, that were not run; of sets, those built."""
        sets = axis.option == ablations.EMBEDDER
        usual = engine.references(self.runs[0].spec.model) if sets else axis.values
        return [str(value) for value in ablations.missing(found, usual)]

    def requests(self, axis: Axis, wanted: Sequence[str]) -> list[Request]:
        """What makes the runs with some values of an option, on the samples of the others.

        Raises
        ------
        ValueError, KeyError : a value lies outside its range, or what it takes is not here.
        """
        from r2t2.runs.plan import Request

        like = Request.again(max(self.runs, key=lambda run: run.spec.size).spec)
        asked = replace(like, reference=self.reference, overrides=(), trace="none")
        if axis.option == ablations.EMBEDDER:
            return [replace(asked, reference=name) for name in wanted]
        return [replace(asked, overrides=axis.overrides(self.own, wanted))]
