"""Figures of one sample's routing: weights, answers and objective, step by step.

Data frames of routing have the columns step, site, expert, weight; step 0 is the base model.
What runs over the steps is drawn once, and `mark_step` moves the mark in it.
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
    STRATEGY_MARKS,
    blank,
    expert_colours,
    label,
    plain,
)

# So many experts are drawn, those with the most weight at any step; more are no longer told apart.
MOST = 12
# So many letters fit across a figure of half the page.
_LETTERS = 58
# Of larger heat maps the numbers are left to the tooltip.
_NUMBERED = 64
_PALE = "#ffffff"


def expert_lines(weights: pd.DataFrame, experts: Sequence[str]) -> go.Figure:
    """Each expert's mean weight over the steps; where the top-1 expert changes is marked.

    Parameters
    ----------
    weights : step, site, expert, weight.
    experts : the model's, in their order; at most `MOST` are drawn.
    """
    mean = _mean_weights(weights, experts)
    figure = blank(300, x="step", y="mean weight")
    colours = expert_colours(experts)
    for expert in _leading(mean):
        dash = DASHES[list(experts).index(expert) // 8 % len(DASHES)]
        figure.add_scatter(
            x=mean.index,
            y=mean[expert],
            name=plain(expert),
            mode="lines+markers",
            line={"color": colours[expert], "width": 2, "dash": dash},
            marker={"size": 5},
            hovertemplate="%{y:.3f}",
        )
    top = mean.idxmax(axis=1)
    changed = top.index[1:][top.to_numpy()[1:] != top.to_numpy()[:-1]]
    figure.update_layout(
        hovermode="x unified",
        annotations=[
            {
                "x": step,
                "y": mean.at[step, top[step]],
                "text": f"top-1: {plain(top[step])}",
                "showarrow": True,
                "arrowhead": 0,
                "arrowcolor": MUTED,
                "ax": 0,
                "ay": -24,
                "font": {"size": 11},
            }
            for step in changed
        ],
    )
    figure.update_yaxes(rangemode="tozero")
    return _over_steps(figure, int(mean.index.max()))


def routing_bars(weights: pd.DataFrame, experts: Sequence[str], step: int) -> go.Figure:
    """Each expert's mean weight in the base model and at a step, side by side."""
    mean = _mean_weights(weights, experts)
    shown = _leading(mean)
    colours = [expert_colours(experts)[expert] for expert in shown]
    names = [plain(expert) for expert in shown]
    figure = blank(ROW, y="mean weight")
    figure.add_bar(
        x=names,
        y=mean.loc[0, shown],
        name="base",
        marker={"color": "rgba(0,0,0,0)", "line": {"color": colours, "width": 1.5}},
        hovertemplate="base %{y:.3f}<extra>%{x}</extra>",
    )
    figure.add_bar(
        x=names,
        y=mean.loc[step, shown],
        name=f"step {step}",
        marker={"color": colours},
        hovertemplate=f"step {step} %{{y:.3f}}<extra>%{{x}}</extra>",
    )
    figure.update_layout(barmode="group", bargap=0.3, bargroupgap=0.06, showlegend=False)
    figure.update_yaxes(range=[0, max(0.5, float(mean.to_numpy().max()) * 1.05)])
    return figure


def routing_heatmap(weights: pd.DataFrame, experts: Sequence[str], step: int) -> go.Figure:
    """Weight of every expert at every routing site, at a step.

    A site's top-1 expert has a filled dot; where another one had been, in the base, it has a
    ring.
    """
    at = weights[weights["step"] == step]
    table = at.pivot(index="site", columns="expert", values="weight")
    table = table.reindex(index=list(dict.fromkeys(at["site"])), columns=list(experts))
    figure = blank(max(ROW, 80 + 44 * min(len(table), 6) + 16 * max(len(table) - 6, 0)))
    figure.add_heatmap(
        x=[plain(expert) for expert in table.columns],
        y=[plain(site) for site in table.index],
        z=table,
        zmin=0,
        zmax=1,
        colorscale=[[0, "rgba(47,134,214,0.06)"], [1, "rgba(47,134,214,0.95)"]],
        xgap=2,
        ygap=2,
        showscale=False,
        hovertemplate="%{y}, %{x}: %{z:.3f}<extra></extra>",
    )
    text = _dots(weights, step)
    if table.size <= _NUMBERED:
        text = text.str.cat(at["weight"].map("{:.2f}".format), " ").str.strip()
    dark = at["weight"] > 0.45
    # Text of the theme's own colour is lost on the darkest cells only.
    for cells, font in ((at[~dark], {}), (at[dark], {"color": _PALE})):
        figure.add_scatter(
            x=cells["expert"].map(plain),
            y=cells["site"].map(plain),
            text=text[cells.index],
            mode="text",
            textfont={"size": 11, **font},
            hoverinfo="skip",
            showlegend=False,
        )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(showgrid=False)
    return figure


def _dots(weights: pd.DataFrame, step: int) -> pd.Series:
    """For each weight of a step: ● where its site's top-1 expert is, ○ where the base's was."""

    def leads(step: int) -> pd.Series:
        at = weights[weights["step"] == step]
        place = at.groupby("site", sort=False)["weight"].idxmax()
        return at.index.to_series().isin(place)

    now, before = leads(step), leads(0).to_numpy()
    return now.map({True: "●", False: ""}).mask(~now & before, "○")


def site_changes(weights: pd.DataFrame, experts: Sequence[str]) -> go.Figure:
    """Each routing site's top-1 expert over the steps, named where it changes."""
    place = weights.groupby(["site", "step"], sort=False)["weight"].idxmax()
    top = weights.loc[place].pivot(index="site", columns="step", values="expert")
    top = top.reindex(list(dict.fromkeys(weights["site"])))
    numbers = top.apply(lambda column: column.map(list(experts).index))
    colours = list(expert_colours(experts).values())
    last, width = max(len(experts) - 1, 1), len(top.columns)
    figure = blank(max(140, 84 + 26 * len(top)), x="step")
    sites = [plain(site) for site in top.index]
    figure.add_heatmap(
        x=list(top.columns),
        y=sites,
        z=numbers,
        zmin=-0.5,
        zmax=last + 0.5,
        colorscale=[
            [edge / (last + 1), colour]
            for i, colour in enumerate(colours[: last + 1])
            for edge in (i, i + 1)
        ]
        if len(colours) > 1
        else [[0, colours[0]], [1, colours[0]]],
        customdata=top.map(plain),
        xgap=1,
        ygap=3,
        opacity=0.3,
        showscale=False,
        hovertemplate="%{y}, step %{x}: %{customdata}<extra></extra>",
    )
    begins = top.ne(top.shift(axis=1))
    run = begins.cumsum(axis=1).stack()
    lengths = run.groupby([run.index.get_level_values("site"), run]).size()
    named = begins.stack()
    named = named[named].index
    figure.add_scatter(
        x=[step - 0.44 for _, step in named],
        y=[plain(site) for site, _ in named],
        text=[
            plain(_fitting(top.at[site, step], _LETTERS * lengths[site, run[site, step]] / width))
            for site, step in named
        ],
        mode="text",
        textposition="middle right",
        textfont={"size": 11},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(showgrid=False)
    return _over_steps(figure, int(top.columns.max()), margin=0.5)


def _fitting(name: str, letters: float) -> str:
    """A name, cut where there is no room for all of it."""
    room = int(letters)
    return name if len(name) <= room else f"{name[: room - 1]}…" if room > 1 else ""


def objective_lines(objective: pd.DataFrame) -> go.Figure:
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
    return _over_steps(figure, int(objective["step"].max()))


def answer_lines(answers: pd.DataFrame, right: str | None) -> go.Figure:
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
    return _over_steps(figure, int(table.index.max()))


def answer_bars(answers: pd.DataFrame, right: str | None) -> go.Figure:
    """The answers' probabilities under several routings, side by side.

    Parameters
    ----------
    answers : routing (a strategy's name, or any other text), answer, probability.
    right : the accepted answer.
    """
    routings, names = (list(dict.fromkeys(answers[name])) for name in ("routing", "answer"))
    shown = {a: plain(f"{a} {GLYPHS[True]}" if a == right else str(a)) for a in names}
    figure = blank(80 + 18 * len(names) * len(routings), x="probability")
    for routing in routings:
        rows = answers[answers["routing"] == routing]
        hollow = routing == "base"
        colour, _ = STRATEGY_MARKS.get(routing, (ACCENT, ""))
        figure.add_bar(
            y=[shown[answer] for answer in rows["answer"]],
            x=rows["probability"],
            name=plain(label(routing)),
            orientation="h",
            marker={
                "color": "rgba(0,0,0,0)" if hollow else colour,
                "line": {"color": colour, "width": 1.5},
                "pattern": {"shape": "" if routing in STRATEGY_MARKS else "/"},
            },
            text=[f"{p:.2f}" for p in rows["probability"]],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.3f}",
        )
    figure.update_layout(barmode="group", bargap=0.25)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(range=[0, 1.08], tickvals=[0, 0.25, 0.5, 0.75, 1])
    return figure


def mark_step(figure: go.Figure, step: int) -> go.Figure:
    """Move the mark of the step that the reader looks at; the same figure again."""
    figure.layout.shapes = [
        {
            "type": "line",
            "x0": step,
            "x1": step,
            "y0": 0,
            "y1": 1,
            "yref": "paper",
            "line": {"color": MUTED, "width": 1.5, "dash": "dot"},
        }
    ]
    return figure


def _over_steps(figure: go.Figure, last: int, margin: float = 0.3) -> go.Figure:
    figure.update_xaxes(range=[-margin, last + margin], dtick=1 if last <= 12 else 5)
    return figure


def _mean_weights(weights: pd.DataFrame, experts: Sequence[str]) -> pd.DataFrame:
    mean = weights.groupby(["step", "expert"], sort=False)["weight"].mean().unstack("expert")
    return mean.reindex(columns=list(experts)).sort_index()


def _leading(mean: pd.DataFrame) -> list[str]:
    """The experts to draw, in the model's order."""
    kept = mean.max().nlargest(MOST).index
    return [expert for expert in mean.columns if expert in kept]
