"""Figures of accuracies: strategies and controls beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from r2t2.analysis.results import ALL_CONTROLS, MEAN
from r2t2.figures.style import ACCENT, MUTED, PALETTE, STRATEGY_MARKS, blank, label, plain

# Controls are grey, so that what must lie beyond them stands out; shapes tell them apart.
_CONTROL_SYMBOLS = ("x-thin", "cross-thin", "asterisk", "hash-open", "y-up", "y-down")
_VARIANT_SYMBOLS = ("circle-open", "square-open", "triangle-up-open", "pentagon-open", "star-open")
# Pixels between the lines of a group.
_LINE = 10
BEST_CONTROL = "Best control of each"


def marks(strategies: Sequence[str]) -> dict[str, tuple[str, str]]:
    """The colour and the symbol of each strategy, control and variant of one, in their order."""
    known = STRATEGY_MARKS | {
        name: (MUTED, symbol) for name, symbol in zip(ALL_CONTROLS, _CONTROL_SYMBOLS, strict=True)
    }
    others = [name for name in strategies if name not in known]
    known |= {
        name: (PALETTE[i % len(PALETTE)], _VARIANT_SYMBOLS[i % len(_VARIANT_SYMBOLS)])
        for i, name in enumerate(others)
    }
    return {name: known[name] for name in strategies}


def results_dots(table: pd.DataFrame, by: str = "benchmark") -> go.Figure:
    """Accuracy of every strategy, benchmark by benchmark or by another column.

    Strategies have their intervals and a line each; controls share the line below them. The
    customdata of a point is its group.

    Parameters
    ----------
    table : `by`, strategy, n, accuracy, low, high in percent (`analysis.results`).
    """
    groups = list(dict.fromkeys(table[by]))
    shown = marks(list(dict.fromkeys(table["strategy"])))
    lines = [name for name in shown if name not in ALL_CONTROLS]
    height = _LINE * (len(lines) + 1) + 10
    figure = blank(110 + height * len(groups), x="accuracy, %")
    for name, (colour, symbol) in shown.items():
        rows = table[table["strategy"] == name]
        line = lines.index(name) if name in lines else len(lines)
        shift = (line - len(lines) / 2) * _LINE / height
        figure.add_scatter(
            x=rows["accuracy"],
            y=[groups.index(group) + shift for group in rows[by]],
            error_x=_interval(rows, colour) if name in lines else None,
            name=plain(label(name)),
            mode="markers",
            marker=marker(colour, symbol),
            customdata=rows[by],
            text=[
                f"{plain(group)}: {accuracy:.1f} % [{low:.1f}, {high:.1f}], n {n:,}"
                for group, accuracy, low, high, n in zip(
                    *(rows[column] for column in (by, "accuracy", "low", "high", "n")), strict=True
                )
            ],
            hovertemplate="%{text}",
        )
    between = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "opacity": 0.25}
    figure.layout.shapes = [
        {**between, "y0": i - 0.5, "y1": i - 0.5, "line": {"color": MUTED, "width": 1}}
        for i in range(1, len(groups))
    ]
    figure.update_yaxes(
        tickvals=list(range(len(groups))),
        ticktext=[plain(str(group)) for group in groups],
        range=[len(groups) - 0.5, -0.5],
        showgrid=False,
    )
    return figure


def strategy_dots(table: pd.DataFrame, seeds: pd.DataFrame | None = None) -> go.Figure:
    """Accuracy with its interval of every strategy and control on one benchmark or the mean.

    A line at base and one at NGD show which controls reach how far.

    Parameters
    ----------
    table : strategy, accuracy, low, high in percent.
    seeds : strategy, accuracy of each seed, to be drawn as small circles.
    """
    names = [label(name) for name in table["strategy"]]
    figure = blank(90 + 26 * len(names), x="accuracy, %")
    shown = marks(list(table["strategy"]))
    colours, symbols = zip(*shown.values(), strict=True)
    if seeds is not None:
        figure.add_scatter(
            x=seeds["accuracy"],
            y=[label(name) for name in seeds["strategy"]],
            mode="markers",
            marker={"color": MUTED, "symbol": "circle-open", "size": 5},
            hovertemplate="one seed, %{y}: %{x:.1f} %<extra></extra>",
        )
    figure.add_scatter(
        x=table["accuracy"],
        y=names,
        error_x=_interval(table, MUTED),
        mode="markers",
        marker=marker(colours, symbols),
        hovertemplate="%{y}: %{x:.1f} %<extra></extra>",
    )
    for strategy in ("base", "ngd"):
        for value in table.loc[table["strategy"] == strategy, "accuracy"]:
            figure.add_vline(value, line={"color": MUTED, "width": 1, "dash": "dot"})
    note(figure, dict(zip(names, [f"{value:.1f}" for value in table["accuracy"]], strict=True)))
    figure.update_layout(showlegend=False, margin={"r": 48, "t": 8})
    figure.update_yaxes(range=[len(names) - 0.5, -0.5], categoryorder="array", categoryarray=names)
    return figure


def radar(table: pd.DataFrame) -> go.Figure:
    """Accuracy of the strategies on every benchmark, round a circle (the paper's figure 1).

    What the best control reaches on each benchmark is filled in grey.

    Parameters
    ----------
    table : benchmark, strategy, accuracy in percent.
    """
    benchmarks = [name for name in dict.fromkeys(table["benchmark"]) if name != MEAN]
    figure = blank(560)
    wide = table.pivot_table(
        index="benchmark", columns="strategy", values="accuracy", sort=False
    ).reindex(benchmarks)
    controls = [name for name in wide if name in ALL_CONTROLS]
    lines = {
        name: (wide[name], mark)
        for name, mark in marks(list(wide)).items()
        if name not in ALL_CONTROLS
    }
    if controls:
        _round(figure, wide[controls].max(axis=1), BEST_CONTROL, fill="toself", line={"width": 0})
    for name, (values, (colour, symbol)) in lines.items():
        dash = "dot" if name in ("base", "oracle") else "solid"
        _round(
            figure,
            values,
            plain(label(name)),
            line={"color": colour, "width": 2, "dash": dash},
            marker={"symbol": symbol.removesuffix("-open"), "size": 6, "color": colour},
        )
    axis = {"gridcolor": "rgba(133,140,150,0.25)", "linecolor": "rgba(133,140,150,0.25)"}
    figure.update_polars(
        bgcolor="rgba(0,0,0,0)",
        radialaxis={"range": [0, 100], "tickvals": [25, 50, 75, 100], "angle": 90, **axis},
        angularaxis={"direction": "clockwise", "rotation": 90, **axis},
    )
    figure.update_layout(legend_y=1.1, margin={"l": 48, "r": 48, "t": 96, "b": 32})
    return figure


def _round(figure: go.Figure, values: pd.Series, name: str, **style: Any) -> None:
    closed = pd.concat([values, values.head(1)])
    figure.add_scatterpolar(
        r=closed,
        theta=[plain(str(benchmark)) for benchmark in closed.index],
        name=name,
        mode="none" if "fill" in style else "lines+markers",
        fillcolor="rgba(133,140,150,0.28)",
        hovertemplate="%{theta}: %{r:.1f} %",
        **style,
    )


def lead_dots(table: pd.DataFrame) -> go.Figure:
    """How far a strategy lies ahead of each control, with the interval of the difference.

    Open circles are leads that may be chance.

    Parameters
    ----------
    table : other, n, ahead, low, high in points, holm (`analysis.results.leads`).
    """
    names = [label(name) for name in table["other"]]
    figure = blank(90 + 30 * len(names), x="ahead by, points")
    certain = table["holm"] < 0.05
    figure.add_scatter(
        x=table["ahead"],
        y=names,
        error_x=_interval(table, MUTED, "ahead"),
        mode="markers",
        marker=marker(ACCENT, ["circle" if sure else "circle-open" for sure in certain]),
        customdata=table[["low", "high", "n"]],
        hovertemplate="%{y}: %{x:+.1f} points [%{customdata[0]:.1f}, %{customdata[1]:.1f}], "
        "n %{customdata[2]:,}<extra></extra>",
    )
    figure.add_vline(0, line={"color": MUTED, "width": 1})
    said = [
        f"{value:+.1f}, {'p < 0.001' if p < 0.001 else f'p = {p:.3f}'}".replace("-", "−")
        for value, p in zip(table["ahead"], table["holm"], strict=True)
    ]
    note(figure, dict(zip(names, said, strict=True)))
    figure.update_layout(showlegend=False, margin={"r": 112, "t": 8})
    figure.update_xaxes(rangemode="tozero")
    figure.update_yaxes(range=[len(names) - 0.5, -0.5], categoryorder="array", categoryarray=names)
    return figure


def share_dots(table: pd.DataFrame, column: str, title: str) -> go.Figure:
    """A quantity of several tables of results: small for each benchmark, large for the mean.

    Parameters
    ----------
    table : source, benchmark (with `MEAN`) and the column.
    title : of the axis.
    """
    sources = list(dict.fromkeys(table["source"]))
    figure = blank(110 + 28 * len(sources), x=title)
    is_mean = table["benchmark"] == MEAN
    looks = {
        "one benchmark": (table[~is_mean], {"color": MUTED, "symbol": "circle-open", "size": 7}),
        "mean": (table[is_mean], {"color": ACCENT, "symbol": "diamond", "size": 13}),
    }
    for name, (rows, marker) in looks.items():
        figure.add_scatter(
            x=rows[column],
            y=[plain(source) for source in rows["source"]],
            name=name,
            mode="markers",
            marker=marker,
            customdata=[plain(str(name)) for name in rows["benchmark"]],
            hovertemplate="%{customdata}: %{x:.1f}<extra>%{y}</extra>",
        )
    figure.add_vline(0, line={"color": MUTED, "width": 1})
    figure.update_yaxes(
        range=[len(sources) - 0.5, -0.5],
        categoryorder="array",
        categoryarray=[plain(source) for source in sources],
    )
    return figure


def note(figure: go.Figure, texts: dict[str, str]) -> None:
    """Texts at the right ends of rows."""
    place = {"x": 1, "xref": "paper", "xanchor": "left", "xshift": 8, "showarrow": False}
    figure.layout.annotations = [{**place, "y": row, "text": text} for row, text in texts.items()]


def marker(colour: Any, symbol: Any) -> dict[str, Any]:
    # The line is what thin and open symbols are drawn with.
    return {"color": colour, "symbol": symbol, "size": 9, "line": {"width": 2, "color": colour}}


def _interval(rows: pd.DataFrame, colour: str, of: str = "accuracy") -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": rows["high"] - rows[of],
        "arrayminus": rows[of] - rows["low"],
        "color": colour,
        "thickness": 1.2,
        "width": 3,
    }
