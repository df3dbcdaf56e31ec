"""The strategies' options as inputs: a preset, and what is changed from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

import streamlit as st

from r2t2.figures.style import label
from r2t2.rerouting.settings import (
    COMPARED,
    PRESETS,
    STRATEGIES,
    Guard,
    KernelName,
    Optimiser,
    References,
    Schedule,
    Setting,
    Space,
    strategy,
)
from r2t2.ui import engine
from r2t2.ui.state import bound, get, put

_NUMBERS = ("k", "epsilon", "bandwidth", "steps", "learning_rate", "final_learning_rate", "sure")
_CHOICES = {
    "neighbourhood": ("nearest", "ball"),
    "kernel": get_args(KernelName),
    "schedule": get_args(Schedule),
    "optimiser": get_args(Optimiser),
    "space": get_args(Space),
    "references": get_args(References),
    "guard": get_args(Guard),
}
_HELP = {
    "neighbourhood": "The k nearest questions (eq. 9), or all within epsilon (eq. 10).",
    "k": "Number of neighbours (eq. 9); 1 to 100.",
    "epsilon": "Radius of the ball (eq. 10), a distance of unit vectors; 0 to 2.",
    "kernel": "K of equations 3, 4 and 8: how much a neighbour counts at its distance.",
    "bandwidth": "The kernel's width h.",
    "bandwidth_rule": "A fixed h, or the median distance of the sample's own neighbours.",
    "steps": "Gradient steps (paper: 10); for mode finding the most steps it takes.",
    "learning_rate": "The first step's lambda (eq. 1).",
    "final_learning_rate": "The last step's lambda; of the cosine schedule only.",
    "schedule": "How lambda falls over the steps.",
    "optimiser": "Plain gradient (the paper), or Adam.",
    "space": "Steps on r, projected back to the simplex, or on log r.",
    "references": "Only references that the model answers correctly (the paper), or all.",
    "sure": "Of amortised strategies: a sample whose answer has less confidence is re-routed once "
    "more, on exact losses; 0 to 1.",
    "guard": "What is left out of the neighbours: samples with the same picture, or the same "
    "question and choices; also those with the same question about another picture; or nothing.",
}


@dataclass(frozen=True)
class Chosen:
    """What the inputs say.

    Parameters
    ----------
    preset : its name.
    changes : option -> value, where it differs from the preset's.
    names : of the strategies to run, base first.
    """

    preset: str
    changes: dict[str, Any]
    names: tuple[str, ...] = COMPARED

    def strategy(self, name: str) -> Setting:
        """A strategy under these options; what makes a control one is not changed."""
        if name == "ngd_paper":
            return strategy(name)
        named, start = strategy(name, self.preset), PRESETS[self.preset]
        kept = {
            option: value
            for option, value in self.changes.items()
            if getattr(named, option) == getattr(start, option)
        }
        return replace(named, **kept)


def choose(model: str, default: str) -> Chosen | None:
    """Draw the inputs; None (and the reason on the page) where they cannot be run.

    Parameters
    ----------
    model : whose reference sets there are to choose from.
    default : the preset to begin with: the model's own.
    """
    with st.expander("Settings", icon=":material/tune:"):
        shown = st.pills(
            "strategies and controls, beside the base",
            STRATEGIES[1:],
            selection_mode="multi",
            default=COMPARED[1:],
            format_func=label,
            **bound("strategies"),
        )
        _embedder(model)
        names = list(PRESETS)
        preset = st.selectbox(
            "preset",
            names,
            index=names.index(default),
            help="The paper's setting (its appendix C), or the one chosen for the model on its "
            "dev benchmark. Choosing one sets all options below.",
            on_change=_reset,
            args=(default,),
            **bound("preset"),
        )
        start = PRESETS[preset]
        values = _inputs(start)
    changes = {name: value for name, value in values.items() if value != getattr(start, name)}
    if changes:
        _mark(start, changes, preset, default)
    try:
        replace(start, **changes)
    except ValueError as error:
        st.error(f"These settings cannot be run: {error}.")
        return None
    return Chosen(preset, changes, tuple(n for n in STRATEGIES if n == "base" or n in shown))


def _embedder(model: str) -> None:
    """Another embedder means another reference set, which is the sidebar's to choose."""
    sets = engine.references(model)
    now = st.session_state["reference"]
    if len(sets) < 2 or now not in sets:
        return
    key = f"embedder-of-{now}"
    st.selectbox(
        "embedder (reference set)",
        sets,
        index=sets.index(now),
        format_func=lambda name: f"{engine.embedder(name)} ({name})",
        help="How questions become vectors (paper: table 7). It belongs to a reference set, so "
        "this is the sidebar's choice of one.",
        key=key,
        on_change=lambda: put(reference=st.session_state[key]),
    )


def query(changes: Mapping[str, Any]) -> dict[str, Any]:
    """What the address of these inputs holds for changed options; others have no input."""
    asked = {name: value for name, value in changes.items() if name in (*_NUMBERS, *_CHOICES)}
    if "bandwidth" in asked:
        asked["bandwidth_rule"] = "median" if asked["bandwidth"] == "median" else "fixed"
        if asked["bandwidth"] == "median":
            del asked["bandwidth"]
    return asked


def _inputs(start: Setting) -> dict[str, Any]:
    values: dict[str, Any] = {}
    near, kernel, descent, rest = st.columns(4)
    with near:
        values["neighbourhood"] = _choice("neighbourhood", start)
        values["k"] = _number("k", start)
        if values["neighbourhood"] == "ball":
            values["epsilon"] = _number("epsilon", start)
    with kernel:
        values["kernel"] = _choice("kernel", start)
        fixed = "median" if start.bandwidth == "median" else "fixed"
        rule = st.selectbox(
            "bandwidth rule",
            ("fixed", "median"),
            index=("fixed", "median").index(fixed),
            help=_HELP["bandwidth_rule"],
            **bound("bandwidth_rule"),
        )
        values["bandwidth"] = "median" if rule == "median" else _number("bandwidth", start)
    with descent:
        values["steps"] = _number("steps", start)
        values["learning_rate"] = _number("learning_rate", start)
        values["schedule"] = _choice("schedule", start)
        if values["schedule"] == "cosine":
            values["final_learning_rate"] = _number("final_learning_rate", start)
    with rest:
        for name in ("optimiser", "space", "references", "guard"):
            values[name] = _choice(name, start)
        values["sure"] = _number("sure", start)
    return values


def _choice(name: str, start: Setting) -> Any:
    options = _CHOICES[name]
    return st.selectbox(
        name,
        options,
        index=options.index(getattr(start, name)),
        help=_HELP[name],
        **bound(name),
    )


def _number(name: str, start: Setting) -> Any:
    value = getattr(start, name)
    whole = isinstance(value, int)
    # Limits are left to `Setting`, whose errors say what they are.
    return st.number_input(
        name.replace("_", " "),
        value=0.5 if value == "median" else value,
        step=1 if whole else 0.05,
        format="%d" if whole else "%g",
        help=_HELP[name],
        **bound(name),
    )


def _mark(start: Setting, changes: dict[str, Any], preset: str, default: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(f"Changed from the preset “{preset}”:", width="content")
        for name, value in changes.items():
            st.badge(f"{name.replace('_', ' ')} {getattr(start, name)} → {value}", color="orange")
        st.button("Reset", on_click=_reset, args=(default,), type="tertiary", key="reset")


def _reset(default: str) -> None:
    start = PRESETS[get("preset", default)]
    values = {name: getattr(start, name) for name in (*_NUMBERS, *_CHOICES)}
    rule = "median" if values["bandwidth"] == "median" else "fixed"
    values["bandwidth"] = 0.5 if rule == "median" else values["bandwidth"]
    put(**values, bandwidth_rule=rule)
