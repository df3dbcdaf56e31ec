"""Figures of one sample's routing: weights, answers and objective, step by step.

Data frames of routing have the columns step, site, expert, weight; step 0 is the base model.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from r2t2.figures.style import (
    ACCENT,
    CORRECT,
    DASHES,
    GLYPHS,
    MUTED,
    ROW,
    blank,
    expert_colours,
    plain,
)


def expert_lines(weights: pd.DataFrame, experts: Sequence[str], step: int) -> go.Figure:
    """Each expert's mean weight over the steps; where the top-1 expert changes is marked.

    Parameters
    ----------
    weights : step, site, expert, weight.
    experts : the model's, in their order.
    step : the one that the reader looks at.
    """
    mean = _mean_weights(weights, experts)
    figure = blank(300, x="step", y="mean weight")
    colours = expert_colours(experts)
    for i, expert in enumerate(experts):
        figure.add_scatter(
            x=mean.index,
            y=mean[expert],
            name=expert,
            mode="lines+markers",
            line={"color": colours[expert], "width": 2, "dash": DASHES[i // 8 % len(DASHES)]},
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
    figure = blank(ROW, y="mean weight")
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
    figure = blank(max(ROW, 80 + 44 * len(table)))
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
    figure = blank(220, x="step", y="L(r), nats")
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
    figure = blank(300, x="step", y="probability")
    for i, answer in enumerate(order):
        is_right = answer == right
        figure.add_scatter(
            x=table.index,
            y=table[answer],
            name=plain(f"{answer} {GLYPHS[True]}" if is_right else str(answer)),
            mode="lines+markers",
            line={
                "color": CORRECT if is_right else MUTED,
                "width": 3 if is_right else 1.5,
                "dash": "solid" if is_right else DASHES[i % len(DASHES)],
            },
            marker={"size": 5, "symbol": "circle" if is_right else i},
            hovertemplate="%{y:.3f}",
        )
    figure.update_layout(hovermode="x unified")
    figure.update_yaxes(range=[-0.03, 1.03])
    return _mark_step(figure, step, int(table.index.max()))


def _mark_step(figure: go.Figure, step: int, last: int) -> go.Figure:
    figure.add_vline(step, line={"color": MUTED, "width": 1, "dash": "dot"})
    figure.update_xaxes(range=[-0.3, last + 0.3], dtick=1 if last <= 12 else 5)
    return figure


def _mean_weights(weights: pd.DataFrame, experts: Sequence[str]) -> pd.DataFrame:
    mean = weights.groupby(["step", "expert"], sort=False)["weight"].mean().unstack("expert")
    return mean.reindex(columns=list(experts)).sort_index()
