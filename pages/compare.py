"""Compare: runs of the same samples side by side, and what each option of a strategy is worth."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from r2t2 import paper
from r2t2.analysis import ablations, pairs
from r2t2.figures import compare as figures
from r2t2.figures.style import label
from r2t2.paths import jobs_folder
from r2t2.reference import how_to_build
from r2t2.ui import amortised, compare, filters, listen, runs, samples, show
from r2t2.ui.compare import Study
from r2t2.ui.state import bound, framed, link, put

if TYPE_CHECKING:
    from r2t2.analysis.ablations import Axis
    from r2t2.runs.plan import Request
    from r2t2.runs.store import Run
    from r2t2.ui.compare import Compared

# Title -> column of `analysis.pairs.differences`, unit, value of the strongest colour, meaning.
AGREEMENT = {
    "Same answer": ("same_answer", "%", 100.0, "Percent of samples with the same answer."),
    "Same outcome": ("same_outcome", "%", 100.0, "Percent on which both are right or both wrong."),
    "Cohen's κ": (
        "kappa",
        "",
        1.0,
        "Agreement of the outcomes beyond chance: 1 where two runs are right on the same samples, "
        "0 where no more often than two independent ones of such accuracies.",
    ),
}
# Title -> column of `analysis.pairs.routing`, unit, meaning.
DISTANCE = {
    "Distance": (
        "distance",
        "",
        "mean total variation of r after the last step: 0 is the same routing, 1 means that no "
        "expert is shared",
    ),
    "Another top-1": ("other_top1", "%", "percent of samples with another highest weight"),
}


def side_by_side(found: list[Run]) -> None:
    """Two to four runs of one benchmark."""
    left, right = st.columns([1, 3])
    with left:
        here = compare.same_samples(filters.benchmark(found, every=False))
    with right:
        compared = compare.choose(here)
    if len(compared) < 2:
        show.empty(
            "Pick two runs",
            "Runs of the same samples are compared: choose two to four of this benchmark. If "
            "there is only one, this command makes those of all strategies:",
            f"python -m r2t2 run --benchmark {shlex.quote(here[0].spec.benchmark)}",
        )
        return
    both = compare.aligned(compared)
    accuracies(compared, both)
    differences(compared, both)
    who_is_right(compared, both)
    routing(compared, both)


def accuracies(compared: Compared, both: pd.DataFrame) -> None:
    """A card per run: its letter, its accuracy, its gain."""
    table = pairs.accuracies(both)
    st.html(compare.accuracies(compared, table))
    named = [runs.variant(run) for run in compared.values()]
    show.under(
        table.assign(strategy=named),
        "compare-accuracies",
        f"Accuracy on the {len(both):,} samples that all of them have, with Wilson's intervals; "
        "gains over each run's own base model with paired ones (paper: table 2).",
    )


def differences(compared: Compared, both: pd.DataFrame) -> None:
    """How far every two runs differ, and how much they agree."""
    table = pairs.differences(both)
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.subheader("Which is better", anchor=False)
        show.figure(
            figures.difference_dots(table),
            table,
            "compare-differences",
            "Difference of the accuracies with its paired 95 % interval (Bonett and Price 2012), "
            "filled where that leaves out 0. A control that is not clearly behind means that the "
            "gain is not this strategy's own.",
        )
    with right:
        agreement(table, list(compared))
    shown = pd.DataFrame(
        {
            "pair": [f"{a} − {b}" for a, b in zip(table["first"], table["second"], strict=True)],
            "difference": list(map(compare.signed, table["difference"])),
            "95 % interval": list(map(compare.span, table["low"], table["high"])),
            "p": list(map(compare.p_value, table["p"])),
            "first only": table["first_only"],
            "second only": table["second_only"],
            "same answer": table["same_answer"],
            "same outcome": table["same_outcome"],
            "κ": table["kappa"].round(2) + 0.0,  # no negative zero
            "other top-1": table["other_top1"],
        }
    )
    number = st.column_config.NumberColumn
    percent = {name: number(name, format="%.1f %%") for name in ("same answer", "same outcome")}
    show.table(
        shown,
        "compare-pairs",
        "Every two runs on the same samples: p is McNemar's exact test of the samples that only "
        "one of them has right, not corrected for the number of pairs; κ is Cohen's, of the "
        "outcomes; the last column is the percent of samples that end with another top-1 expert.",
        height="content",
        column_config={
            **percent,
            "κ": number("κ", format="%.2f"),
            "other top-1": number("other top-1", format="%.1f %%"),
        },
    )


@st.fragment
def agreement(table: pd.DataFrame, letters: list[str]) -> None:
    """How often every two runs say the same."""
    st.subheader("Do they agree", anchor=False)
    picked = st.segmented_control(
        "Agreement",
        list(AGREEMENT),
        default=next(iter(AGREEMENT)),
        required=True,
        label_visibility="collapsed",
        **bound("compare-agreement"),
    )
    measure, unit, most, meaning = AGREEMENT[picked]
    show.figure(
        figures.pair_matrix(table, letters, measure, unit, most),
        table[["first", "second", measure]],
        "compare-agreement",
        meaning,
    )


@st.fragment
def who_is_right(compared: Compared, both: pd.DataFrame) -> None:
    """The patterns of right and wrong answers, and the samples of one of them."""
    st.subheader("Who is right where", anchor=False)
    table = pairs.patterns(both)
    differ = ~pairs.same_answer(both, list(compared))
    left, right = st.columns([3, 2], gap="large")
    with right:
        picked = st.selectbox(
            "Samples",
            [compare.DIFFER, *table["pattern"]],
            format_func=compare.pattern_title,
            help="The order of the marks is that of the runs.",
            on_change=put,
            kwargs={"compare-samples-page": 1},
            **bound("compare-pattern"),
        )
        st.text(
            "\n".join(f"{letter}  {label(runs.variant(run))}" for letter, run in compared.items())
        )
    with left:
        show.figure(
            figures.pattern_bars(table, list(compared), picked),
            table,
            "compare-patterns",
            "Samples by who is right (✓) and who is wrong (✗). Click a row for its samples.",
        )
        listen.clicks("compare-patterns", lambda clicked: pick(table, clicked))
    kept = differ if picked == compare.DIFFER else pairs.pattern(both) == picked
    rows = compare.listed(compared, both, kept)
    moved = [run.spec.strategy for run in compared.values() if run.spec.strategy != "base"]
    samples.gallery(
        rows,
        "compare-samples",
        f"{len(rows):,} samples with the label, each run's answer and its confidence.",
        lambda row: compare.told(row, list(compared)),
        strategy=moved[0] if moved else None,
    )


def pick(table: pd.DataFrame, clicked: dict[str, Any]) -> None:
    """Show the samples of the row that was clicked."""
    put(**{"compare-pattern": table["pattern"].iloc[clicked["number"]], "compare-samples-page": 1})


@st.fragment
def routing(compared: Compared, both: pd.DataFrame) -> None:
    """How far apart runs route, and whether that goes with other answers."""
    st.subheader("Where r went", anchor=False)
    r = compare.routed(compared)
    without = [letter for letter in compared if letter not in r]
    if without:
        st.caption(
            f"{', '.join(without)}: no routing weights here, because the run keeps none (or its "
            "model has other routing sites). Runs made with `--trace ends` keep them."
        )
    if len(r) < 2:
        return
    table = compare.routing({letter: compared[letter] for letter in r})
    left, right = st.columns(2, gap="large")
    with left:
        picked = st.segmented_control(
            "Measure",
            list(DISTANCE),
            default=next(iter(DISTANCE)),
            required=True,
            label_visibility="collapsed",
            **bound("compare-routing"),
        )
        measure, unit, meaning = DISTANCE[picked]
        show.figure(
            figures.routing_matrix(table, measure, unit),
            table,
            "compare-routing",
            f"Every two runs (rows) at every routing site: {meaning}.",
        )
    with right:
        names = [f"{a} − {b}" for a, b in table[["first", "second"]].drop_duplicates().to_numpy()]
        pair = st.segmented_control(
            "Pair",
            names,
            default=names[0],
            required=True,
            label_visibility="collapsed",
            **bound("compare-pair"),
        )
        first, second = pair.split(" − ")
        bins = pairs.by_distance(
            pairs.distances(r[first], r[second]).mean(1),
            pairs.same_answer(both, [first, second]).to_numpy(),
        )
        show.figure(
            figures.distance_bars(bins),
            bins,
            "compare-distance",
            "Samples by how far apart the two route them (mean over the sites); above each bar "
            "the percent with the same answer. Where r is the same, answers should be, too.",
        )


def ablate(found: list[Run]) -> None:
    """One option of a strategy varied at a time."""
    from r2t2.runs.selection import DEV

    left, middle, right = st.columns(3)
    with right:
        family = compare.family(found)
    names = runs.benchmarks(family)
    benchmark = left.selectbox(
        "Benchmark",
        names,
        index=len(names) - 1,  # dev, where there are runs on it
        help="Options are chosen on dev, and on nothing else.",
        **bound("ablation-benchmark"),
    )
    here = [run for run in family if run.spec.benchmark == benchmark]
    strategies = compare.varied(here)
    if not strategies:
        show.empty(
            "No strategy with options",
            "There is no run yet of a strategy whose options can be varied. This command makes "
            "NGD's own:",
            f"python -m r2t2 run --strategy ngd --benchmark {shlex.quote(benchmark)}",
        )
        return
    strategy = middle.selectbox(
        "Strategy",
        strategies,
        index=strategies.index("ngd") if "ngd" in strategies else 0,
        format_func=label,
        **bound("ablation-strategy"),
    )
    st.caption(
        "Hyper-parameters are chosen on dev alone, which no result is reported of."
        if benchmark == DEV
        else "Hyper-parameters are chosen on dev alone. On this benchmark an ablation only "
        "describes: nothing may be chosen by it."
    )
    options(here, strategy)


@st.fragment
def options(here: list[Run], strategy: str) -> None:
    """All options of a strategy, then one of them."""
    study = Study.of(here, strategy)
    every = study.every()
    picked = st.pills(
        "Option",
        list(study.axes),
        default=next(iter(study.axes)),
        required=True,
        **bound("ablation-option"),
    )
    axis = study.axes[picked]
    found = study.points(axis)
    left, right = st.columns([2, 3], gap="large")
    with left:
        show.figure(
            figures.ablation_overview(
                every, study.own_accuracy, study.lines.get("base"), axis.title
            ),
            every,
            "ablation-overview",
            f"Every option of {label(strategy)} by itself, all else as it is set for the model: a "
            "dot per value, the lowest and the highest named, filled where it is the model's own. "
            "Click a dot for its option.",
        )
        listen.clicks(
            "ablation-overview",
            lambda clicked: put(**{"ablation-option": clicked["custom"][0]}),
        )
    with right:
        curve(study, axis, found)
    left, right = st.columns([3, 2], gap="large")
    with left:
        table(study, axis, found)
        more(study, axis, found)
    with right:
        papers(axis)


def curve(study: Study, axis: Axis, found: pd.DataFrame) -> None:
    """One option's values beside what they are held against."""
    if found.empty:
        show.empty(f"No run varies {axis.title} yet", "Start some below.")
        return
    own = {} if study.own_accuracy is None else {"own setting": study.own_accuracy}
    show.figure(
        figures.ablation_curve(found, axis.title, axis.logarithmic, {**own, **study.lines}),
        found,
        "ablation-curve",
        f"Accuracy by {axis.title}, with Wilson's 95 % intervals; the diamond is the model's own. "
        "Lines: its own setting, base and the controls; click a name to hide its line."
        + "".join(f" With {name} {value}." for name, value in axis.needed(study.own).items())
        + (f" (Paper: table {axis.paper}.)" if axis.paper else ""),
    )


def table(study: Study, axis: Axis, found: pd.DataFrame) -> None:
    """The values, and how far each lies above the model's own, pair by pair."""
    if found.empty:
        return
    paired = study.against_own(found)
    shown = pd.DataFrame(
        {
            axis.title: [
                f"{value} (own)" if own else str(value)
                for value, own in zip(found["value"], found["own"], strict=True)
            ],
            "accuracy": found["accuracy"],
            "gain": list(map(compare.signed, found["gain"])),
            "above own": list(map(compare.signed, paired["ahead"])),
            "95 % interval": list(map(compare.span, paired["ahead_low"], paired["ahead_high"])),
            "p": list(map(compare.p_value, paired["ahead_p"])),
            "n": found["n"],
        }
    )
    show.table(
        shown,
        "ablation-values",
        "Gain over base, and the paired difference from the model's own setting on the same "
        "samples, with McNemar's exact p. Many values are tried: one p of 0.05 among twenty is "
        "chance.",
        height="content",
        column_config={"accuracy": st.column_config.NumberColumn("accuracy", format="%.1f")},
    )


def papers(axis: Axis) -> None:
    """The paper's figures for the same option."""
    if not axis.paper:
        st.caption(f"The paper does not vary the option “{axis.title}”.")
        return
    printed = paper.tables()[axis.paper]
    rows = ablations.reported(paper.in_percent(printed.rows), axis)
    with st.container(border=True):
        st.markdown("**In the paper** (not measured here)")
        show.figure(
            figures.ablation_curve(rows, axis.title, axis.logarithmic, {}),
            rows,
            "ablation-paper",
            f"{paper.SOURCE}, table {axis.paper}: {printed.title}. {printed.caption} "
            f"{printed.note}",
        )


def more(study: Study, axis: Axis, found: pd.DataFrame) -> None:
    """Starts the runs that are missing."""
    st.subheader("More values", anchor=False)
    sets = axis.option == ablations.EMBEDDER
    missing = study.missing(axis, found)
    wanted = st.multiselect(
        "Values to run",
        missing,
        default=missing,
        accept_new_options=not sets,
        key=f"ablation-wanted-{axis.option}",
        placeholder="All built sets were run" if sets else "Type a value",
    )
    if sets:
        st.caption("Another embedder makes another reference set:")
        of = study.runs[0].spec.model
        st.code(f"{how_to_build(of)} --embedder sentence-bert", "bash")
    if not wanted:
        return
    try:
        asked = study.requests(axis, wanted)
    except (ValueError, KeyError) as error:
        show.failure(error)
        return
    runs_of = "1 run" if len(wanted) == 1 else f"{len(wanted)} runs"
    if st.button(
        f"Start {runs_of}", key="ablation-start", icon=":material/play_arrow:", type="primary"
    ):
        start(asked)
    st.caption("The same by hand:")
    st.code("\n".join(request.command for request in asked), language="bash", wrap_lines=True)


def start(asked: list[Request]) -> None:
    """Make runs in a process of their own."""
    from r2t2.runs import jobs

    try:
        for request in asked:
            jobs.start(request, jobs_folder())
    except jobs.AlreadyRunning:
        st.info("These runs are being made already.", icon=":material/hourglass_top:")
    except (KeyError, ValueError, OSError) as error:
        show.failure(error)
        return
    else:
        st.success("Started: they show here as soon as they are complete.", icon=":material/check:")
    link("runs")


VIEWS = {
    "Side by side": side_by_side,
    "Exact or amortised": amortised.section,
    "Ablations": ablate,
}

framed()
st.title("Compare", anchor=False)
st.caption("Runs of the same samples side by side, and what each option of a strategy is worth.")
found = runs.chosen()
view = st.segmented_control(
    "View",
    list(VIEWS),
    default=next(iter(VIEWS)),
    required=True,
    label_visibility="collapsed",
    **bound("compare-view"),
)
if not found:
    show.empty(
        "No complete runs in the cache",
        "This command runs every strategy and its controls on all benchmarks; it can be stopped "
        "and resumed at any time:",
        "python -m r2t2 run",
    )
else:
    from r2t2.runs.store import DamagedRun

    try:
        VIEWS[view](found)
    except (DamagedRun, FileNotFoundError, ValueError) as error:
        show.failure(error)
