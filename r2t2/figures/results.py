"""Figures of accuracies: strategies and controls beside each other."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from r2t2.figures.style import MUTED, STRATEGY_MARKS, blank, label


def results_dots(table: pd.DataFrame) -> go.Figure:
    """Accuracy with its interval, benchmark by benchmark: base, the strategies, the oracle.

    Parameters
    ----------
    table : benchmark, strategy, accuracy, low, high in percent (`analysis.results_table`).
    """
    order = list(dict.fromkeys(table["benchmark"]))
    figure = blank(110 + 40 * len(order), x="accuracy, %")
    shown = [name for name in STRATEGY_MARKS if name in set(table["strategy"])]
    for i, strategy in enumerate(shown):
        rows = table[table["strategy"] == strategy]
        colour, symbol = STRATEGY_MARKS[strategy]
        shift = (i - (len(shown) - 1) / 2) * 0.13
        figure.add_scatter(
            x=rows["accuracy"],
            y=[order.index(b) + shift for b in rows["benchmark"]],
            error_x=_interval(rows, colour),
            name=label(strategy),
            mode="markers",
            marker={
                "color": colour,
                "symbol": symbol,
                "size": 9,
                "line": {"width": 2, "color": colour},
            },
            customdata=rows[["benchmark", "low", "high"]],
            hovertemplate="%{customdata[0]}: %{x:.1f} % "
            "[%{customdata[1]:.1f}, %{customdata[2]:.1f}]",
        )
    figure.update_yaxes(
        tickvals=list(range(len(order))), ticktext=order, autorange="reversed", zeroline=False
    )
    return figure


def strategy_dots(table: pd.DataFrame) -> go.Figure:
    """Accuracy with its interval of every strategy and control on one benchmark or the mean.

    A line at base and one at NGD show which controls reach how far.

    Parameters
    ----------
    table : strategy, accuracy, low, high in percent.
    """
    names = [label(name) for name in table["strategy"]]
    figure = blank(90 + 26 * len(names), x="accuracy, %")
    colours = [STRATEGY_MARKS.get(name, (MUTED, ""))[0] for name in table["strategy"]]
    symbols = [STRATEGY_MARKS.get(name, ("", "x-thin"))[1] for name in table["strategy"]]
    figure.add_scatter(
        x=table["accuracy"],
        y=names,
        error_x=_interval(table, MUTED),
        mode="markers",
        marker={
            "color": colours,
            "symbol": symbols,
            "size": 10,
            "line": {"width": 2, "color": colours},
        },
        hovertemplate="%{y}: %{x:.1f} %<extra></extra>",
    )
    for strategy in ("base", "ngd"):
        for value in table.loc[table["strategy"] == strategy, "accuracy"]:
            figure.add_vline(value, line={"color": MUTED, "width": 1, "dash": "dot"})
    for name, value in zip(names, table["accuracy"], strict=True):
        figure.add_annotation(
            x=1,
            xref="paper",
            xanchor="left",
            xshift=8,
            y=name,
            text=f"{value:.1f}",
            showarrow=False,
        )
    figure.update_layout(showlegend=False, margin={"r": 48, "t": 8})
    figure.update_yaxes(autorange="reversed")
    return figure


def _interval(rows: pd.DataFrame, colour: str) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": rows["high"] - rows["accuracy"],
        "arrayminus": rows["accuracy"] - rows["low"],
        "color": colour,
        "thickness": 1.2,
        "width": 3,
    }
