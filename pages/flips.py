"""Flips: which answers re-routing turns right, which it turns wrong, when, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from r2t2.analysis import flips as analysis
from r2t2.figures import flips as figures
from r2t2.figures.style import label
from r2t2.ui import filters, flips, runs, samples, scores, show, specs
from r2t2.ui.flips import Story
from r2t2.ui.state import bound, framed, put

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from r2t2.runs.store import Run

# Names of controls that fit a column.
SHORT = {
    "uniform": "uniform",
    "constant": "constant",
    "ngd_random_neighbours": "random",
    "ngd_same_type_neighbours": "same type",
}


def over_steps(told: Story, options: DeltaGenerator) -> None:
    """Figure 5: what has turned by each step, and what flows from step to step."""
    if not told.stepwise:
        alluvial(told)
        return
    left, right = st.columns(2, gap="large")
    with left:
        curves(told, options)
    with right:
        alluvial(told)


def curves(told: Story, options: DeltaGenerator) -> None:
    """What has turned by each step, against step 0."""
    unit = options.segmented_control(
        "Unit",
        ("percent", "samples"),
        default="percent",
        required=True,
        label_visibility="collapsed",
        **bound("flips-unit"),
    )
    paper = options.toggle(
        "Paper's values",
        disabled=unit != "percent",
        help="Its own figures, of another model on CVBench 2D/3D (figure 5).",
        **bound("flips-paper"),
    )
    progress = analysis.over_steps(told.paths)
    show.figure(
        figures.over_steps(
            progress,
            "share" if unit == "percent" else "samples",
            analysis.PAPER if paper else None,
        ),
        progress,
        "flips-steps",
        "Base's wrong answers that are right at a step, and its right ones that are wrong"
        + (", in percent of base's wrong and right ones" if unit == "percent" else "")
        + "; below, the accuracy (paper: figure 5). Click a point for its samples.",
    )
    if moment := flips.clicked("flips-steps"):
        flips.choose(moment=moment[0])


def alluvial(told: Story) -> None:
    """What flows from step to step."""
    flows = analysis.flows(told.paths, analysis.stages(told.paths))
    show.figure(
        figures.alluvial(flows),
        flows,
        "flips-flow",
        "Right answers (top) and wrong ones (bottom) on their way, flips in full colour (paper: "
        "figure 5). Click a flow or a bar for its samples.",
    )
    if moment := flips.clicked("flips-flow"):
        flips.choose(moment=moment[0])


def when(told: Story, options: DeltaGenerator) -> None:
    """At which step answers settle, and what stopping early would give."""
    progress = analysis.over_steps(told.paths)
    settling = analysis.settling(told.samples)
    left, right = st.columns(2, gap="large")
    with left:
        show.figure(
            figures.settling(settling, progress),
            settling,
            "flips-settling",
            f"The step from which on an answer is the final one, of the {settling['n'].sum():,} "
            "samples whose answer changes; below, the accuracy if all stopped at a step. That "
            "describes these runs: how many steps to take is chosen on dev.",
        )
        if asked := flips.clicked("flips-settling"):
            flips.choose(outcome=asked[0], settled=str(asked[1]))
    with right:
        turns(told.paths, "flips-turns", "Answers that each step turned")


def back_and_forth(told: Story, options: DeltaGenerator) -> None:
    """Samples whose correctness changes more than once."""
    wavering = analysis.wavering(told.samples)
    if wavering.empty:
        show.empty("No sample flips back and forth", "What turns, turns once and stays so.")
        return
    left, right = st.columns(2, gap="large")
    with left:
        show.figure(
            figures.wavering(wavering),
            wavering,
            "flips-wavering",
            f"Samples that turn more than once, {wavering['n'].sum():,} of {len(told.paths):,}: "
            "how often, and where they end. Click a bar for them.",
        )
        if asked := flips.clicked("flips-wavering"):
            last = list(told.stages.values())[-1]
            flips.choose(changes=asked[0], moment=figures.at(asked[1], last))
    with right:
        several = told.paths[told.samples["changes"].reindex(told.paths.index) >= 2]
        turns(several, "flips-again", "Their answers that each step turned", flips.WAVERING)


def turns(paths: pd.DataFrame, name: str, said: str, changes: str = flips.ANY) -> None:
    """What each step turned, on some of the paths."""
    progress = analysis.over_steps(paths)
    show.figure(
        figures.turns(progress),
        progress[["step", "turned_right", "turned_wrong"]],
        name,
        f"{said}: right (up) or wrong (down), against the step before. Click a bar for them.",
    )
    if moment := flips.clicked(name):
        flips.choose(moment=moment[0], changes=changes)


def confidence(told: Story, options: DeltaGenerator) -> None:
    """Confidence gained and lost, by outcome."""
    bins = analysis.confidence_changes(told.samples.dropna(subset=["confidence_change"]))
    if bins.empty:
        show.empty("No confidence is known", "Other evaluators' files do not tell it.")
        return
    show.figure(
        figures.confidence_changes(bins),
        bins,
        "flips-confidence",
        "How far the confidence in the answer given moved, by outcome, each on a scale of its "
        "own; where the answer turned, it is the confidence in two answers. Click a bar for its "
        "samples.",
    )
    if asked := flips.clicked("flips-confidence"):
        outcome, low, high, _ = asked
        flips.choose(outcome=outcome, confidence=(low, high))


def benchmarks(told: Story, options: DeltaGenerator) -> None:
    """What turned on each benchmark, with the controls beside."""
    table = told.by_benchmark
    own = table[table["strategy"] == told.strategy].sort_values("gain", ascending=False)
    order = list(own["benchmark"])
    show.figure(
        figures.by_benchmark(table, told.strategy, order),
        table,
        "flips-benchmarks",
        "What the strategy turns right (bars to the right) and wrong (to the left) on each "
        "benchmark, the largest net gain first; marks: what the controls turn on the same samples. "
        "Click a bar for its samples.",
    )
    if asked := flips.clicked("flips-benchmarks"):
        flips.choose(outcome=asked[0])
        put(benchmarks=asked[1])
        st.rerun()
    names = dict.fromkeys((told.strategy, *flips.CONTROLS))
    gains = table.pivot(index="benchmark", columns="strategy", values="gain").loc[order]
    shown = own[["benchmark", "n", "base_accuracy", "wrong_to_right", "right_to_wrong"]].merge(
        gains[[name for name in names if name in gains]].reset_index()
    )
    shown["p"] = [flips.probability(p) for p in own["p"]]
    number = st.column_config.NumberColumn
    show.table(
        shown.round(1),
        "flips-gains",
        "What lies behind the bars: counts, gains over base in points with the controls' beside, "
        "and McNemar's exact p.",
        height="content",
        column_config={
            "n": number(width=50),
            "base_accuracy": number("base, %", format="%.1f", width=70),
            "wrong_to_right": number("✗ → ✓", width=60),
            "right_to_wrong": number("✓ → ✗", width=60),
            "p": st.column_config.TextColumn(width=65),
            **{
                name: number(SHORT.get(name, label(name)), format="%+.1f", width=80)
                for name in gains
            },
        },
    )


# View -> what draws it, and whether it needs the steps between.
VIEWS = {
    "Over the steps": (over_steps, False),
    "When": (when, True),
    "Back and forth": (back_and_forth, True),
    "Confidence": (confidence, False),
    "Benchmarks": (benchmarks, False),
}


@st.fragment
def explore(found: list[Run], controls: list[Run]) -> None:
    """The views of some runs of one strategy, and the samples that they lead to."""
    told = flips.story(found, controls)
    row = st.container(horizontal=True, vertical_alignment="center", gap="medium")
    view = row.segmented_control(
        "View",
        list(VIEWS),
        default="Over the steps",
        required=True,
        label_visibility="collapsed",
        **bound("flips-view"),
    )
    draw, needs_steps = VIEWS[view]
    if told.stepwise or not needs_steps:
        draw(told, row)
    if view in ("Over the steps", "When", "Back and forth"):
        flips.note(found, told)
    rows = flips.narrowed(told)
    samples.gallery(
        rows,
        "flips",
        f"{len(rows):,} of {len(told.samples):,} samples. ✓ and ✗ in a row: right or wrong at each "
        "step, from step 0 on.",
        flips.facts,
        **specs.address(found[0].spec),
    )


framed()
st.title("Flips", anchor=False)
st.caption("Which answers re-routing turns right, which it turns wrong, when, and for how long.")
every = runs.chosen(evaluations=True)
if not every:
    show.empty(
        "No complete runs in this run set",
        "Flips appear here as soon as strategies have been run on benchmarks; NGD keeps all its "
        "steps by default.",
        "python -m r2t2 run",
    )
    st.stop()
left, right = st.columns(2)
with left:
    of_benchmark = filters.benchmark(every)
with right:
    found = filters.strategy(of_benchmark)
if not found:
    show.empty(
        "Only base has been run here",
        "Nothing flips without a strategy that moves r.",
        "python -m r2t2 run --strategy ngd",
    )
    st.stop()
scores.definitions(found)
controls = flips.beside(found, every)
try:
    flips.headline(flips.story(found, controls))
except ValueError as error:
    show.failure(error)
else:
    explore(found, controls)
