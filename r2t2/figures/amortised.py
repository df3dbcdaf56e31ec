"""Figures of amortised re-routing beside the exact one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float

from r2t2.figures.style import ACCENT, MUTED, ROW, blank


def accuracy_pairs(table: pd.DataFrame) -> go.Figure:
    """A row per benchmark: what the exact strategy reaches, and the amortised one.

    Parameters
    ----------
    table : `analysis.amortised.agreement`.
    """
    figure = blank(90 + 26 * len(table), x="accuracy, %")
    for row in table.itertuples():
        figure.add_scatter(
            x=[row.exact, row.amortised],
            y=[row.benchmark] * 2,
            mode="lines",
            line={"color": MUTED, "width": 2},
            hoverinfo="skip",
            showlegend=False,
        )
    for name, symbol, colour in (
        ("exact", "circle-open", MUTED),
        ("amortised", "circle", ACCENT),
    ):
        figure.add_scatter(
            x=table[name],
            y=table["benchmark"],
            name=name,
            mode="markers",
            marker={
                "color": colour,
                "size": 10,
                "symbol": symbol,
                "line": {"width": 2, "color": colour},
            },
            customdata=table[["difference", "same_answer"]],
            hovertemplate="%{y}, " + name + ": %{x:.1f} %<br>difference %{customdata[0]:+.1f} "
            "points, same answer %{customdata[1]:.1f} %<extra></extra>",
        )
    figure.update_yaxes(autorange="reversed", type="category")
    return figure


def error_bars(error: Float[np.ndarray, " references"], threshold: float) -> go.Figure:
    """How many references are fitted how well; those beyond the threshold keep exact losses.

    Parameters
    ----------
    error : of each reference's fit, in nats.
    """
    counts, edges = np.histogram(error, bins=40, range=(0, max(float(error.max()), threshold)))
    figure = blank(ROW, x="mean error of a reference's fitted loss, nats", y="references")
    figure.add_bar(
        x=(edges[:-1] + edges[1:]) / 2,
        y=counts,
        width=np.diff(edges),
        marker={"color": [ACCENT if edge < threshold else MUTED for edge in edges[:-1]]},
        customdata=np.stack([edges[:-1], edges[1:]], -1),
        hovertemplate="%{customdata[0]:.2f} to %{customdata[1]:.2f} nats: %{y:,}<extra></extra>",
    )
    figure.add_vline(
        threshold,
        line={"color": MUTED, "width": 1, "dash": "dash"},
        annotation={"text": "exact beyond", "font": {"size": 11, "color": MUTED}},
    )
    figure.update_layout(showlegend=False, bargap=0.05)
    return figure


def doubt(table: pd.DataFrame, column: str, title: str, marked: float) -> go.Figure:
    """What re-routing the least confident samples exactly does, over how many these are.

    Parameters
    ----------
    table : `analysis.amortised.doubted`.
    column : of it, with its axis's title; of the difference its interval is drawn, too.
    marked : the threshold whose point stands out.
    """
    figure = blank(ROW, x="samples re-routed exactly, %", y=title)
    out = table["sure"] == marked
    if column == "difference":
        figure.add_scatter(
            x=pd.concat([table["again"], table["again"][::-1]]),
            y=pd.concat([table["low"], table["high"][::-1]]),
            fill="toself",
            mode="none",
            fillcolor=MUTED,
            opacity=0.2,
            hoverinfo="skip",
        )
        figure.add_hline(0, line={"color": MUTED, "width": 1})
    figure.add_scatter(
        x=table["again"],
        y=table[column],
        mode="lines+markers+text",
        line={"color": ACCENT, "width": 2},
        marker={"size": np.where(out, 11, 5).tolist(), "color": ACCENT},
        text=np.where(out, f"sure {marked:g}", "").tolist(),
        textposition="bottom right",
        customdata=table[["sure", "same_answer", "accuracy", "passes"]],
        hovertemplate="sure %{customdata[0]:.2f}: %{x:.1f} % exactly<br>same answer "
        "%{customdata[1]:.1f} %, accuracy %{customdata[2]:.1f} %, %{customdata[3]:.1f} passes"
        "<extra></extra>",
    )
    figure.update_layout(showlegend=False)
    return figure


def objective_pairs(lines: pd.DataFrame) -> go.Figure:
    """L(r) over the steps: of the exact descent, and of the fitted one as either loss has it.

    Parameters
    ----------
    lines : step, and a column of nats per line: exact, fitted, and judged, the exact objective
        where the fitted descent is.
    """
    shown = {
        "exact": ("exact", MUTED, "solid"),
        "judged": ("amortised, by exact losses", ACCENT, "solid"),
        "fitted": ("amortised, by fitted losses", ACCENT, "dot"),
    }
    figure = blank(ROW, x="step", y="L(r), nats")
    for column, (name, colour, dash) in shown.items():
        figure.add_scatter(
            x=lines["step"],
            y=lines[column],
            name=name,
            mode="lines+markers",
            line={"color": colour, "width": 2, "dash": dash},
            marker={"size": 5},
            hovertemplate="step %{x}: %{y:.4f}<extra>" + name + "</extra>",
        )
    figure.update_yaxes(rangemode="tozero")
    return figure
