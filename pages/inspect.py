"""Inspect: one sample, every strategy side by side, its neighbours, its routing step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from r2t2.figures.style import label
from r2t2.ui import engine, references, settings, show
from r2t2.ui.engine import Ask
from r2t2.ui.inspection import amortised, answers, choose, export, hand, neighbours, space, steps
from r2t2.ui.inspection.case import Case
from r2t2.ui.state import bound, framed, get

if TYPE_CHECKING:
    from r2t2.engine import Engine

VIEWS = {
    "Steps": steps.section,
    "Neighbours": neighbours.section,
    "Where r went": space.section,
    "By hand": hand.section,
    "Exact or amortised": amortised.section,
}


def strategy(moved: list[str]) -> str:
    """The strategy that is looked at."""
    if get("strategy", None) not in moved:
        st.session_state.pop("strategy", None)
    return st.segmented_control(
        "Strategy",
        moved,
        default="ngd" if "ngd" in moved else moved[0],
        required=True,
        format_func=label,
        **bound("strategy"),
    )


@st.fragment
def detail(case: Case) -> None:
    """What lies behind a strategy's answer; only what is open is computed."""
    if not case.moved:
        st.write("Choose a strategy in the settings to see where it takes r.")
        return
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"
    ):
        name = strategy(case.moved)
        export.button(case, name)
    for tab, draw in zip(st.tabs(list(VIEWS), **bound("view")), VIEWS.values(), strict=True):
        if tab.open:
            with tab:
                draw(case, name)


def inspected(model: str, reference: str | None, ask: Ask, opened: Engine) -> Case | None:
    """The sample with its settings; None where they cannot be run."""
    sample = ask.sample()
    left, right = st.columns([1, 3.6], gap="medium")
    with left:
        answers.picture(ask)
    with right:
        neighbours.back(ask)
        show.question(sample.question, answers.facts(ask, sample))
        chosen = settings.choose(model, opened.model.preset)
        if opened.model.notice and sample.dataset == "upload":
            st.warning(opened.model.notice, icon=":material/warning:")
        elif opened.model.notice:
            with st.expander("What to know of this model", icon=":material/info:"):
                st.write(opened.model.notice)
    return Case(model, reference, ask, sample, opened, chosen) if chosen else None


framed()
st.title("Inspect", anchor=False)
st.caption("One sample under every strategy: the answers, the neighbours, and where r went.")
model, reference = st.session_state["model"], st.session_state["reference"]
if model and reference is None:
    references.none_yet(model)
    st.stop()
ask = choose.choose(model)
try:
    with st.spinner(engine.loading(model, reference)):
        opened = engine.engine(model, reference)
except (OSError, ValueError, KeyError, RuntimeError, MemoryError) as error:
    show.failure(error)
else:
    case = ask and inspected(model, reference, ask, opened)
    if case:
        answers.section(case)
        detail(case)
