"""Figures: DataFrame in, plotly Figure out; one palette and one template for all of them.

Data frames of routing have the columns step, site, expert, weight; step 0 is the base model.
Text and grid lines take the colours of the page's theme, backgrounds are transparent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

# Near the hues of Okabe and Ito (2008), moved until each stands out from a white and from a
# dark page and every pair stays apart under the three kinds of colour blindness
# (tests/test_figures.py holds both); the four after the first eight only extend them.
PALETTE = (
    "#0064B4",
    "#D27000",
    "#13A75C",
    "#EC8EB4",
    "#04B5FF",
    "#B23709",
    "#96B700",
    "#7F7F7F",
    "#7A5AE0",
    "#8A5A2B",
    "#00897B",
    "#C2188B",
)
CORRECT = "#1F9E80"
WRONG = "#D6455D"
ACCENT = "#2F86D6"
MUTED = "#858C96"
GLYPHS = {True: "✓", False: "✗"}

# The oracle is marked wherever it appears.
LABELS = {
    "base": "Base",
    "mode_finding": "Mode finding",
    "kernel_regression": "Kernel regression",
    "ngd": "NGD",
    "oracle": "Oracle (reads the label)",
    "uniform": "Uniform r",
    "constant": "Best constant r",
    "finetuned_router": "Fine-tuned router",
    "ngd_random_neighbours": "NGD, random neighbours",
    "ngd_same_type_neighbours": "NGD, same-type neighbours",
    "ngd_paper": "NGD, paper's setting",
}
_STRATEGY_MARKS = {
    "base": (MUTED, "line-ns-open"),
    "mode_finding": ("#96B700", "triangle-up"),
    "kernel_regression": ("#D27000", "square"),
    "ngd": ("#0A7BD0", "circle"),
    "oracle": (MUTED, "diamond-open"),
}
# Height of the figures of one row of the page, in pixels.
_ROW = 260
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")

TEMPLATE = go.layout.Template(
    layout={
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"size": 12, "color": MUTED},
        "colorway": list(PALETTE),
    }
)


def expert_colours(experts: Sequence[str]) -> dict[str, str]:
    """Each expert's colour, by its position in the model's `experts`."""
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(experts)}


def label(strategy: str) -> str:
    """A strategy's name as it is shown."""
    return LABELS.get(strategy, strategy)


def modebar(name: str) -> dict[str, Any]:
    """Plotly's `config`: a quiet bar whose camera saves the figure under a name of its own."""
    return {
        "displaylogo": False,
        "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
        "toImageButtonOptions": {"format": "png", "filename": f"r2t2-{name}", "scale": 3},
    }


def expert_lines(weights: pd.DataFrame, experts: Sequence[str], step: int) -> go.Figure:
    """Each expert's mean weight over the steps; where the top-1 expert changes is marked.

    Parameters
    ----------
    weights : step, site, expert, weight.
    experts : the model's, in their order.
    step : the one that the reader looks at.
    """
    mean = _mean_weights(weights, experts)
    figure = _figure(300, x="step", y="mean weight")
    colours = expert_colours(experts)
    for i, expert in enumerate(experts):
        figure.add_scatter(
            x=mean.index,
            y=mean[expert],
            name=expert,
            mode="lines+markers",
            line={"color": colours[expert], "width": 2, "dash": _DASHES[i // 8 % len(_DASHES)]},
            marker={"size": 5},
            hovertemplate="%{y:.3f}",
        )
    top = mean.idxmax(axis=1)
    for changed in top.index[1:][(top.to_numpy()[1:] != top.to_numpy()[:-1])]:
        figure.add_annotation(
            x=changed,
            y=mean.at[changed, top[changed]],
            text=f"top-1: {top[changed]}",
            showarrow=True,
            arrowhead=0,
            arrowcolor=MUTED,
            ax=0,
            ay=-24,
            font={"size": 11},
        )
    figure.update_layout(hovermode="x unified")
    figure.update_yaxes(rangemode="tozero")
    return _mark_step(figure, step, int(mean.index.max()))


def routing_bars(weights: pd.DataFrame, experts: Sequence[str], step: int) -> go.Figure:
    """Each expert's mean weight in the base model and at a step, side by side."""
    mean = _mean_weights(weights, experts)
    colours = [expert_colours(experts)[expert] for expert in experts]
    figure = _figure(_ROW, y="mean weight")
    figure.add_bar(
        x=list(experts),
        y=mean.loc[0],
        name="base",
        marker={"color": "rgba(0,0,0,0)", "line": {"color": colours, "width": 1.5}},
        hovertemplate="base %{y:.3f}<extra>%{x}</extra>",
    )
    figure.add_bar(
        x=list(experts),
        y=mean.loc[step],
        name=f"step {step}",
        marker={"color": colours},
        hovertemplate=f"step {step} %{{y:.3f}}<extra>%{{x}}</extra>",
    )
    figure.update_layout(barmode="group", bargap=0.3, bargroupgap=0.06, showlegend=False)
    figure.update_yaxes(range=[0, max(0.5, float(mean.to_numpy().max()) * 1.05)])
    return figure


def routing_heatmap(weights: pd.DataFrame, experts: Sequence[str], step: int) -> go.Figure:
    """Weight of every expert at every routing site, at a step."""
    at = weights[weights["step"] == step]
    table = at.pivot(index="site", columns="expert", values="weight")
    table = table.reindex(index=list(dict.fromkeys(at["site"])), columns=list(experts))
    figure = _figure(max(_ROW, 80 + 44 * len(table)))
    figure.add_heatmap(
        x=list(experts),
        y=list(table.index),
        z=table,
        zmin=0,
        zmax=1,
        colorscale=[[0, "rgba(47,134,214,0.06)"], [1, "rgba(47,134,214,0.95)"]],
        xgap=2,
        ygap=2,
        showscale=False,
        hovertemplate="%{y}, %{x}: %{z:.3f}<extra></extra>",
    )
    if table.size <= 64:
        for site, row in table.iterrows():
            for expert, weight in row.dropna().items():
                figure.add_annotation(
                    x=expert,
                    y=site,
                    text=f"{weight:.2f}",
                    showarrow=False,
                    font={"size": 11, **({"color": "#ffffff"} if weight > 0.45 else {})},
                )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(showgrid=False)
    return figure


def objective_lines(objective: pd.DataFrame, step: int) -> go.Figure:
    """What a strategy minimises, over its steps.

    Parameters
    ----------
    objective : step, objective (nats).
    """
    figure = _figure(220, x="step", y="L(r), nats")
    figure.add_scatter(
        x=objective["step"],
        y=objective["objective"],
        mode="lines+markers",
        line={"color": ACCENT, "width": 2},
        hovertemplate="step %{x}: %{y:.4f}<extra></extra>",
    )
    figure.update_layout(showlegend=False)
    figure.update_yaxes(rangemode="tozero")
    return _mark_step(figure, step, int(objective["step"].max()))


def answer_lines(answers: pd.DataFrame, right: str | None, step: int) -> go.Figure:
    """The answers' probabilities over the steps; the right one, where it is known, has a ✓.

    Parameters
    ----------
    answers : step, answer, probability; every answer at every step.
    right : the accepted answer.
    """
    table = answers.pivot(index="step", columns="answer", values="probability")
    order = table.max().sort_values(ascending=False, kind="stable").index
    figure = _figure(300, x="step", y="probability")
    for i, answer in enumerate(order):
        is_right = answer == right
        figure.add_scatter(
            x=table.index,
            y=table[answer],
            name=_plain(f"{answer} {GLYPHS[True]}" if is_right else str(answer)),
            mode="lines+markers",
            line={
                "color": CORRECT if is_right else MUTED,
                "width": 3 if is_right else 1.5,
                "dash": "solid" if is_right else _DASHES[i % len(_DASHES)],
            },
            marker={"size": 5, "symbol": "circle" if is_right else i},
            hovertemplate="%{y:.3f}",
        )
    figure.update_layout(hovermode="x unified")
    figure.update_yaxes(range=[-0.03, 1.03])
    return _mark_step(figure, step, int(table.index.max()))


def results_dots(table: pd.DataFrame) -> go.Figure:
    """Accuracy with its interval, benchmark by benchmark: base, the strategies, the oracle.

    Parameters
    ----------
    table : benchmark, strategy, accuracy, low, high in percent (`analysis.results_table`).
    """
    order = list(dict.fromkeys(table["benchmark"]))
    figure = _figure(110 + 40 * len(order), x="accuracy, %")
    shown = [name for name in _STRATEGY_MARKS if name in set(table["strategy"])]
    for i, strategy in enumerate(shown):
        rows = table[table["strategy"] == strategy]
        colour, symbol = _STRATEGY_MARKS[strategy]
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
    figure = _figure(90 + 26 * len(names), x="accuracy, %")
    colours = [_STRATEGY_MARKS.get(name, (MUTED, ""))[0] for name in table["strategy"]]
    symbols = [_STRATEGY_MARKS.get(name, ("", "x-thin"))[1] for name in table["strategy"]]
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


def _figure(height: int, x: str = "", y: str = "") -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        template=TEMPLATE,
        height=height,
        margin={"l": 8, "r": 8, "t": 28, "b": 8},
        legend={
            "orientation": "h",
            "y": 1.02,
            "yanchor": "bottom",
            "x": 0,
            "title": None,
            "font": {"size": 11},
        },
        hoverlabel={"font": {"size": 12}},
    )
    figure.update_xaxes(title=x or None, automargin=True, zeroline=False, fixedrange=True)
    figure.update_yaxes(title=y or None, automargin=True, zeroline=False, fixedrange=True)
    return figure


def _mark_step(figure: go.Figure, step: int, last: int) -> go.Figure:
    figure.add_vline(step, line={"color": MUTED, "width": 1, "dash": "dot"})
    figure.update_xaxes(range=[-0.3, last + 0.3], dtick=1 if last <= 12 else 5)
    return figure


def _mean_weights(weights: pd.DataFrame, experts: Sequence[str]) -> pd.DataFrame:
    mean = weights.groupby(["step", "expert"], sort=False)["weight"].mean().unstack("expert")
    return mean.reindex(columns=list(experts)).sort_index()


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


def _plain(text: str) -> str:
    """Plotly reads a little HTML in names; a text of a user's is shown as it was typed."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
