"""Figures of what strategies cost."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from r2t2.figures.results import marker, marks, note
from r2t2.figures.style import MUTED, blank, plain

_TICKS = [digit * 10**power for power in range(-1, 5) for digit in (1, 2, 5)]


def over_base(pooled: pd.DataFrame, each: pd.DataFrame) -> go.Figure:
    """How many times base's seconds each strategy takes: large in all, small in each run.

    Parameters
    ----------
    pooled : name (of a row), strategy, seconds_over (`analysis.performance.pooled`).
    each : name, benchmark, seed, seconds_over of the runs.
    """
    names = [plain(name) for name in pooled["name"]]
    figure = blank(90 + 26 * len(names), x="times base's time (log scale)")
    figure.add_scatter(
        x=each["seconds_over"],
        y=[plain(name) for name in each["name"]],
        mode="markers",
        marker={"color": MUTED, "symbol": "circle-open", "size": 5},
        customdata=[
            f"{plain(benchmark)}, seed {seed}"
            for benchmark, seed in zip(each["benchmark"], each["seed"], strict=True)
        ],
        hovertemplate="%{customdata}: %{x:.3g} ×<extra>%{y}</extra>",
    )
    shown = marks(list(dict.fromkeys(pooled["strategy"])))
    colours, symbols = zip(*(shown[name] for name in pooled["strategy"]), strict=True)
    figure.add_scatter(
        x=pooled["seconds_over"],
        y=names,
        mode="markers",
        marker=marker(colours, symbols),
        hovertemplate="%{y}: %{x:.3g} ×<extra></extra>",
    )
    note(figure, {n: f"{x:.3g} ×" for n, x in zip(names, pooled["seconds_over"], strict=True)})
    figure.add_vline(1, line={"color": MUTED, "width": 1, "dash": "dot"})
    figure.update_layout(showlegend=False, margin={"r": 56, "t": 8})
    figure.update_xaxes(type="log", tickvals=_TICKS)
    figure.update_yaxes(range=[len(names) - 0.5, -0.5], categoryorder="array", categoryarray=names)
    return figure
