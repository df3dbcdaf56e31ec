"""Figures of samples that move between experts: Sankey, matrix, use before and after.

What can be clicked has as its customdata who is meant: column of `analysis.shifts.moves` -> expert.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import unescape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from r2t2.figures.style import PALETTE, blank, expert_colours, plain

_THICK, _GAP, _TALLEST = 14, 18, 900
# Characters of a name beside a flow.
_LONGEST = 14
# Above the flows, for the columns' names below plotly's own buttons, and below them.
_TOP, _BOTTOM = 44, 8
_FAINT, _USUAL, _LIT = 0.12, 0.42, 0.8


def sankey(
    flows: pd.DataFrame,
    experts: Sequence[str],
    shares: bool = False,
    lit: pd.DataFrame | None = None,
    height: int = 0,
) -> go.Figure:
    """Top-1 experts from column to column, in their colours and always in their order.

    Parameters
    ----------
    flows : `analysis.shifts.flows`.
    experts : all that there are.
    shares : numbers in percent rather than samples.
    lit : the flows of the samples that stand out; the others are then faint.
    height : in pixels; by the number of experts if left out.
    """
    height = height or _height(experts)
    nodes, gap = _placed(_nodes(flows), height - _TOP - _BOTTOM)
    links = _split(flows, lit)
    place = {key: i for i, key in enumerate(zip(nodes["column"], nodes["expert"], strict=True))}
    colours = expert_colours(experts)
    figure = blank(height)
    side = 16 + 6.5 * max(len(unescape(text)) for text in _labels(nodes, shares))
    figure.update_layout(
        margin={"l": side, "r": side, "t": _TOP, "b": _BOTTOM}, annotations=_names(nodes, shares)
    )
    figure.add_sankey(
        arrangement="fixed",
        node={
            "label": [""] * len(nodes),
            "x": nodes["x"],
            "y": nodes["y"],
            "sort": "input",
            "pad": gap,
            "thickness": _THICK,
            "color": [colours[expert] for expert in nodes["expert"]],
            "line": {"width": 0},
            "customdata": [
                {row["column"]: row["expert"], "said": _node_said(row)}
                for row in nodes.to_dict("records")
            ],
            "hovertemplate": "%{customdata.said}<extra></extra>",
        },
        link={
            "sort": "input",
            "source": [place[key] for key in zip(links["start"], links["source"], strict=True)],
            "target": [place[key] for key in zip(links["end"], links["target"], strict=True)],
            "value": links["part"],
            "color": [
                _rgba(colours[expert], alpha)
                for expert, alpha in zip(links["source"], links["alpha"], strict=True)
            ],
            "customdata": [
                {
                    row["start"]: row["source"],
                    row["end"]: row["target"],
                    "said": _link_said(row, lit is not None),
                }
                for row in links.to_dict("records")
            ],
            "hovertemplate": "%{customdata.said}<extra></extra>",
        },
    )
    return figure


def matrix(
    flows: pd.DataFrame,
    experts: Sequence[str],
    shares: bool = False,
    chosen: Mapping[str, str] | None = None,
) -> go.Figure:
    """The same as numbers: top-1 expert before (rows) and after (columns).

    Of very many experts the numbers would not be legible; they are then told by hovering.

    Parameters
    ----------
    chosen : the expert before, after, or both, whose cells are framed.
    """
    unit = "share" if shares else "n"
    table = flows.pivot_table(index="source", columns="target", values=unit, observed=True)
    table = table.reindex(index=list(experts), columns=list(experts))
    names = [plain(expert) for expert in experts]
    figure = blank(_height(experts))
    figure.add_heatmap(
        x=names,
        y=names,
        z=table.fillna(0),
        zmin=0,
        colorscale=[[0, "rgba(47,134,214,0.05)"], [1, "rgba(47,134,214,0.95)"]],
        xgap=2,
        ygap=2,
        showscale=False,
        customdata=[[{"before": a, "after": b} for b in experts] for a in experts],
        hovertemplate="%{y} → %{x}: %{z:,.1f} %<extra></extra>"
        if shares
        else "%{y} → %{x}: %{z:,}<extra></extra>",
    )
    strong = 0.45 * flows[unit].max()
    if len(experts) <= len(PALETTE):
        figure.update_layout(
            annotations=[
                {
                    "x": plain(after),
                    "y": plain(before),
                    "text": _number(value, shares).removesuffix(" %"),
                    "showarrow": False,
                    "font": {"size": 10, **({"color": "#ffffff"} if value > strong else {})},
                }
                for before, after, value in zip(
                    flows["source"], flows["target"], flows[unit], strict=True
                )
            ]
        )
    if chosen:
        rows, columns = (
            [list(experts).index(chosen[end])] * 2 if end in chosen else [0, len(experts) - 1]
            for end in ("before", "after")
        )
        figure.add_shape(
            x0=columns[0] - 0.5,
            x1=columns[1] + 0.5,
            y0=rows[0] - 0.5,
            y1=rows[1] + 0.5,
            line={"width": 2, "color": "#D27000"},
        )
    figure.update_yaxes(autorange="reversed", showgrid=False, title="before")
    figure.update_xaxes(showgrid=False, title="after", side="top")
    figure.update_layout(margin={"t": 8})
    return figure


def use_bars(use: pd.DataFrame, experts: Sequence[str], shares: bool = False) -> go.Figure:
    """How often each expert is the top-1 one, before (outline) and after (filled).

    Parameters
    ----------
    use : `analysis.shifts.use`.
    """
    colours = [expert_colours(experts)[expert] for expert in use["expert"]]
    figure = blank(_height(experts) - 60, x="% of samples" if shares else "samples")
    for end in ("before", "after"):
        values = use[f"share_{end}" if shares else end]
        figure.add_bar(
            x=values,
            y=[plain(expert) for expert in use["expert"]],
            orientation="h",
            name=end,
            marker={
                "color": colours if end == "after" else "rgba(0,0,0,0)",
                "line": {"color": colours, "width": 1.5},
            },
            text=[_number(value, shares) for value in values],
            textposition="outside",
            textfont={"size": 11},
            constraintext="none",
            cliponaxis=False,
            hovertemplate=f"{end}: %{{text}}<extra>%{{y}}</extra>",
        )
    figure.update_layout(barmode="group", bargap=0.3, bargroupgap=0.06, showlegend=False)
    figure.update_layout(margin={"t": 8, "r": 48})
    figure.update_yaxes(autorange="reversed")
    return figure


def _height(experts: Sequence[str]) -> int:
    return min(140 + 36 * len(experts), _TALLEST)


def _nodes(flows: pd.DataFrame) -> pd.DataFrame:
    """column, expert, n, share; columns from left to right, experts in their order."""
    first = flows["start"] == flows["start"].iloc[0]
    ends = [
        flows[first].rename(columns={"start": "column", "source": "expert"}),
        flows.rename(columns={"end": "column", "target": "expert"}),
    ]
    sides = pd.concat([end[["column", "expert", "n", "share"]] for end in ends])
    return sides.groupby(["column", "expert"], observed=True, sort=False).sum().reset_index()


def _placed(nodes: pd.DataFrame, room: float) -> tuple[pd.DataFrame, float]:
    """Nodes with x and y, their centres as plotly takes them, and the least gap between them.

    Plotly would order each column by itself; here an expert is where one looks for it.

    Parameters
    ----------
    room : the drawing's height in pixels; x and y are shares of its width and height.
    """
    order = nodes["expert"].cat.categories
    placed = nodes.sort_values(
        "expert", key=lambda names: names.map(order.get_loc).astype(int), kind="stable"
    )
    columns = list(dict.fromkeys(nodes["column"]))
    most = int(nodes["column"].value_counts().max())
    least = min(_GAP, 0.4 * room / most)
    scale = (room - (most - 1) * least) / nodes.groupby("column")["n"].sum().max()
    parts = []
    for i, column in enumerate(columns):
        part = placed[placed["column"] == column]
        heights = scale * part["n"]
        spare = room - heights.sum()
        gap = spare / (len(part) - 1) if len(part) > 1 else 0
        top = heights.cumsum() - heights + gap * pd.RangeIndex(len(part)).to_numpy()
        # Plotly takes a place of zero for none.
        x = min(max(i / (len(columns) - 1), 0.001), 0.999)
        y = (top + heights / 2 + (spare / 2 if len(part) == 1 else 0)) / room
        parts.append(part.assign(x=x, y=y.clip(0.001, 0.999)))
    return pd.concat(parts, ignore_index=True), least


def _split(flows: pd.DataFrame, lit: pd.DataFrame | None) -> pd.DataFrame:
    """Links: flows with part (samples) and alpha; where some samples are lit, in two."""
    by = ["start", "end", "source", "target"]
    if lit is None:
        links = flows.assign(part=flows["n"], alpha=_USUAL)
    else:
        of = flows.merge(lit[[*by, "n"]].rename(columns={"n": "lit"}), "left", on=by)
        of["lit"] = of["lit"].fillna(0).astype(int)
        others = of.assign(part=of["n"] - of["lit"], alpha=_FAINT)
        links = pd.concat([of.assign(part=of["lit"], alpha=_LIT), others], ignore_index=True)
        links = links[links["part"] > 0]
    # The order in which they lie at their nodes.
    return links.sort_values(["source", "target"], kind="stable")


def _names(nodes: pd.DataFrame, shares: bool) -> list[dict[str, Any]]:
    """Annotations: names beside the outer nodes rather than on the links, and above columns."""
    columns = nodes.drop_duplicates("column")
    outer = {columns["column"].iloc[0]: "right", columns["column"].iloc[-1]: "left"}
    beside = [
        {
            "x": 0 if outer[row["column"]] == "right" else 1,
            "y": 1 - row["y"],
            "xanchor": outer[row["column"]],
            "yanchor": "middle",
            "xshift": (_THICK / 2 + 5) * (-1 if outer[row["column"]] == "right" else 1),
            "text": text,
        }
        for row, text in zip(nodes.to_dict("records"), _labels(nodes, shares), strict=True)
        if row["column"] in outer
    ]
    above = [
        {"x": x, "y": 1, "xanchor": "center", "yanchor": "bottom", "yshift": 6, "text": name}
        for x, name in zip(columns["x"], columns["column"], strict=True)
    ]
    paper = {"xref": "paper", "yref": "paper", "showarrow": False}
    return [{**paper, **note} for note in (*beside, *above)]


def _labels(nodes: pd.DataFrame, shares: bool) -> list[str]:
    values = nodes["share" if shares else "n"]
    return [
        f"{plain(_short(expert))} {_number(value, shares)}"
        for expert, value in zip(nodes["expert"], values, strict=True)
    ]


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _node_said(row: Mapping[Any, Any]) -> str:
    where = f"{plain(row['expert'])}, {row['column']}"
    return f"<b>{where}</b><br>{_counted(row['n'], row['share'])}<br>click to list them"


def _link_said(row: Mapping[Any, Any], some_lit: bool) -> str:
    steps = f"{row['start']} → {row['end']}"
    names = f"<b>{plain(row['source'])} → {plain(row['target'])}</b>, {steps}"
    part = f"<br>chosen of them: {row['lit']:,}" if some_lit else ""
    right = " → ".join(f"{100 * row[name] / row['n']:.0f} %" for name in _RIGHT)
    return (
        f"{names}<br>{_counted(row['n'], row['share'])}{part}<br>"
        f"accuracy: {right} ({row['gained']:,} gained, {row['lost']:,} lost)<br>click to list them"
    )


_RIGHT = ("right_before", "right_after")


def _counted(n: int, share: float) -> str:
    return f"samples: {n:,} ({share:.1f} %)"


def _number(value: float, shares: bool) -> str:
    return f"{value:.1f} %" if shares else f"{int(value):,}"


def _rgba(colour: str, alpha: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"
