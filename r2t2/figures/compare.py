"""Figures of runs held against each other, and of ablations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from r2t2.figures.style import (
    ACCENT,
    CORRECT,
    DASHES,
    GLYPHS,
    MUTED,
    WRONG,
    blank,
    label,
    plain,
)

_ACCENT_SCALE = [[0, "rgba(47,134,214,0.05)"], [1, "rgba(47,134,214,0.9)"]]


def difference_dots(pairs: pd.DataFrame) -> go.Figure:
    """How far the first run of each pair lies above the second, with intervals.

    Parameters
    ----------
    pairs : `analysis.pairs.differences`.
    """
    names = [_pair(*both) for both in zip(pairs["first"], pairs["second"], strict=True)]
    figure = blank(100 + 34 * len(pairs), x="accuracy of the first less the second's, points")
    clear = (pairs["low"] > 0) | (pairs["high"] < 0)
    figure.add_vline(0, line={"color": MUTED, "width": 1})
    figure.add_scatter(
        x=pairs["difference"],
        y=names,
        mode="markers",
        error_x=_interval(pairs, "difference", MUTED),
        marker={
            "color": [ACCENT if is_clear else MUTED for is_clear in clear],
            "size": 10,
            "symbol": ["circle" if is_clear else "circle-open" for is_clear in clear],
        },
        customdata=pairs[["low", "high", "p"]],
        hovertemplate="%{y}: %{x:+.1f} [%{customdata[0]:+.1f}, %{customdata[1]:+.1f}], "
        "p = %{customdata[2]:.3g}<extra></extra>",
    )
    figure.update_layout(showlegend=False, margin={"t": 8})
    figure.update_yaxes(autorange="reversed", type="category")
    return figure


def pattern_bars(patterns: pd.DataFrame, names: Sequence[str], picked: str) -> go.Figure:
    """Who is right where: a row per pattern of right and wrong, with its number of samples.

    Every trace has a point per row, in their order, so that a click on any tells the row.

    Parameters
    ----------
    patterns : `analysis.pairs.patterns`.
    names : the runs', in the order of the patterns' digits.
    picked : the pattern that is lit.
    """
    rows = list(range(len(patterns)))
    figure = blank(64 + 26 * len(rows))
    matrix = 0.07 * len(names)
    for i, name in enumerate(names):
        right = [pattern[i] == "1" for pattern in patterns["pattern"]]
        figure.add_scatter(
            x=[name] * len(rows),
            y=rows,
            mode="text",
            text=[GLYPHS[is_right] for is_right in right],
            textfont={"color": [CORRECT if is_right else WRONG for is_right in right], "size": 14},
            hovertemplate="%{x}: %{text}<extra></extra>",
        )
    figure.add_bar(
        x=patterns["samples"],
        y=rows,
        orientation="h",
        xaxis="x2",
        marker={"color": [ACCENT if p == picked else MUTED for p in patterns["pattern"]]},
        opacity=0.85,
        text=[
            f"{count:,} ({share:.1f} %)"
            for count, share in zip(patterns["samples"], patterns["share"], strict=True)
        ],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{x:,} samples<extra></extra>",
    )
    most = int(patterns["samples"].max())
    figure.update_layout(
        showlegend=False,
        bargap=0.35,
        margin={"t": 28},
        xaxis={"domain": [0, matrix], "side": "top", "showgrid": False, "type": "category"},
        xaxis2={
            "domain": [matrix + 0.03, 1],
            "range": [0, 1.45 * most],
            "showticklabels": False,
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
        },
    )
    figure.update_yaxes(
        range=[len(rows) - 0.5, -0.5], showticklabels=False, showgrid=False, anchor="free"
    )
    return figure


def pair_matrix(
    pairs: pd.DataFrame, names: Sequence[str], measure: str, unit: str, most: float | None = None
) -> go.Figure:
    """A measure of every two runs as a matrix.

    Parameters
    ----------
    pairs : first, second and the measure; the same both ways.
    unit : "%" or nothing.
    most : the value of the strongest colour; the highest one if left out.
    """
    values = {(row["first"], row["second"]): row[measure] for row in pairs.to_dict("records")}
    table = pd.DataFrame(
        [
            [values.get((one, other), values.get((other, one), math.nan)) for other in names]
            for one in names
        ],
        list(names),
        list(names),
    )
    return _matrix(table, unit, most or float(pairs[measure].max()), 52)


def routing_matrix(routing: pd.DataFrame, measure: str, unit: str) -> go.Figure:
    """How far apart each pair of runs routes, site by site.

    Parameters
    ----------
    routing : `analysis.pairs.routing`.
    measure : distance or other_top1.
    unit : "%" or nothing.
    """
    named = routing.assign(
        pair=[_pair(*both) for both in zip(routing["first"], routing["second"], strict=True)]
    )
    table = named.pivot(index="pair", columns="site", values=measure).reindex(
        index=named["pair"].unique(), columns=named["site"].unique()
    )
    return _matrix(table, unit, float(routing[measure].max()), 34)


def distance_bars(bins: pd.DataFrame) -> go.Figure:
    """How many samples two runs route how far apart, and what share has the same answer.

    Parameters
    ----------
    bins : `analysis.pairs.by_distance`.
    """
    figure = blank(280, x="distance of r", y="samples")
    width = bins["end"] - bins["start"]
    for column, name, colour, shape in (
        ("same", "same answer", ACCENT, ""),
        ("other", "another answer", MUTED, "/"),
    ):
        figure.add_bar(
            x=bins["start"] + width / 2,
            y=bins[column],
            width=width * 0.9,
            name=name,
            marker={"color": colour, "pattern": {"shape": shape, "size": 5}},
            customdata=bins[["start", "end"]],
            hovertemplate="%{customdata[0]:.3~f} to %{customdata[1]:.3~f}: %{y:,}",
        )
    for row in bins.to_dict("records"):
        figure.add_annotation(
            x=(row["start"] + row["end"]) / 2,
            y=row["same"] + row["other"],
            yshift=9,
            text=f"{row['share']:.0f} %",
            showarrow=False,
            font={"size": 11},
        )
    figure.update_layout(barmode="stack", legend={"traceorder": "normal"})
    return figure


def ablation_overview(
    points: pd.DataFrame, own: float | None, base: float | None, picked: str
) -> go.Figure:
    """Every option in a row, with a dot for each value that was run.

    Parameters
    ----------
    points : option and what `analysis.ablations.points` gives; in the order of the rows.
    own, base : accuracies of the strategy's own setting and of the base model, percent.
    picked : the option that is lit.
    """
    options = list(dict.fromkeys(points["option"]))
    figure = blank(76 + 30 * len(options), x="accuracy, %")
    for value, name, dash in ((base, "base", "dot"), (own, "own setting", "solid")):
        if value is not None:
            figure.add_vline(
                value,
                line={"color": MUTED, "width": 1, "dash": dash},
                annotation={"text": f"{name} {value:.1f}", "font": {"size": 11}},
                annotation_position="top",
            )
    for option in options:
        rows = points[points["option"] == option]
        colour = ACCENT if option == picked else MUTED
        figure.add_scatter(
            x=rows["accuracy"],
            y=[option] * len(rows),
            mode="lines+markers",
            line={"color": colour, "width": 1},
            marker={
                "size": [11 if is_own else 9 for is_own in rows["own"]],
                "symbol": ["diamond" if is_own else "circle-open" for is_own in rows["own"]],
                "color": colour,
                "line": {"width": 2, "color": colour},
            },
            customdata=[[option, plain(str(value))] for value in rows["value"]],
            hovertemplate="%{y} %{customdata[1]}: %{x:.1f} %<extra></extra>",
        )
        named = {rows["accuracy"].idxmin(): "right", rows["accuracy"].idxmax(): "left"}
        for row, anchor in named.items():
            figure.add_annotation(
                x=rows.at[row, "accuracy"],
                y=option,
                text=_told(rows.at[row, "value"]),
                xanchor=anchor,
                xshift=9 if anchor == "left" else -9,
                showarrow=False,
                font={"size": 11},
            )
    # Room for the names beside the outermost dots.
    reached = [*points["accuracy"], *(value for value in (base, own) if value is not None)]
    room = 0.4 * (max(reached) - min(reached)) or 1.0
    figure.update_xaxes(range=[min(reached) - room, max(reached) + room])
    figure.update_layout(showlegend=False)
    figure.update_yaxes(autorange="reversed", type="category")
    return figure


def ablation_curve(
    points: pd.DataFrame, option: str, logarithmic: bool, lines: dict[str, float]
) -> go.Figure:
    """Accuracy over the values of one option: a curve of numbers, dots of texts.

    Parameters
    ----------
    points : value, own, accuracy and, of what was measured here, low and high; in percent.
    logarithmic : whether the numbers are spaced by their ratios.
    lines : strategy -> accuracy; what the points are held against.
    """
    figure = blank(360, x=option, y="accuracy, %")
    places = _places(list(points["value"]), logarithmic)
    texts = [_told(value) for value in points["value"]]
    measured = "low" in points
    colour = ACCENT if measured else MUTED
    numbers = sum(map(_number, points["value"]))
    for rows, mode in ((slice(0, numbers), "lines+markers"), (slice(numbers, None), "markers")):
        part = points.iloc[rows]
        if part.empty:
            continue
        figure.add_scatter(
            x=places[rows],
            y=part["accuracy"],
            mode=mode,
            error_y=_interval(part, "accuracy", colour) if measured else None,
            line={"color": colour, "width": 2, "dash": "solid" if measured else "dot"},
            marker={
                "color": colour,
                "size": [13 if own else 8 for own in part["own"]],
                "symbol": ["diamond" if own else "circle" for own in part["own"]],
            },
            text=texts[rows],
            hovertemplate=f"{plain(option)} %{{text}}: %{{y:.1f}} %<extra></extra>",
            showlegend=False,
        )
    ends = [places[0] - _margin(places), places[-1] + _margin(places)]
    for i, (name, value) in enumerate(lines.items()):
        figure.add_scatter(
            x=ends,
            y=[value, value],
            mode="lines",
            name=plain(f"{label(name)} {value:.1f}"),
            line={"color": MUTED, "width": 1.5, "dash": DASHES[i % len(DASHES)]},
            hovertemplate="%{fullData.name}<extra></extra>",
        )
    figure.update_xaxes(
        tickvals=places,
        ticktext=texts,
        range=ends,
    )
    return figure


def _pair(first: str, second: str) -> str:
    return f"{first} − {second}"


def _matrix(table: pd.DataFrame, unit: str, most: float, height: int) -> go.Figure:
    """A table as a heat map; cells without a value are empty, negative ones are pale."""
    texts = [
        ["" if pd.isna(v) else f"{v:.0f} %" if unit == "%" else f"{v:.2f}" for v in values]
        for values in table.to_numpy()
    ]
    figure = blank(40 + height * len(table))
    figure.add_heatmap(
        x=list(table.columns),
        y=list(table.index),
        z=table,
        zmin=0,
        zmax=most or 1.0,
        colorscale=_ACCENT_SCALE,
        customdata=texts,
        xgap=2,
        ygap=2,
        showscale=False,
        hovertemplate="%{y}, %{x}: %{customdata}<extra></extra>",
        hoverongaps=False,
    )
    for i, row in enumerate(texts):
        for j, said in enumerate(row):
            strong = table.iat[i, j] > 0.5 * (most or 1.0)
            figure.add_annotation(
                x=table.columns[j],
                y=table.index[i],
                text=said,
                showarrow=False,
                font={"size": 11, **({"color": "#ffffff"} if strong else {})},
                # Of a model of many sites the colours alone have room.
                visible=len(table.columns) <= 8,
            )
    figure.update_xaxes(side="top", showgrid=False, type="category")
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category")
    return figure


def _told(value: Any) -> str:
    """A value of an option, short enough to stand beside its dot."""
    text = f"{value:g}" if _number(value) else str(value)
    return plain(text if len(text) <= 10 else f"{text[:9]}…")


def _number(value: Any) -> bool:
    return isinstance(value, int | float)


def _places(values: Sequence[Any], logarithmic: bool) -> list[float]:
    """Where values stand: numbers by size, texts after them, one step apart."""
    scale = math.log10 if logarithmic else float
    numbers = [scale(value) for value in values if _number(value)]
    step = (numbers[-1] - numbers[0]) / (len(numbers) - 1) if len(numbers) > 1 else 1.0
    start = numbers[-1] if numbers else 0.0
    return numbers + [start + step * (i + 1) for i in range(len(values) - len(numbers))]


def _margin(places: Sequence[float]) -> float:
    return 0.06 * (places[-1] - places[0]) or 1.0


def _interval(rows: pd.DataFrame, column: str, colour: str) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": rows["high"] - rows[column],
        "arrayminus": rows[column] - rows["low"],
        "color": colour,
        "thickness": 1.2,
        "width": 3,
    }
