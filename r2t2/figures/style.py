"""One palette and one template for all figures.

Text and grid lines take the colours of the page's theme, backgrounds are transparent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
    "kernel_regression_amortised": "Kernel regression, amortised",
    "ngd_amortised": "NGD, amortised",
    "uniform": "Uniform r",
    "constant": "Best constant r",
    "finetuned_router": "Fine-tuned router",
    "ngd_random_neighbours": "NGD, random neighbours",
    "ngd_same_type_neighbours": "NGD, same-type neighbours",
    "ngd_paper": "NGD, paper's setting",
}
STRATEGY_MARKS = {
    "base": (MUTED, "line-ns-open"),
    "mode_finding": ("#96B700", "triangle-up"),
    "kernel_regression": ("#D27000", "square"),
    "ngd": ("#0A7BD0", "circle"),
    "oracle": (MUTED, "diamond-open"),
    "kernel_regression_amortised": ("#D27000", "square-x-open"),
    "ngd_amortised": ("#0A7BD0", "circle-x-open"),
}
# Height of the figures of one row of the page, in pixels.
ROW = 260
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")

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
    """A strategy's or a variant's name as it is shown: "ngd[k=5,steps=3]" is NGD (k 5, steps 3)."""
    name, _, changes = strategy.partition("[")
    shown = LABELS.get(name, name)
    if not changes:
        return shown
    listed = changes.rstrip("]").replace("=", " ").replace("_", " ").replace(",", ", ")
    return f"{shown} ({listed})"


def modebar(name: str, selects: bool = False) -> dict[str, Any]:
    """Plotly's `config`: a quiet bar whose camera saves the figure under a name of its own.

    Parameters
    ----------
    selects : whether points can be selected with a box or a lasso.
    """
    ways = [] if selects else ["select2d", "lasso2d"]
    return {
        "displaylogo": False,
        "modeBarButtonsToRemove": [*ways, "autoScale2d", "zoomIn2d", "zoomOut2d"],
        "toImageButtonOptions": {"format": "png", "filename": f"r2t2-{name}", "scale": 3},
    }


def blank(height: int, x: str = "", y: str = "") -> go.Figure:
    """An empty figure of a height in pixels, with titles of its axes."""
    axis = {"automargin": True, "zeroline": False, "fixedrange": True}
    # In one go: each update of a figure is checked against all of plotly's schema.
    return go.Figure(
        layout={
            "template": TEMPLATE,
            "height": height,
            "margin": {"l": 8, "r": 8, "t": 28, "b": 8},
            "legend": {
                "orientation": "h",
                "y": 1.02,
                "yanchor": "bottom",
                "x": 0,
                "font": {"size": 11},
            },
            "hoverlabel": {"font": {"size": 12}},
            "xaxis": {**axis, "title": {"text": x or None}},
            "yaxis": {**axis, "title": {"text": y or None}},
        }
    )


def plain(text: str) -> str:
    """Plotly reads a little HTML in names; a text of a user's is shown as it was typed."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
