"""Where a sample's routing weights go on the plane of a reference set's."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from r2t2.figures.routing import MOST
from r2t2.figures.style import (
    ACCENT,
    MUTED,
    STRATEGY_MARKS,
    blank,
    expert_colours,
    label,
    plain,
)

HEIGHT = 560
# SVG makes a page element of every point; of more references than this an even share is drawn.
MOST_REFERENCES = 4000
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "triangle-down", "x")
# The trace of the mark at the step that the reader looks at.
_HERE = "this step"


def routing_map(
    references: pd.DataFrame,
    neighbours: pd.DataFrame,
    path: pd.DataFrame,
    ends: pd.DataFrame,
    experts: Sequence[str],
    titles: tuple[str, str] = ("", ""),
) -> go.Figure:
    """The references as faint points, the sample's path among them, where others ended.

    Parameters
    ----------
    references : x, y, expert (top-1) of the reference set.
    neighbours : x, y, expert, text (question and answer) of those that the sample listened to.
    path : step, x, y of the strategy that is looked at.
    ends : strategy, x, y: where the others came to.
    experts : the model's, in their order.
    titles : of the axes.
    """
    figure = blank(HEIGHT, *titles)
    colours = expert_colours(experts)
    drawn = references.iloc[:: -(-len(references) // MOST_REFERENCES) or 1]
    there = [name for name in experts if name in set(drawn["expert"])][:MOST]
    for name in there:
        rows = drawn[drawn["expert"] == name]
        figure.add_scatter(
            x=rows["x"],
            y=rows["y"],
            name=plain(name),
            mode="markers",
            marker={
                "color": colours[name],
                "symbol": _SYMBOLS[list(experts).index(name) % len(_SYMBOLS)],
                "size": 5,
                "opacity": 0.3,
            },
            hovertemplate="reference, top-1 %{fullData.name}<extra></extra>",
        )
    figure.add_scatter(
        x=neighbours["x"],
        y=neighbours["y"],
        name="neighbours",
        mode="markers",
        marker={
            "color": [colours[name] for name in neighbours["expert"]],
            "size": 11,
            "line": {"color": MUTED, "width": 2},
        },
        customdata=neighbours["text"].map(plain),
        hovertemplate="%{customdata}<extra>neighbour</extra>",
    )
    for end in ends.to_dict("records"):
        colour, symbol = STRATEGY_MARKS.get(end["strategy"], (MUTED, "x-thin"))
        figure.add_scatter(
            x=[end["x"]],
            y=[end["y"]],
            name=plain(label(end["strategy"])),
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 12, "line": {"width": 2}},
            hovertemplate="%{fullData.name}, last step<extra></extra>",
        )
    figure.add_scatter(
        x=path["x"],
        y=path["y"],
        name="path",
        mode="lines+markers+text",
        text=["base"],
        textposition="top center",
        line={"color": ACCENT, "width": 2},
        marker={"symbol": "arrow", "angleref": "previous", "size": 10, "color": ACCENT},
        customdata=path["step"],
        hovertemplate="step %{customdata}<extra></extra>",
    )
    figure.add_scatter(
        x=path["x"].iloc[-1:],
        y=path["y"].iloc[-1:],
        name=_HERE,
        mode="markers",
        marker={"symbol": "circle-open", "size": 20, "color": ACCENT, "line": {"width": 3}},
        hoverinfo="skip",
    )
    figure.update_layout(hovermode="closest", legend={"itemsizing": "constant"}, uirevision="map")
    bare = {"showgrid": False, "showticklabels": False, "fixedrange": False}
    figure.update_xaxes(**bare)
    figure.update_yaxes(**bare, scaleanchor="x")
    return figure


def mark_step(figure: go.Figure, path: pd.DataFrame, step: int) -> go.Figure:
    """Move the ring to where the path is at a step; the same figure again."""
    at = path[path["step"] == step]
    figure.update_traces({"x": at["x"], "y": at["y"]}, selector={"name": _HERE})
    return figure
