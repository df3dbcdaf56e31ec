"""Figures of how a reference set covers benchmarks, and of what strategies gain where."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from r2t2.analysis.coverage import EFFECTS
from r2t2.analysis.results import ALL_CONTROLS
from r2t2.figures.style import (
    ACCENT,
    CORRECT,
    DASHES,
    GLYPHS,
    MUTED,
    STRATEGY_MARKS,
    WRONG,
    blank,
    label,
    plain,
)

OWN = "the references themselves"
_CONTROLS = ("square-open", "triangle-up-open", "diamond-open", "x-thin-open")
_UNITS = {"accuracy": "accuracy, %", "gain": "gain, points", "wrong_to_right": "wrong → right, %"}


def type_bars(types: pd.DataFrame, most: int = 14) -> go.Figure:
    """What a reference set is made of: per type of question, kept and dropped samples.

    Parameters
    ----------
    types : category, kept, dropped, accuracy, largest first (`analysis.coverage.types`).
    most : so many types; the others are left to the table.
    """
    rows = types.head(most)
    names = [plain(name) for name in rows["category"]]
    figure = blank(56 + 20 * len(rows))
    for column, right, colour in (("kept", True, CORRECT), ("dropped", False, WRONG)):
        figure.add_bar(
            x=rows[column],
            y=names,
            orientation="h",
            name=f"{GLYPHS[right]} {column}",
            marker={"color": colour, "pattern": {"shape": "" if right else "/", "size": 5}},
            hovertemplate=f"%{{y}}: %{{x:,}} {column}<extra></extra>",
        )
    beside = {"showarrow": False, "xanchor": "left", "xshift": 4}
    figure.update_layout(
        annotations=[
            {**beside, "x": total, "y": name, "text": f"{share:.0f} %"}
            for name, total, share in zip(names, rows["n"], rows["accuracy"], strict=True)
        ],
        barmode="stack",
        bargap=0.25,
        legend={"traceorder": "normal"},
    )
    figure.update_xaxes(range=[0, 1.12 * float(rows["n"].max())])
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def spread_lines(spread: pd.DataFrame, measure: str) -> go.Figure:
    """Distance to the reference set, benchmark by benchmark: median, middle half, middle 90 %.

    Parameters
    ----------
    spread : `analysis.coverage.spread`, its first row the reference set's own.
    measure : in words.
    """
    names = [plain(name) or OWN for name in spread["benchmark"]]
    figure = blank(90 + 30 * len(spread), x=f"distance, {measure}")
    for colour, part, at in ((MUTED, spread[:1], names[:1]), (ACCENT, spread[1:], names[1:])):
        for low, high, width in (("q5", "q95", 1.5), ("q25", "q75", 6)):
            # None ends a stroke, so that one trace draws them all.
            ends = zip(part[low], part[high], strict=True)
            figure.add_scatter(
                x=[x for pair in ends for x in (*pair, None)],
                y=[y for name in at for y in (name, name, None)],
                mode="lines",
                line={"color": colour, "width": width},
                hoverinfo="skip",
            )
        figure.add_scatter(
            x=part["q50"],
            y=at,
            mode="markers",
            marker={
                "size": 12,
                "color": colour,
                "symbol": "diamond" if colour == MUTED else "circle",
            },
            customdata=part[["q5", "q25", "q75", "q95", "n"]],
            hovertemplate="%{y}, n = %{customdata[4]:,}<br>median %{x:.3f}<br>half "
            "%{customdata[1]:.3f} to %{customdata[2]:.3f}<br>90 % %{customdata[0]:.3f} to "
            "%{customdata[3]:.3f}<extra></extra>",
        )
    figure.add_vline(float(spread["q95"].iloc[0]), line={"color": MUTED, "width": 1, "dash": "dot"})
    far = {"x": 1, "xref": "paper", "xanchor": "left", "xshift": 6, "showarrow": False}
    figure.update_layout(
        annotations=[
            {**far, "y": name, "text": f"{share:.0f} % far"}
            for name, share in zip(names[1:], spread["far"].iloc[1:], strict=True)
        ],
        showlegend=False,
        margin={"r": 70, "t": 8},
    )
    farthest = float(spread["q95"].max())
    figure.update_xaxes(range=[-0.03 * farthest, 1.04 * farthest])
    figure.update_yaxes(categoryorder="array", categoryarray=names, autorange="reversed")
    return figure


def distributions(histogram: pd.DataFrame, samples: str, measure: str) -> go.Figure:
    """Two distributions of distance: of a benchmark's samples, and of the references.

    Parameters
    ----------
    histogram : distance, samples, references (percent; `analysis.coverage.histogram`).
    samples : whose they are.
    measure : in words.
    """
    figure = blank(300, x=f"distance, {measure}", y="% of each")
    for column, name, colour, dash in (
        ("references", OWN, MUTED, "dot"),
        ("samples", plain(samples), ACCENT, "solid"),
    ):
        figure.add_scatter(
            x=histogram["distance"],
            y=histogram[column],
            name=name,
            mode="lines",
            line={"color": colour, "width": 2, "dash": dash, "shape": "hvh"},
            fill="tozeroy",
            fillcolor=f"rgba({_rgb(colour)},0.15)",
            hovertemplate="%{y:.1f} % at %{x:.2f}",
        )
    figure.update_yaxes(rangemode="tozero")
    return figure


def by_tenth(tenths: pd.DataFrame, effect: str, within: bool) -> go.Figure:
    """An effect from the nearest tenth of the samples to the farthest; the first with intervals.

    Parameters
    ----------
    tenths : `analysis.coverage.tenths` of the strategies to show.
    effect : of `analysis.coverage.EFFECTS`.
    within : whether they are the tenths of each benchmark.
    """
    x = "tenth" if within else "distance"
    title = "tenth of each benchmark, from near to far" if within else "mean distance of a tenth"
    figure = blank(360, x=title, y=_UNITS[effect])
    for i, strategy in enumerate(dict.fromkeys(tenths["strategy"])):
        rows = tenths[tenths["strategy"] == strategy]
        colour, symbol = _mark(strategy, i)
        control = strategy in ALL_CONTROLS
        bars = {
            "type": "data",
            "symmetric": False,
            "array": rows[f"{effect}_high"] - rows[effect],
            "arrayminus": rows[effect] - rows[f"{effect}_low"],
            "thickness": 1,
            "width": 2,
        }
        figure.add_scatter(
            x=rows[x],
            y=rows[effect],
            error_y=None if control else bars,
            name=label(strategy),
            mode="lines+markers",
            line={
                "color": colour,
                "width": 1.5 if control or strategy in ("base", "oracle") else 2.5,
                "dash": DASHES[i % len(DASHES)] if control else "solid",
            },
            marker={"size": 7, "symbol": symbol, "line": {"width": 1.5, "color": colour}},
            customdata=rows[["tenth", "n", "distance", f"{effect}_low", f"{effect}_high"]],
            hovertemplate="%{y:.1f} [%{customdata[3]:.1f}, %{customdata[4]:.1f}], tenth "
            "%{customdata[0]}, mean distance %{customdata[2]:.2f}, n = %{customdata[1]:,}",
        )
    if effect == "gain":
        figure.add_hline(0, line={"color": MUTED, "width": 1})
    if within:
        figure.update_xaxes(dtick=1)
    return figure


def slope_dots(slopes: pd.DataFrame, effect: str, order: Sequence[str]) -> go.Figure:
    """How much an effect changes per 0.1 of distance, by benchmark, with 95 % intervals.

    Parameters
    ----------
    slopes : benchmark, strategy, slope, low, high, questions; the first strategy leads
        (`analysis.coverage.slopes`).
    effect : of `analysis.coverage.EFFECTS`.
    order : of the benchmarks, from above.
    """
    strategies = list(dict.fromkeys(slopes["strategy"]))
    figure = blank(110 + 32 * len(order), x=f"{EFFECTS[effect]}: points per 0.1 of distance")
    for i, strategy in enumerate(strategies):
        rows = slopes[slopes["strategy"] == strategy]
        colour, symbol = _mark(strategy, i)
        figure.add_scatter(
            x=rows["slope"],
            y=[
                order.index(name) + 0.24 * (i - (len(strategies) - 1) / 2)
                for name in rows["benchmark"]
            ],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": rows["high"] - rows["slope"],
                "arrayminus": rows["slope"] - rows["low"],
                "color": colour,
                "thickness": 1.2,
                "width": 3,
            },
            name=label(strategy),
            mode="markers",
            marker={
                "size": 9,
                "symbol": symbol,
                "color": colour,
                "line": {"width": 2, "color": colour},
            },
            customdata=rows[["benchmark", "low", "high", "questions", "p"]],
            hovertemplate="%{customdata[0]}: %{x:+.1f} [%{customdata[1]:.1f}, %{customdata[2]:.1f}]"
            ", p = %{customdata[4]:.3f}, questions: %{customdata[3]:,}",
        )
    figure.add_vline(0, line={"color": MUTED, "width": 1})
    # Of a benchmark with a handful of wrong answers the interval would leave the others no room.
    settled = slopes[slopes["high"] - slopes["low"] < 40]
    if len(settled):
        low, high = min(settled["low"].min(), 0), max(settled["high"].max(), 0)
        figure.update_xaxes(range=[low - 1, high + 1])
    figure.update_yaxes(
        tickvals=list(range(len(order))),
        ticktext=[plain(name) for name in order],
        range=[len(order) - 0.5, -0.5],
    )
    return figure


def use_bars(counts: pd.DataFrame) -> go.Figure:
    """How many references were a neighbour how often.

    Parameters
    ----------
    counts : uses, references (`analysis.coverage.use_counts`).
    """
    figure = blank(300, x="times a neighbour", y="references")
    figure.add_bar(
        x=counts["uses"],
        y=counts["references"],
        text=[f"{n:,}" for n in counts["references"]],
        textposition="outside",
        cliponaxis=False,
        marker={"color": [WRONG, *[ACCENT] * (len(counts) - 1)]},
        hovertemplate="%{x} times: %{y:,} references<extra></extra>",
    )
    figure.update_xaxes(type="category", tickfont={"size": 10})
    return figure


def _mark(strategy: str, i: int) -> tuple[str, str]:
    """Colour and symbol of a strategy, or of a variant of one; of a control by its place."""
    return STRATEGY_MARKS.get(strategy.partition("[")[0], (MUTED, _CONTROLS[i % len(_CONTROLS)]))


def _rgb(colour: str) -> str:
    return ",".join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))
