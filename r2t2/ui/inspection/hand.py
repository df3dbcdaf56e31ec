"""r by hand: a person looks for a better routing than a strategy's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st
from jaxtyping import Float

from r2t2.figures import routing
from r2t2.figures.style import GLYPHS, label
from r2t2.rerouting.settings import Setting
from r2t2.sites import Site, expert_names
from r2t2.ui import engine, frames, show
from r2t2.ui.inspection.case import Case
from r2t2.ui.state import bound

if TYPE_CHECKING:
    from r2t2.engine import Point

EVERYWHERE = "all sites together"
HAND = "by hand"
ANSWERS = 5
# Losses that differ by less are called the same.
TIE = 5e-4
R = Float[np.ndarray, "sites experts"]


def places(sites: Sequence[Site], place: str) -> Iterator[int]:
    """The numbers of the sites that a place means."""
    return (s for s, site in enumerate(sites) if place in (EVERYWHERE, site.name))


def weight_of(r: R, sites: Sequence[Site], place: str, expert: str) -> float:
    """An expert's mean weight at a place; nan where it is not mixed there."""
    there = [
        r[s, sites[s].experts.index(expert)]
        for s in places(sites, place)
        if expert in sites[s].experts
    ]
    return float(np.mean(there)) if there else float("nan")


def give(r: R, sites: Sequence[Site], place: str, expert: str, weight: float) -> R:
    """`r` with another weight for an expert at a place; the others share the rest as before.

    Where the others had nothing, they share it equally. At a site of one expert r stays 1.
    """
    r = r.copy()
    for s in places(sites, place):
        names = sites[s].experts
        if expert not in names or len(names) == 1:
            continue
        others = np.array([name != expert for name in names])
        row = r[s, : len(names)]
        rest = row[others]
        share = rest / rest.sum() if rest.sum() > 0 else np.full(len(rest), 1 / len(rest))
        row[others], row[~others] = (1 - weight) * share, weight
    return r


def uniform(r: R, sites: Sequence[Site]) -> R:
    """The same weight for every expert of a site."""
    flat = np.zeros_like(r)
    for s, site in enumerate(sites):
        flat[s, : len(site.experts)] = 1 / len(site.experts)
    return flat


def take(r: R, other: R, sites: Sequence[Site], place: str) -> R:
    """`r` with another routing's weights at a place."""
    r, there = r.copy(), list(places(sites, place))
    r[there] = other[there]
    return r


def _current(case: Case) -> R:
    """The routing that was set by hand for this sample; the base's to begin with."""
    kept = st.session_state.get("hand")
    if kept is None or kept[:2] != (case.model, case.ask):
        return case.done["base"].r[0]
    return kept[2]


def _keep(case: Case, r: R) -> None:
    st.session_state["hand"] = (case.model, case.ask, r)


@st.fragment
def section(case: Case, name: str) -> None:
    """Sliders for r, and what the model makes of it beside the base and a strategy.

    Parameters
    ----------
    name : of the strategy to be beaten.
    """
    left, right = st.columns([2, 3], gap="large")
    with left:
        _inputs(case, name)
    with right:
        _outcome(case, name)


def _inputs(case: Case, name: str) -> None:
    sites = case.opened.model.sites
    place = st.selectbox("Routing sites", [EVERYWHERE, *(s.name for s in sites)], **bound("site"))
    r = _current(case)
    base, best = case.done["base"].r[0], case.done[name].r[-1]
    starts = {"Base": base, label(name): best, "Uniform": uniform(r, sites)}
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        for said, start in starts.items():
            st.button(
                said,
                key=f"start-{said}",
                help="Take its weights here",
                on_click=lambda start=start: _keep(case, take(r, start, sites, place)),
            )
        experts = [
            expert
            for expert in expert_names(sites)
            if not np.isnan(weight_of(r, sites, place, expert))
        ]
        st.selectbox(
            "One expert",
            experts,
            index=None,
            placeholder="One expert",
            label_visibility="collapsed",
            key="start-expert",
            width=160,
            on_change=lambda: _only(case, r, place),
        )
    weighty = sorted(
        experts,
        key=lambda expert: -max(weight_of(x, sites, place, expert) for x in (base, best)),
    )[: routing.MOST]
    for expert in [expert for expert in experts if expert in weighty]:
        key = f"hand-{expert}"
        st.session_state[key] = round(weight_of(r, sites, place, expert), 2)
        st.slider(
            show.literal(expert),
            0.0,
            1.0,
            step=0.01,
            key=key,
            on_change=lambda expert=expert, key=key: _keep(
                case, give(r, sites, place, expert, st.session_state[key])
            ),
        )
    rest = len(experts) - len(weighty)
    st.caption(
        "Weights sum to 1 at every site: what one expert gains, the others lose in proportion."
        + (f" {rest} more experts, which have little weight, are among the others." if rest else "")
    )


def _only(case: Case, r: R, place: str) -> None:
    expert = st.session_state["start-expert"]
    if expert is not None:
        _keep(case, give(r, case.opened.model.sites, place, expert, 1.0))
    st.session_state["start-expert"] = None


def _outcome(case: Case, name: str) -> None:
    setting = case.chosen.strategy("ngd")
    base = case.done["base"].r[0]
    routings = {"base": base, name: case.done[name].r[-1], HAND: _current(case)}
    points = {
        said: engine.at(case.model, case.reference, case.ask, r, setting)
        for said, r in routings.items()
    }
    table = compared(case, points, setting)
    verdict(table.set_index("routing")["L(r)"], name)
    answers = likeliest(points)
    show.table(
        table.assign(routing=table["routing"].map(label)),
        "by-hand",
        "L(r) is the neighbours' weighted loss (eq. 3) under NGD's setting, whatever the strategy; "
        "own loss takes the label (eq. 2). In nats.",
        column_config={"probability": st.column_config.NumberColumn(format="percent")},
    )
    show.figure(
        routing.answer_bars(answers, case.right(answers["answer"].unique())),
        answers,
        "by-hand-answers",
        "Probabilities of the likeliest answers under each routing.",
    )
    weights = frames.routing(np.stack([base, routings[HAND]]), case.opened.model.sites)
    show.figure(
        routing.routing_heatmap(weights, case.opened.model.experts, 1),
        weights[weights["step"] == 1].drop(columns="step"),
        "by-hand-sites",
        "r by hand at each routing site. ● is the site's top-1 expert, ○ what it was in the base.",
    )


def compared(case: Case, points: dict[str, Point], setting: Setting) -> pd.DataFrame:
    """routing, answer, right (✓ or ✗), probability, own loss, L(r): a row for each routing."""
    rows = []
    for said, point in points.items():
        [(answer, probability)] = point.answers.top(1)[0]
        rows.append(
            {
                "routing": said,
                "answer": answer,
                "right": GLYPHS[case.sample.is_correct(answer)] if case.sample.label else "",
                "probability": probability,
                "own loss": round(float(point.loss), 4),
                "L(r)": round(float(point.objective), 4),
            }
        )
    return pd.DataFrame(rows)


def likeliest(points: dict[str, Point]) -> pd.DataFrame:
    """routing, answer, probability of the answers that are likeliest under any routing."""
    each = {
        said: dict(point.answers.top(len(point.answers.candidates[0]))[0])
        for said, point in points.items()
    }
    table = pd.DataFrame(each).fillna(0.0)
    table = table.loc[table.max(axis=1).sort_values(ascending=False, kind="stable").index[:ANSWERS]]
    rows = table.rename_axis("answer").reset_index()
    return rows.melt("answer", var_name="routing", value_name="probability")


def verdict(objective: pd.Series, name: str) -> None:
    """Say who has the lower objective, the person or the strategy."""
    mine, theirs = objective[HAND], objective[name]
    if np.isnan(mine) or np.isnan(theirs):
        st.info("No reference lies in NGD's neighbourhood, so there is no L(r) to lower.")
    elif mine < theirs - TIE:
        st.success(
            f"Your r is better than {label(name)}'s: L(r) {mine:.4f} against {theirs:.4f}.",
            icon=":material/trophy:",
        )
    elif mine <= theirs + TIE:
        st.info(f"Your r is as good as {label(name)}'s: L(r) {mine:.4f}.")
    else:
        st.info(f"{label(name)}'s r is still better: L(r) {theirs:.4f}, yours {mine:.4f}.")
