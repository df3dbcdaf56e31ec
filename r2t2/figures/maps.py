"""Maps of a reference set: a point per sample, coloured by what is known of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from r2t2.figures.style import (
    ACCENT,
    CORRECT,
    GLYPHS,
    MUTED,
    PALETTE,
    WRONG,
    blank,
    expert_colours,
    plain,
)

# What a point can be coloured by -> its column.
COLOURS = {
    "type": "category",
    "top-1 expert": "expert",
    "right or wrong": "correct",
    "label": "label",
    "answer": "answer",
    "loss": "loss",
}
HEIGHT = 580
OTHER = "other"
# SVG makes a page element of every point; beyond this many it gets slow.
_SVG_MOST = 2000
# As many values have a colour of their own, the most frequent ones; the others are grey.
_MOST = 10
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "triangle-down", "x")
# From low to high, neither end lost on a white or on a dark page.
_SCALE = ((0, "#2F86D6"), (0.5, "#A79C95"), (1, "#D27000"))
_HOVER = (
    "%{customdata[1]}<br>label %{customdata[2]}, answer %{customdata[3]}<br>"
    "%{customdata[4]}, loss %{customdata[5]:.2f}<extra></extra>"
)


def scatter(
    points: pd.DataFrame,
    by: str,
    experts: Sequence[str],
    shown: Collection[int],
    lit: Collection[int] = (),
    selected: Collection[int] = (),
    x: str = "",
    y: str = "",
) -> go.Figure:
    """A map; drag to select, click to pick; a point's customdata begins with its position.

    Parameters
    ----------
    points : x, y, position, question, label, answer, category, expert, correct, loss.
    by : of `COLOURS`.
    experts : the model's, in their order.
    shown : positions of the samples that pass the filters; the others are faint.
    lit : positions of the samples to ring, e.g. those that were searched for.
    selected : positions of the samples that were selected before.
    x, y : titles of the axes.
    """
    figure = blank(HEIGHT, x, y)
    many = len(points) > _SVG_MOST
    kind, size = (go.Scattergl, 6) if many else (go.Scatter, 8)

    def draw(rows: pd.DataFrame, **trace: Any) -> None:
        figure.add_trace(kind(x=rows["x"], y=rows["y"], mode="markers", **trace))

    passing = points["position"].isin(shown)
    if not passing.all():
        faint = {"color": MUTED, "size": size - 2, "opacity": 0.2}
        draw(points[~passing], name="filtered out", marker=faint, hoverinfo="skip")
    for name, rows, marker in _groups(points[passing], by, experts):
        draw(
            rows,
            name=name,
            marker={"size": size, "opacity": 0.8, **marker},
            customdata=_told(rows),
            selectedpoints=_places(rows, selected),
            hovertemplate=_HOVER,
        )
    if len(lit):
        ring = {"symbol": "circle-open", "size": size + 8, "color": ACCENT, "line": {"width": 2}}
        draw(points[points["position"].isin(lit)], name="found", marker=ring, hoverinfo="skip")
    figure.update_layout(
        dragmode="select",
        hovermode="closest",
        legend={"itemsizing": "constant"},
        showlegend=by != "loss",
        uirevision="map",
        modebar={"orientation": "v"},
        margin={"r": 40},
    )
    bare = {"showgrid": False, "showticklabels": False, "fixedrange": False}
    figure.update_xaxes(**bare)
    figure.update_yaxes(**bare)
    return figure


def _groups(
    points: pd.DataFrame, by: str, experts: Sequence[str]
) -> Iterator[tuple[str, pd.DataFrame, dict[str, Any]]]:
    """Name, points and marker of each trace, the grey ones first so that they lie below."""
    values = points[COLOURS[by]]
    if by == "loss":
        # A few samples with a large loss would leave one colour to all the others.
        scale = {
            "color": values,
            "colorscale": _SCALE,
            "cmin": 0,
            "cmax": float(values.quantile(0.95)) if len(values) else 1.0,
            "colorbar": {"title": "loss, nats", "thickness": 10, "len": 0.5, "outlinewidth": 0},
        }
        yield "loss", points, scale
        return
    if by == "right or wrong":
        for right, colour, symbol in ((True, CORRECT, "circle"), (False, WRONG, "x")):
            name = f"{GLYPHS[right]} {'right' if right else 'wrong'}"
            yield name, points[values == right], {"color": colour, "symbol": symbol}
        return
    counts = values.value_counts()
    if by == "top-1 expert":
        colours = expert_colours(experts)
        names = [name for name in experts if name in counts.index]
    else:
        names = list(counts.index[:_MOST])
        colours = dict(zip(names, PALETTE, strict=False))
    other = ~values.isin(names)
    if other.any():
        yield f"{OTHER} ({counts.size - len(names)})", points[other], {"color": MUTED}
    for i, name in enumerate(names):
        marker = {"color": colours[name], "symbol": _SYMBOLS[i % len(_SYMBOLS)]}
        yield plain(str(name)), points[values == name], marker


def _places(rows: pd.DataFrame, selected: Collection[int]) -> list[int] | None:
    """Which of the rows were selected; None where there is no selection at all."""
    return np.flatnonzero(rows["position"].isin(selected)).tolist() if len(selected) else None


def _told(rows: pd.DataFrame) -> pd.DataFrame:
    """What a point says when the mouse is over it."""
    told = rows[["position", "question", "label", "answer", "expert", "loss"]].copy()
    for name in ("question", "label", "answer"):
        told[name] = [plain(text if len(text) < 80 else f"{text[:78]} …") for text in told[name]]
    return told
