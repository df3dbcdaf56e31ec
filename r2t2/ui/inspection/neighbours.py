"""The references that a strategy listened to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from r2t2 import cards
from r2t2.figures import style
from r2t2.sites import expert_names
from r2t2.ui import engine, show
from r2t2.ui.engine import Ask, Picked
from r2t2.ui.frames import Frames, routing
from r2t2.ui.inspection.case import Case
from r2t2.ui.inspection.choose import SOURCES
from r2t2.ui.state import put

PICTURES = 12
ACROSS = 4
CAPTION = (
    "Kernel weights sum to 1 (eq. 3); loss is the neighbour's own, in nats, under the base's r "
    "and the last; the bar is the router's own routing of it."
)


def ask(case: Case, position: int) -> Picked:
    """A reference as a sample of its own."""
    built = case.opened.reference.manifest
    return Picked(built["dataset"], built["seed"], position)


def listed(case: Case, frames: Frames) -> pd.DataFrame:
    """`Frames.neighbours` with the dataset that they are of."""
    table, dataset = frames.neighbours, case.opened.reference.manifest["dataset"]
    return table if table.empty else table.assign(dataset=dataset)


def told(frames: Frames, row: dict[str, Any]) -> str:
    """What is known of a neighbour, as HTML.

    Parameters
    ----------
    row : of `listed`.
    """
    colours = style.expert_colours(expert_names(frames.sites))
    r = frames.references.r[row["reference"]]
    mean = routing(r[None], frames.sites).groupby("expert", sort=False)["weight"].mean()
    near = "distance" if np.isnan(row["similarity"]) else "similarity"
    facts = {
        "answer": cards.escape(str(row["label"])),
        "dataset": cards.escape(f"{row['dataset']} {row['position']}"),
        near: show.number(row[near], 3),
        "kernel weight": show.number(row["weight"], 3),
        "loss": f"{show.number(row['loss before'])} → {show.number(row['loss after'])}",
        "top-1 expert": cards.expert(row["top1"], colours[row["top1"]]),
    }
    text = f'<div class="r2-small" dir="auto">{cards.escape(row["question"])}</div>'
    return text + cards.rows(facts) + cards.mix(mean.to_dict(), colours)


def section(case: Case, name: str) -> None:
    """The nearest with their pictures, each to be inspected in turn; a table of all."""
    frames = case.done[name]
    table, setting = listed(case, frames), frames.trajectory.setting
    if table.empty:
        st.write(
            "This strategy descends on the sample's own loss and has no neighbours."
            if setting.reads_label
            else "This control listens to no neighbours of the sample."
            if frames.trajectory.neighbours is None
            else "No reference lies in the neighbourhood, so r stays the base's. Widen epsilon, "
            "or take the k nearest."
        )
        return
    rows = table.head(PICTURES).to_dict("records")
    for tile, row in zip(show.tiles("neighbours", len(rows), ACROSS), rows, strict=True):
        with tile:
            st.image(engine.thumbnail(ask(case, row["position"]), 256), width="stretch", alt="")
            st.html(told(frames, row))
            inspect(case, row["position"])
    where = (
        "the space of routing weights (eq. 8), where it begins"
        if setting.algorithm == "mode_finding"
        else "the question's embedding; similarity is the inner product"
    )
    kept = " that the model answers correctly" if setting.references == "correct" else ""
    show.table(
        table.drop(columns="reference"),
        "neighbours",
        f"Nearest first among {len(frames.references):,} references{kept}, by {where}. {CAPTION}",
    )


def inspect(case: Case, position: int) -> None:
    """A button that makes a neighbour the sample."""
    asked = ask(case, position)
    if st.button(
        "Inspect",
        icon=":material/arrow_forward:",
        type="tertiary",
        key=f"neighbour-{position}",
        help=show.literal(f"{asked.benchmark} {position}"),
        on_click=_go,
        args=(case.ask, asked),
    ):
        st.rerun()  # all of the page, not this section alone


def back(now: Ask) -> None:
    """A button to the sample that this one was a neighbour of; nothing where it was none's."""
    trail = st.session_state.get("trail", [])
    if trail and trail[-1][1] == now:
        before = trail[-1][0]
        st.button(
            show.literal(f"Back to {_called(before)}"),
            icon=":material/arrow_back:",
            type="tertiary",
            key="back",
            on_click=_return,
        )


def _go(before: Ask, asked: Picked) -> None:
    st.session_state.setdefault("trail", []).append((before, asked))
    put(**_place(asked))


def _return() -> None:
    put(**_place(st.session_state["trail"].pop()[0]))


def _called(place: Ask) -> str:
    if isinstance(place, Picked):
        return f"{place.benchmark} {place.position}"
    return "the upload" if place.origin == "upload" else "the scene"


def _place(place: Ask) -> dict[str, Any]:
    """What the inputs of the choice hold for a sample."""
    if isinstance(place, Picked):
        of = {"benchmark": place.benchmark, "seed": place.seed, "sample": place.position}
        return {"source": SOURCES[0], **of}
    return {"source": SOURCES[1 if place.origin == "upload" else 2]}
