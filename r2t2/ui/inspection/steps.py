"""Routing, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from r2t2.figures import routing
from r2t2.ui import show
from r2t2.ui.frames import Frames
from r2t2.ui.inspection.case import Case
from r2t2.ui.state import bound, get, put

# Seconds that a step is shown for while it plays.
PACE = 0.8
# Of each figure over the steps, in the order of the page.
CAPTIONS = {
    "experts": "Mean weight over the steps; a change of the top-1 expert is named where it happens "
    "(eq. 1; paper: figures 2 and 6).",
    "answers": "Probabilities of the five answers that were likeliest at any step; the right one, "
    "where a label is known, is solid and has a ✓.",
    "changes": "The top-1 expert at each routing site, named where it changes.",
    "objective": "The neighbours' kernel-weighted loss, which the strategy lowers (eq. 3).",
    "own-loss": "The sample's own loss, which takes its label (eq. 2).",
}


def player(last: int, draw: Callable[[int], None]) -> None:
    """Draw something at a step that a slider chooses and a button plays through.

    Parameters
    ----------
    last : the last step.
    """
    playing = get("playing", False)
    left, right = st.columns([1, 8], vertical_alignment="bottom")
    left.button(
        "Stop" if playing else "Play",
        icon=":material/stop:" if playing else ":material/play_arrow:",
        key="play",
        on_click=_toggle,
        args=(last,),
        width="stretch",
    )
    position = min(get("step", last), last)  # it may be of a strategy with more steps
    begun = False

    def at_step() -> None:
        nonlocal position, begun
        if playing and begun:
            position = min(position + 1, last)
        if playing or not begun:
            # Whatever the browser says, which may lag behind what plays.
            put(step=position)
        begun = True
        step = right.slider(
            "Step", 0, last, last, disabled=playing, persist_state="page", **bound("step")
        )
        draw(step)
        if playing and position == last:
            put(playing=False)
            st.rerun()  # without the clock

    st.fragment(at_step, run_every=PACE if playing else None)()


def _toggle(last: int) -> None:
    playing = not get("playing", False)
    if playing and get("step", last) >= last:
        put(step=0)
    put(playing=playing)


def over_steps(case: Case, frames: Frames) -> dict[str, tuple[go.Figure, Any]]:
    """The figures that run over all steps, each with its data; drawn once for all steps."""
    experts = case.opened.model.experts
    weights, answers, objective = frames.weights, frames.answers, frames.objective
    right = case.right(answers["answer"].unique())
    figures = {
        "experts": (routing.expert_lines(weights, experts), weights),
        "answers": (routing.answer_lines(answers, right), answers),
        "changes": (routing.site_changes(weights, experts), weights),
    }
    if objective["objective"].notna().all():
        name = "own-loss" if frames.trajectory.setting.reads_label else "objective"
        figures[name] = (routing.objective_lines(objective), objective)
    return figures


def section(case: Case, name: str) -> None:
    """Expert weights, answers and objective at a step."""
    frames, experts = case.done[name], case.opened.model.experts
    weights = frames.weights
    figures = over_steps(case, frames)

    def draw(step: int) -> None:
        left, right = st.columns(2, gap="large")
        with left:
            show.figure(
                routing.routing_bars(weights, experts, step),
                weights,
                "routing",
                f"Mean weight over the routing sites: base (outline) and step {step} (filled). "
                "The highest bar is the top-1 expert (paper: figure 4).",
            )
        with right:
            show.figure(
                routing.routing_heatmap(weights, experts, step),
                weights[weights["step"] == step],
                "sites",
                f"r at step {step}: each expert's weight (columns) at each routing site (rows, "
                "which sum to 1). ● is the site's top-1 expert, ○ what it was in the base.",
            )
        for i, (kind, (figure, data)) in enumerate(figures.items()):
            with (left, right)[i % 2]:
                show.figure(routing.mark_step(figure, step), data, kind, CAPTIONS[kind])

    player(frames.trajectory.steps, draw)
