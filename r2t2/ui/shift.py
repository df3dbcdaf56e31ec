"""The parts of the page Expert shift."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from r2t2.analysis import shifts
from r2t2.analysis.results import outcomes
from r2t2.figures import shifts as figures
from r2t2.figures.style import GLYPHS, expert_colours, label
from r2t2.sites import expert_names
from r2t2.ui import listen, runs, samples, show, specs
from r2t2.ui.state import bound, put

if TYPE_CHECKING:
    from r2t2.runs.store import Run

EVERY_SITE = "mean over sites"
EVERY_OUTCOME = "all"
ANY = "any expert"
VIEWS = ENDS, STEPS, FOUR = "Before and after", "Step by step", "Outcome by outcome"
# The paper's figure of each outcome, in its order.
PAPER = {EVERY_OUTCOME: 4, "wrong to right": 11, "right to wrong": 12} | {
    "stayed right": 13,
    "stayed wrong": 14,
}
_LIST = "shifted"
_RELIANCE = {
    "less": "Over-reliance on",
    "more": "Growing reliance on",
    "same": "Reliance, not clearly changed, on",
}


@dataclass(frozen=True)
class Look:
    """How samples are looked at.

    Parameters
    ----------
    experts : all of the run set's, so that each keeps its colour.
    site : a routing site or `EVERY_SITE`.
    shares : whether numbers are shares rather than counts.
    outcome : one of `PAPER`.
    where : columns of `analysis.shifts.moves` and the expert that is chosen there.
    """

    experts: tuple[str, ...]
    site: str
    shares: bool
    outcome: str = EVERY_OUTCOME
    where: tuple[tuple[str, str], ...] = ()


def experts(found: Sequence[Run]) -> tuple[str, ...]:
    """The experts of runs; of several models, one name is one expert."""
    return expert_names([site for run in found for site in run.sites])


def site(found: Sequence[Run]) -> str:
    """The routing site that is picked, or `EVERY_SITE`."""
    names = dict.fromkeys(site.name for run in found for site in run.sites)
    return st.selectbox(
        "Routing site",
        [EVERY_SITE, *names],
        help="An expert leads (is top-1) at a site where its weight is the largest; over the "
        "sites, where its mean weight is. Ties go to the first expert.",
        **bound("shift-site"),
    )


def shares() -> bool:
    """Whether numbers are shares rather than counts."""
    unit = st.segmented_control(
        "Numbers", ("Counts", "Shares"), default="Counts", required=True, **bound("shift-unit")
    )
    return unit == "Shares"


def telling(found: Sequence[Run], site: str) -> list[Run]:
    """The runs that tell which expert leads at a site."""
    if site == EVERY_SITE:
        return list(found)
    return [
        run for run in found if run.spec.trace != "none" and site in {own.name for own in run.sites}
    ]


def notes(telling: Sequence[Run], picked: Sequence[Run]) -> Iterator[str]:
    """What must be known of runs before their shifts are read."""
    models = {run.spec.model for run in telling}
    if len(models) > 1:
        yield f"Models pooled: {len(models)}; experts of one name count as one."
    if len(telling) < len(picked):
        yield f"Runs that tell of single sites: {len(telling)} of {len(picked)}."
    if {run.spec.setting.get("algorithm") for run in telling} == {"uniform"}:
        yield "Under uniform r all weights are equal; the first expert then counts as leading."


def missing(found: Sequence[Run], trace: str) -> None:
    """What stands where runs kept too few steps, with the command that keeps them.

    Parameters
    ----------
    trace : what would be enough: "ends" or "all".
    """
    kept, what = {
        "ends": ("single sites", "the routing weights of their first and last step"),
        "all": ("the steps between", "the routing weights of all their steps"),
    }[trace]
    show.empty(
        f"These runs do not tell of {kept}",
        f"They keep {what} where they are computed again so:",
        specs.command(found, trace),
    )


@st.cache_resource(max_entries=8, show_spinner=False, hash_funcs=runs.BY_CONTENT)
def _paths(found: Sequence[Run], site: str, experts: tuple[str, ...]) -> pd.DataFrame:
    """A row per sample with the expert that leads at each step: `analysis.shifts.paths`."""
    steps = runs.steps(found, "top1", "answer", "correct")
    if site != EVERY_SITE:
        steps = steps.assign(top1=runs.site_top1(found, site))
    return shifts.paths(steps, experts)


def _moves(found: Sequence[Run], look: Look) -> pd.DataFrame:
    """A row per sample with the experts that lead before and after: `analysis.shifts.moves`."""
    if look.site != EVERY_SITE:
        return _paths(found, look.site, look.experts)
    rows = runs.samples(found, "top1_before", "top1_after", "base_answer", "answer")
    return shifts.moves(rows, look.experts)


@st.fragment
def body(found: Sequence[Run], beside: Mapping[str, Sequence[Run]], look: Look) -> None:
    """All below the filters.

    Parameters
    ----------
    found : runs of one strategy that tell which expert leads at the site.
    beside : control -> its runs on the same samples (`specs.controls`).
    """
    from r2t2.runs.store import DamagedRun

    try:
        _told(found, beside, look)
    except DamagedRun as error:
        show.failure(error)


def _told(found: Sequence[Run], beside: Mapping[str, Sequence[Run]], look: Look) -> None:
    every = _moves(found, look)
    counts = shifts.transitions(every)
    look = replace(look, outcome=_outcome(counts))
    of_outcome = _of(counts, look.outcome)
    if of_outcome.empty:
        show.empty("No samples", "No sample of these runs has this outcome.")
        return
    _summary(of_outcome, look)
    view = st.segmented_control(
        "View",
        VIEWS,
        default=ENDS,
        required=True,
        label_visibility="collapsed",
        **bound("shift-view"),
    )
    if view != STEPS:
        _explored(view, every, found, look)
    elif kept := [run for run in found if run.spec.trace == "all"]:
        if len(kept) < len(found):
            st.caption(f"Runs that kept all their steps: {len(kept)} of {len(found)}.")
        _explored(view, _paths(kept, look.site, look.experts), kept, look)
    else:
        missing(found, "all")
    left, right = st.columns([2, 1], gap="medium")
    with left:
        _helping(every, beside)
    with right:
        _use(of_outcome, look)


def _of(counts: pd.DataFrame, outcome: str) -> pd.DataFrame:
    return counts if outcome == EVERY_OUTCOME else counts[counts["outcome"] == outcome]


def _outcome(counts: pd.DataFrame) -> str:
    """The outcome that is picked, with what each of them holds."""
    held = []
    for outcome in PAPER:
        of = _of(counts, outcome)
        n = int(of["n"].sum())
        held.append(f"{n:,} · {100 * shifts.moved(of) / n:.0f} % moved" if n else "none")
    picked = st.radio(
        "What became of the answer",
        list(PAPER),
        captions=held,
        horizontal=True,
        **bound("shift-outcome"),
    )
    return picked or EVERY_OUTCOME


def _summary(counts: pd.DataFrame, look: Look) -> None:
    """How many samples moved, and how far the experts' use spreads before and after."""
    use = shifts.use(counts, look.experts)
    n, moved = int(counts["n"].sum()), shifts.moved(counts)
    bits = [shifts.entropy(use[end]) for end in shifts.ENDS]
    facts = {
        "Moved": (
            f"{100 * moved / n:.1f} %",
            f"{moved:,} moved, {n - moved:,} stayed",
            "Samples whose leading expert is another one after re-routing.",
        ),
        "Experts in use": (
            f"{2 ** bits[0]:.1f} → {2 ** bits[1]:.1f}",
            f"effective number, of {len(look.experts)}",
            "So many experts, leading equally often, would spread as far: 2 to the power of the "
            "entropy.",
        ),
        "Entropy, bits": (
            f"{bits[0]:.2f} → {bits[1]:.2f}",
            f"of at most {math.log2(len(look.experts)):.2f}",
            "Of the shares in which the experts lead, before and after.",
        ),
    }
    with st.container(horizontal=True, gap="large"):
        for name, (value, said, what) in facts.items():
            st.metric(
                name,
                value,
                said,
                delta_color="off",
                delta_arrow="off",
                help=what,
                width="content",
            )
    _reliance(use, look)


def _reliance(use: pd.DataFrame, look: Look) -> None:
    """Which experts lead in most samples, before or after."""
    colours = expert_colours(look.experts)
    said = [
        f'<span class="r2-dot" style="background:{colours[row["expert"]]}"></span>'
        f"{_RELIANCE[row['change']]} {show.escape(row['expert'])}: "
        f"{row['share_before']:.0f} % of samples before, {row['share_after']:.0f} % after."
        for row in shifts.relied_on(use).to_dict("records")
    ]
    none = "No expert leads in more than half of the samples, before or after."
    st.html("<br>".join(said) or none)


def _explored(view: str, rows: pd.DataFrame, found: Sequence[Run], look: Look) -> None:
    """A figure, the samples that are chosen in it or below it, and their list."""
    of_outcome = rows
    if look.outcome != EVERY_OUTCOME:
        of_outcome = rows[outcomes(rows) == look.outcome]
    if of_outcome.empty:
        show.empty("No samples", "No sample of the runs that kept their steps has this outcome.")
        return
    way = shifts.way(rows) if view == STEPS else list(shifts.ENDS)
    drawn = st.container()
    look = replace(look, where=_chosen(look.experts, way[1:-1]))
    with drawn:
        if view == FOUR:
            _four(rows, look)
        elif view == STEPS:
            _flow("steps", of_outcome, way, look)
        else:
            left, right = st.columns([3, 2], gap="medium")
            with left:
                _flow("flow", of_outcome, way, look)
            with right:
                _matrix(of_outcome, look)
    if look.where:
        _listed(of_outcome[shifts.chosen(of_outcome, look.where)], found)


def _chosen(experts: Sequence[str], steps: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Which experts samples must have to be listed: what a click sets, as inputs."""
    boxes = st.columns([2, 2, 3, 1] if steps else [2, 2, 1], vertical_alignment="bottom")
    where = []
    for box, end in zip(boxes, shifts.ENDS, strict=False):
        picked = box.selectbox(f"Leading {end}", [ANY, *experts], **bound(f"shift-{end}"))
        if picked != ANY:
            where.append((end, picked))
    if steps:
        options = [f"{step}: {expert}" for step in steps for expert in experts]
        for option in boxes[2].multiselect(
            "On the way", options, placeholder=ANY, **bound("shift-way")
        ):
            step, _, expert = option.partition(": ")
            where.append((step, expert))
    boxes[-1].button(
        "Clear", on_click=choose, args=({},), disabled=not where, width="stretch", key="clear"
    )
    if not where:
        st.caption("Click a link, a bar or a cell, or choose here, to list samples.")
    return tuple(where)


def choose(custom: dict[str, str], outcome: str | None = None) -> None:
    """Choose the experts of what was clicked, and its outcome if it is of one."""
    put(
        **{f"shift-{end}": custom.get(end, ANY) for end in shifts.ENDS},
        **{"shift-way": [f"{at}: {custom[at]}" for at in custom if at.startswith("step ")]},
        **{f"{_LIST}-page": 1},
    )
    if outcome:
        put(**{"shift-outcome": outcome})


def _clicked(name: str, outcome: str | None = None) -> None:
    """Let clicks on a figure choose samples."""
    listen.clicks(name, lambda what: choose(what["custom"] or {}, outcome))


def _flow(
    name: str,
    rows: pd.DataFrame,
    columns: Sequence[str],
    look: Look,
    outcome: str | None = None,
    height: int = 0,
) -> None:
    """A Sankey of some samples."""
    flows = shifts.flows(shifts.transitions(rows, columns))
    lit = None
    if look.where:
        chosen = rows[shifts.chosen(rows, look.where)]
        lit = shifts.flows(shifts.transitions(chosen, columns))
    of = outcome or look.outcome
    what = "before and after" if len(columns) == 2 else "step by step"
    what += "" if of == EVERY_OUTCOME else f", {of}"
    ends = "" if len(columns) == 2 else ", the ends alone"
    show.figure(
        figures.sankey(flows, look.experts, look.shares, lit, height),
        flows,
        name,
        f"Leading expert {what}; a link has the colour of the expert that it comes from (paper: "
        f"figure {PAPER[of]}{ends}).",
    )
    _clicked(name, outcome)


def _four(rows: pd.DataFrame, look: Look) -> None:
    """A Sankey of each outcome."""
    of = outcomes(rows)
    names = [name for name in PAPER if name != EVERY_OUTCOME]
    for pair in (names[:2], names[2:]):
        for column, name in zip(st.columns(2, gap="large"), pair, strict=True):
            with column:
                some = rows[of == name]
                st.markdown(f"**{name.capitalize()}** · {len(some):,}")
                if some.empty:
                    st.caption("No samples.")
                else:
                    _flow(name.replace(" ", "-"), some, shifts.ENDS, look, name, height=300)


def _matrix(rows: pd.DataFrame, look: Look) -> None:
    flows = shifts.flows(shifts.transitions(rows))
    show.figure(
        figures.matrix(flows, look.experts, look.shares, dict(look.where)),
        flows,
        "matrix",
        "The same as a matrix: on the diagonal the leading expert stayed.",
    )
    _clicked("matrix")


@st.fragment
def _listed(rows: pd.DataFrame, found: Sequence[Run]) -> None:
    """The samples that were chosen."""
    samples.gallery(
        rows,
        _LIST,
        f"The samples chosen: {len(rows):,}. Each opens in Inspect.",
        _said,
        **specs.address(found[0].spec),
    )


def _said(row: dict[str, Any]) -> str:
    steps = [name for name in row if name.startswith("step ")]
    led = [expert for expert, _ in groupby(row[name] for name in ("before", *steps, "after"))]
    before, after = (GLYPHS[row[name]] for name in ("base_correct", "correct"))
    answers = f"{row['base_answer']} {before} → {row['answer']} {after}"
    return f"{' → '.join(led)}\n{answers}"


def _helping(rows: pd.DataFrame, beside: Mapping[str, Sequence[Run]]) -> None:
    """Which shifts help, all outcomes together, beside what controls gain on the same samples.

    Parameters
    ----------
    beside : control -> its runs on the same samples (`specs.controls`).
    """
    st.subheader("Which shifts help", anchor=False)
    right = {name: runs.samples(of)["correct"].to_numpy() for name, of in beside.items()}
    table = shifts.helping(rows, right)
    shown = table[["net", "gained", "lost", "n"]].assign(
        p=["< 0.001" if p < 0.001 else f"{p:.3f}" for p in table["p"]]
    )
    pairs = zip(table["source"], table["target"], strict=True)
    shown.insert(0, "shift", [f"{before} → {after}" for before, after in pairs])
    if right:
        nets = table[list(right)]
        shown.insert(2, "control", nets.max(axis=1))
        shown["best"] = nets.idxmax(axis=1).map(label)
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    st.dataframe(
        shown,
        hide_index=True,
        height=340 if len(shown) > 8 else "content",
        column_config={
            "shift": text(width=140),
            "net": number(format="%+d", width=50, help="Gained less lost, samples."),
            "control": number(
                format="%+d", width=60, help="The most that a control gains on these samples, net."
            ),
            "gained": number("✗ → ✓", width=50, help="Samples that went from wrong to right."),
            "lost": number("✓ → ✗", width=50, help="Samples that went from right to wrong."),
            "n": number(width=50, help="All samples of the shift."),
            "p": text(width=60, help="McNemar's exact test of gained and lost."),
            "best": text("best control", width=190),
        },
    )
    said = (
        f"Controls: {', '.join(map(label, right))}; what they gain too is not re-routing."
        if right
        else "No control has been run on all of these samples."
    )
    show.under(
        table,
        "helping",
        "Shifts by net gain, answers gained less answers lost; in A → A the weights moved and the "
        f"lead did not. {said}",
    )


def _use(counts: pd.DataFrame, look: Look) -> None:
    """How often each expert leads."""
    st.subheader("Expert use", anchor=False)
    use = shifts.use(counts, look.experts)
    show.figure(
        figures.use_bars(use, look.experts, look.shares),
        use,
        "use",
        "In how many samples each expert leads, before (outline) and after (filled) (paper: "
        "section 4.4).",
    )
