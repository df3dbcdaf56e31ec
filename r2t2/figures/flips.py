"""Figures of correctness over the steps: what turns right, what turns wrong, and when.

The first of a point's customdata names the samples that it stands for, where a click lists them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import pandas as pd
import plotly.graph_objects as go

from r2t2.figures.style import (
    ACCENT,
    CORRECT,
    GLYPHS,
    MUTED,
    WRONG,
    blank,
    label,
    plain,
)

Unit = Literal["share", "samples"]
TALL = 400
# Outcome -> its colour, and the pattern (with its colour) that tells it apart without.
_LOOKS = {
    "wrong to right": (CORRECT, "", CORRECT),
    "right to wrong": (WRONG, "/", "#ffffff"),
    "stayed right": ("rgba(31,158,128,0.35)", ".", CORRECT),
    "stayed wrong": ("rgba(214,69,93,0.35)", "x", WRONG),
}
# The outcomes in the order of figures that show each of them, and of those that show flips alone.
OUTCOMES = tuple(_LOOKS)
FLIPS = OUTCOMES[:2]
_CONTROL_SYMBOLS = {
    "uniform": "circle-open",
    "constant": "square-open",
    "ngd_random_neighbours": "diamond-open",
    "ngd_same_type_neighbours": "x-thin-open",
}


def outcome_label(outcome: str) -> str:
    """An outcome as it is shown: "✗ → ✓ wrong to right"."""
    before, after = ends_of(outcome)
    return f"{GLYPHS[before]} → {GLYPHS[after]} {outcome}"


def ends_of(outcome: str) -> tuple[bool, bool]:
    """Whether the answer is right before and after, of one of `analysis.results.OUTCOMES`."""
    first, _, rest = outcome.partition(" ")
    after = rest.removeprefix("to ") == "right"
    return (after if first == "stayed" else first == "right"), after


def stage_names(steps: Sequence[int]) -> dict[int, str]:
    """What steps are called where they stand beside each other."""
    if len(steps) == 2:
        return dict(zip(steps, ("before", "after"), strict=True))
    return {step: f"step {step}" for step in steps}


def between(outcome: str, before: str, after: str) -> str:
    """What happened between two stages, in words."""
    return f"{outcome}, {before} to {after}"


def at(right: bool, stage: str) -> str:
    """What was so at a stage, in words."""
    return f"{'right' if right else 'wrong'}, {stage}"


def over_steps(table: pd.DataFrame, unit: Unit, paper: pd.DataFrame | None = None) -> go.Figure:
    """Answers turned right and turned wrong by each step (figure 5), above the accuracy.

    Parameters
    ----------
    table : `analysis.flips.over_steps`.
    unit : "share" of base's wrong and of its right answers in percent, or "samples".
    paper : outcome, step, share: the paper's own figures, to be marked as such.
    """
    figure = blank(TALL)
    suffix, form = ("_share", ".1f") if unit == "share" else ("", ",d")
    base, *later = stage_names(list(table["step"])).values()
    for outcome, symbol in zip(FLIPS, ("circle", "x"), strict=True):
        colour = _LOOKS[outcome][0]
        values = table[outcome.replace(" ", "_") + suffix]
        figure.add_scatter(
            x=table["step"],
            y=values,
            name=outcome_label(outcome),
            mode="lines+markers+text",
            line={"color": colour, "width": 2.5},
            marker={"size": 7, "symbol": symbol},
            text=_at_end(values, form),
            textposition="top center",
            textfont={"color": colour},
            cliponaxis=False,
            customdata=[[None], *([between(outcome, base, name)] for name in later)],
            hovertemplate=f"step %{{x}}: %{{y:{form}}} {'%' if unit == 'share' else 'samples'}",
        )
    if paper is not None and unit == "share":
        _mark_paper(figure, paper)
    _above_accuracy(figure, "% of wrong / right" if unit == "share" else "samples", table)
    return _step_axis(figure, table["step"])


def alluvial(flows: pd.DataFrame) -> go.Figure:
    """Correctness at some steps and what flows between them.

    Parameters
    ----------
    flows : from_step, to_step, outcome, n (`analysis.flips.flows`).
    """
    before, after = zip(*flows["outcome"].map(ends_of), strict=True)
    sources = list(zip(flows["from_step"], before, strict=True))
    targets = list(zip(flows["to_step"], after, strict=True))
    held = _held(sources, targets, flows["n"])
    nodes = sorted(held, key=lambda node: (node[0], not node[1]))
    steps = sorted({step for step, _ in nodes})
    names = stage_names(steps)
    total = sum(n for (step, _), n in held.items() if step == steps[0])
    figure = blank(TALL)
    figure.add_sankey(
        arrangement="fixed",
        node={
            "color": [CORRECT if right else WRONG for _, right in nodes],
            "x": [0.001 + 0.998 * steps.index(step) / (len(steps) - 1) for step, _ in nodes],
            "y": [_middle(held[node] / total, node[1]) for node in nodes],
            "pad": 14,
            "thickness": 12,
            "line": {"width": 0},
            "customdata": [[at(right, names[step])] for step, right in nodes],
            "hovertemplate": "%{customdata[0]}: %{value:,d}<extra></extra>",
        },
        link={
            "source": [nodes.index(node) for node in sources],
            "target": [nodes.index(node) for node in targets],
            "value": flows["n"],
            "color": [_faint(outcome) for outcome in flows["outcome"]],
            "customdata": [
                [between(outcome, names[a], names[b])]
                for a, b, outcome in flows[["from_step", "to_step", "outcome"]].itertuples(
                    index=False
                )
            ],
            "hovertemplate": "%{customdata[0]}: %{value:,d}<extra></extra>",
        },
    )
    for i, (step, name) in enumerate(names.items()):
        shown = name.removeprefix("step ") if i else name
        counts = [f"{GLYPHS[right]} {held.get((step, right), 0):,}" for right in (True, False)]
        # Beside the nodes there is no room for their numbers on a narrow page.
        for y, side, text in ((1, "bottom", f"{shown}<br>{counts[0]}"), (0, "top", counts[1])):
            figure.add_annotation(
                x=i / (len(steps) - 1),
                xanchor=_anchor(i, len(steps)),
                y=y,
                yanchor=side,
                text=text,
                showarrow=False,
                font={"size": 11},
            )
    figure.update_layout(margin={"t": 40, "b": 28})
    return figure


def settling(table: pd.DataFrame, steps: pd.DataFrame) -> go.Figure:
    """When final answers are reached for good, above the accuracy if all stopped at a step.

    Parameters
    ----------
    table : settled, outcome, n (`analysis.flips.settling`).
    steps : step, accuracy, gain (`analysis.flips.over_steps`).
    """
    figure = blank(TALL)
    for outcome in OUTCOMES:
        rows = table[table["outcome"] == outcome]
        figure.add_bar(
            x=rows["settled"],
            y=rows["n"],
            name=outcome_label(outcome),
            marker=_bar(outcome),
            customdata=[[outcome, int(step)] for step in rows["settled"]],
            hovertemplate="step %{x}: %{y:,d} samples",
        )
    _above_accuracy(figure, "samples", steps)
    figure.update_layout(barmode="stack", bargap=0.25, legend={"traceorder": "normal"})
    return _step_axis(figure, steps["step"])


def turns(table: pd.DataFrame) -> go.Figure:
    """How many answers each step turns right (up) and wrong (down).

    Parameters
    ----------
    table : step, turned_right, turned_wrong (`analysis.flips.over_steps`).
    """
    rows = table[table["step"] > 0]
    stages = list(pairwise(stage_names(list(table["step"])).values()))
    figure = blank(TALL, y="samples per step")
    for outcome, column, sign in zip(FLIPS, ("turned_right", "turned_wrong"), (1, -1), strict=True):
        figure.add_bar(
            x=rows["step"],
            y=sign * rows[column],
            name=outcome_label(outcome),
            marker=_bar(outcome),
            customdata=[
                [between(outcome, *ends), n] for ends, n in zip(stages, rows[column], strict=True)
            ],
            hovertemplate="step %{x}: %{customdata[1]:,d} samples",
        )
    figure.update_layout(barmode="relative", bargap=0.25)
    figure.update_yaxes(zeroline=True, zerolinecolor=MUTED, zerolinewidth=1)
    return _step_axis(figure, rows["step"])


def wavering(table: pd.DataFrame) -> go.Figure:
    """How many samples flip back and forth, by how often they do and by where they end.

    Parameters
    ----------
    table : changes, correct, n (`analysis.flips.wavering`).
    """
    figure = blank(TALL, x="changes of correctness", y="samples")
    for right, outcome in zip((True, False), FLIPS, strict=True):
        rows = table[table["correct"] == right]
        figure.add_bar(
            x=rows["changes"],
            y=rows["n"],
            name=f"{GLYPHS[right]} ends {'right' if right else 'wrong'}",
            marker=_bar(outcome),
            texttemplate="%{y:,d}",
            textposition="outside",
            cliponaxis=False,
            customdata=[[str(int(changes)), right] for changes in rows["changes"]],
            hovertemplate="%{x} changes: %{y:,d} samples",
        )
    figure.update_layout(barmode="group", bargap=0.3)
    figure.update_xaxes(dtick=1)
    return figure


def confidence_changes(table: pd.DataFrame) -> go.Figure:
    """Histograms of how far confidence moved, one above the other by outcome.

    Parameters
    ----------
    table : outcome, low, high, n, share (`analysis.flips.confidence_changes`).
    """
    outcomes = [name for name in OUTCOMES if name in set(table["outcome"])]
    figure = blank(60 + 105 * len(outcomes))
    for i, outcome in enumerate(outcomes):
        rows = table[table["outcome"] == outcome]
        axis = "y" if i == 0 else f"y{i + 1}"
        top = 1 - i / len(outcomes)
        figure.add_bar(
            x=(rows["low"] + rows["high"]) / 2,
            y=rows["n"],
            width=rows["high"] - rows["low"],
            yaxis=axis,
            marker={**_bar(outcome), "line": {"width": 0}},
            customdata=rows[["outcome", "low", "high", "share"]].astype(object),
            hovertemplate="%{customdata[1]:+d} to %{customdata[2]:+d} points: %{y:,d} samples"
            "<br>(%{customdata[3]:.1f} % of this outcome)<extra></extra>",
        )
        figure.add_annotation(
            x=0,
            xref="paper",
            y=top,
            yref="paper",
            yanchor="top",
            text=f"{outcome_label(outcome)} · {rows['n'].sum():,}",
            showarrow=False,
        )
        figure.layout["yaxis" + axis[1:]] = {
            "domain": [top - 0.82 / len(outcomes), top - 0.2 / len(outcomes)],
            "anchor": "x",
            "nticks": 3,
            "fixedrange": True,
            "zeroline": False,
            "automargin": True,
        }
    figure.add_vline(0, line={"color": MUTED, "width": 1, "dash": "dot"})
    figure.update_layout(showlegend=False, margin={"t": 8})
    figure.update_xaxes(
        title="change of confidence, points", range=[-101, 101], dtick=25, anchor="free", position=0
    )
    return figure


def by_benchmark(table: pd.DataFrame, strategy: str, benchmarks: Sequence[str]) -> go.Figure:
    """What a strategy turns right and wrong on each benchmark, with what its controls do.

    Parameters
    ----------
    table : benchmark, strategy, gained, lost, gain (`analysis.flips.turned`).
    strategy : whose bars are drawn, in two traces (turned right, turned wrong); all others are
        the four controls that a gain is held against, drawn as marks.
    benchmarks : from the top down.
    """
    place = {plain(name): i for i, name in enumerate(benchmarks)}
    table = table.assign(benchmark=table["benchmark"].astype(str).map(plain))
    figure = blank(130 + 38 * len(place), x="points: percent of all samples")
    own = table[table["strategy"] == strategy].set_index("benchmark").loc[list(place)]
    said = "%{customdata[1]}: %{x:+.1f} points (net %{customdata[2]:+.1f})"
    for outcome, turned in zip(FLIPS, (own["gained"], -own["lost"]), strict=True):
        figure.add_bar(
            x=turned,
            y=list(place.values()),
            orientation="h",
            name=outcome_label(outcome),
            # Marks lie on it.
            marker={**_bar(outcome), "opacity": 0.4},
            width=0.6,
            customdata=[[outcome, name, gain] for name, gain in own["gain"].items()],
            hovertemplate=said,
        )
    controls = [name for name in dict.fromkeys(table["strategy"]) if name != strategy]
    for i, name in enumerate(controls):
        rows = table[table["strategy"] == name]
        shift = (i - (len(controls) - 1) / 2) * 0.16
        figure.add_scatter(
            x=pd.concat([rows["gained"], -rows["lost"]]),
            y=2 * [place[benchmark] + shift for benchmark in rows["benchmark"]],
            name=label(name),
            mode="markers",
            marker={
                "symbol": _CONTROL_SYMBOLS[name],
                "size": 7,
                "color": MUTED,
                "line": {"width": 1.5, "color": MUTED},
            },
            customdata=2
            * [[None, *row] for row in rows[["benchmark", "gain"]].itertuples(index=False)],
            hovertemplate=said,
        )
    figure.update_layout(barmode="overlay")
    figure.update_yaxes(tickvals=list(place.values()), ticktext=list(place), autorange="reversed")
    figure.update_xaxes(zeroline=True, zerolinecolor=MUTED, zerolinewidth=1)
    return figure


def _bar(outcome: str) -> dict[str, Any]:
    colour, shape, drawn = _LOOKS[outcome]
    return {
        "color": colour,
        "pattern": {
            "shape": shape,
            "fgcolor": drawn,
            "fillmode": "overlay",
            "size": 6,
            "solidity": 0.3,
        },
    }


def _faint(outcome: str) -> str:
    """A link's colour: flips stand out from what stays."""
    colour = CORRECT if ends_of(outcome)[1] else WRONG
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{0.18 if outcome.startswith('stayed') else 0.8})"


def _held(
    sources: Sequence[tuple[int, bool]], targets: Sequence[tuple[int, bool]], n: pd.Series
) -> dict[tuple[int, bool], int]:
    """Samples in each node: what leaves it, or at the last step what arrives."""
    last = max(step for step, _ in targets)
    held: dict[tuple[int, bool], int] = {}
    for source, target, count in zip(sources, targets, n, strict=True):
        ends = [source, target] if target[0] == last else [source]
        for node in ends:
            held[node] = held.get(node, 0) + int(count)
    return held


def _middle(share: float, right: bool) -> float:
    """The middle of a node's height: right ones hang from the top, wrong ones stand below."""
    return min(max(share / 2 if right else 1 - share / 2, 0.001), 0.999)


def _anchor(place: int, places: int) -> str:
    return "left" if place == 0 else "right" if place == places - 1 else "center"


def _mark_paper(figure: go.Figure, paper: pd.DataFrame) -> None:
    figure.add_scatter(
        x=paper["step"],
        y=paper["share"],
        name="the paper's: MoAI on CVBench",
        mode="markers",
        customdata=[[None]] * len(paper),
        marker={
            "symbol": "star-open",
            "size": 11,
            "color": [_LOOKS[outcome][0] for outcome in paper["outcome"]],
            "line": {"width": 1.5},
        },
        hovertemplate="step %{x}: %{y:.2f} %",
    )


def _at_end(values: pd.Series, form: str) -> list[str]:
    """A line's labels: its last value, where it has one."""
    last = values.iloc[-1]
    return [""] * (len(values) - 1) + ["" if pd.isna(last) else format(last, form)]


def _above_accuracy(figure: go.Figure, title: str, table: pd.DataFrame) -> None:
    """Put what is drawn above a panel with the accuracy at each step, base's dotted."""
    figure.add_scatter(
        x=table["step"],
        y=table["accuracy"],
        name="accuracy",
        yaxis="y2",
        mode="lines+markers",
        showlegend=False,
        line={"color": ACCENT, "width": 2},
        marker={"size": 5},
        customdata=[[None, gain] for gain in table["gain"]],
        hovertemplate="step %{x}: %{y:.1f} % (net %{customdata[1]:+.1f} points)",
    )
    last, risen = table.iloc[-1], table["gain"].iloc[-1] >= 0
    figure.add_annotation(
        x=last["step"],
        y=last["accuracy"],
        yref="y2",
        text=f"net {last['gain']:+.1f} points".replace("-", "−"),
        showarrow=False,
        xanchor="right",
        yanchor="bottom" if risen else "top",
        yshift=4 if risen else -4,
        font={"color": ACCENT},
    )
    base = table["accuracy"].iloc[0]
    dotted = {"color": MUTED, "width": 1, "dash": "dot"}
    figure.add_shape(
        type="line", xref="x domain", x0=0, x1=1, yref="y2", y0=base, y1=base, line=dotted
    )
    shared = {"zeroline": False, "automargin": True, "fixedrange": True}
    figure.update_layout(
        yaxis={**shared, "domain": [0.4, 1], "title": title, "rangemode": "tozero"},
        yaxis2={**shared, "domain": [0, 0.3], "title": "accuracy, %", "anchor": "x"},
        xaxis={"anchor": "y2"},
    )


def _step_axis(figure: go.Figure, steps: pd.Series) -> go.Figure:
    last = int(steps.max())
    figure.update_xaxes(
        title="step", range=[int(steps.min()) - 0.5, last + 0.5], dtick=1 if last <= 12 else 5
    )
    return figure
