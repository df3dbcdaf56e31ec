"""Where r went, on the plane of the reference set's routing weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float

from r2t2.analysis.maps import top1
from r2t2.figures import trajectory
from r2t2.ui import engine, show
from r2t2.ui.inspection.case import Case
from r2t2.ui.inspection.steps import player


@dataclass(frozen=True)
class Drawn:
    """The figure with what moves in it and what is said below it."""

    figure: go.Figure
    path: pd.DataFrame
    caption: str


def draw(case: Case, name: str) -> Drawn:
    """The map with a strategy's path; the ring is at its last step."""
    frames, experts = case.done[name], case.opened.model.experts
    found = frames.references
    kept = frames.trajectory.setting.references
    plane = engine.plane(case.model, case.reference, kept)

    def on_plane(r: Float[np.ndarray, "rows sites experts"]) -> pd.DataFrame:
        return pd.DataFrame(plane(r.reshape(len(r), -1)), columns=["x", "y"])

    references = on_plane(found.r).assign(expert=top1(found.r, frames.sites))
    near = frames.neighbours
    lit = references.iloc[near["reference"]] if len(near) else references.head(0)
    text = near["question"] + " " + near["label"].astype(str) if len(near) else ""
    path = on_plane(frames.r)
    path.insert(0, "step", range(len(path)))
    others = [other for other in case.moved if other != name]
    last = np.array([case.done[other].r[-1] for other in others]).reshape(-1, *frames.r.shape[1:])
    ends = on_plane(last).assign(strategy=others)
    first, second = (f"{share:.0%}" for share in plane.explained)
    figure = trajectory.routing_map(
        references,
        lit.assign(text=np.asarray(text)),
        path,
        ends,
        experts,
        (f"first principal axis ({first})", f"second principal axis ({second})"),
    )
    of_all = len(range(0, len(found), -(-len(found) // trajectory.MOST_REFERENCES)))
    part = "" if of_all == len(found) else f" ({of_all:,} of them drawn)"
    return Drawn(
        figure,
        path,
        f"The {len(found):,} references{part}, coloured by their top-1 expert, on the plane in "
        f"which their routing weights differ most: it holds {plane.explained.sum():.0%} of their "
        "variance (principal component analysis), so points that lie together here may still "
        "differ. Arrows are the strategy's steps from the base's r, the ring is the step looked "
        "at, single marks are where other strategies ended.",
    )


def section(case: Case, name: str) -> None:
    """The map at a step."""
    drawn = draw(case, name)

    def at(step: int) -> None:
        figure = trajectory.mark_step(drawn.figure, drawn.path, step)
        show.figure(figure, drawn.path, "where", drawn.caption)

    player(case.done[name].trajectory.steps, at)
