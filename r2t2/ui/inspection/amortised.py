"""One sample re-routed on exact and on fitted losses of its neighbours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import streamlit as st

from r2t2.analysis.pairs import distances
from r2t2.figures import amortised as figures
from r2t2.figures.style import GLYPHS, label
from r2t2.rerouting.settings import SURE, Setting
from r2t2.ui import engine, show
from r2t2.ui.frames import Frames
from r2t2.ui.inspection.case import Case


def section(case: Case, name: str) -> None:
    """What the fit saves on this sample, and what it changes."""
    setting = case.done[name].trajectory.setting
    if setting.algorithm not in ("ngd", "kernel_regression"):
        st.write(
            f"{label(name)} asks for no losses of neighbours at its steps, so there is nothing to "
            "read off a fit. Choose NGD or kernel regression."
        )
        return
    fitted = replace(setting, losses="fitted", sure=0.0)
    if why := case.opened.lacking(fitted):
        st.write(
            "Neighbours' losses can be read off functions of r that are fitted once per reference "
            "set; then a sample takes two passes. Here that is not possible:"
        )
        st.text(why)
        return
    exact = replace(setting, losses="exact")
    try:
        with st.spinner("Exact and amortised …", show_time=True):
            both = {"exact": case.frames(exact), "amortised": case.frames(fitted)}
            judged = engine.judged(case.model, case.reference, case.ask, fitted)
    except ValueError as error:
        show.failure(error)
        return
    if both["exact"].neighbours.empty:
        st.write("No reference lies in the neighbourhood, so r stays the base's either way.")
        return
    verdict(both)
    left, right = st.columns([2, 3], gap="large")
    with left:
        costs(both, judged)
    with right:
        objective(both, judged)
    neighbours(case, both, exact)


def verdict(both: dict[str, Frames]) -> None:
    """Whether the two end at the same answer, how far apart they route, and which would stand."""
    answers = [frames.trajectory.answers[-1].texts[0] for frames in both.values()]
    ends = [frames.r[-1:] for frames in both.values()]
    same = answers[0] == answers[1]
    st.markdown(
        f"**{GLYPHS[same]} {'The same answer' if same else 'Another answer'}**, and routing "
        f"weights that are {float(distances(*ends).mean()):.3f} apart (total variation, mean over "
        "the sites: 0 is the same routing, 1 means that no expert is shared). "
        + (
            f"The amortised answer would stand with `sure` at {SURE}."
            if float(both["amortised"].trajectory.answers[-1].confidence) >= SURE
            else f"With `sure` at {SURE} the amortised answer, of which the model is less sure, "
            "would be put aside for the exact one."
        )
    )


def costs(both: dict[str, Frames], judged: np.ndarray) -> None:
    """What either way answered, what it cost, and where it ended."""
    ends = {"exact": both["exact"].objective["objective"].iloc[-1], "amortised": judged[-1]}
    shown = {"": ["answer", "confidence", "passes", "time", "L(r)"]}
    for way, frames in both.items():
        moved = frames.trajectory
        [(answer, confidence)] = moved.answers[-1].top(1)[0]
        shown[way] = [
            answer,
            f"{confidence:.0%}",
            f"{int(moved.cost.forward[0])} + {int(moved.cost.backward[0])}",
            f"{1000 * moved.cost.seconds:.0f} ms",
            show.number(ends[way], 3),
        ]
    show.table(
        pd.DataFrame(shown),
        "amortised-costs",
        "Passes: forward + backward, of one sample through the routed part of the model. L(r): "
        "the neighbours' exact weighted loss (eq. 3) where either way ends, in nats.",
        height="content",
    )


def objective(both: dict[str, Frames], judged: np.ndarray) -> None:
    """What either way minimises, step by step."""
    lines = both["exact"].objective.rename(columns={"objective": "exact"})
    lines["fitted"] = both["amortised"].objective["objective"].to_numpy()
    lines["judged"] = judged
    show.figure(
        figures.objective_pairs(lines),
        lines,
        "amortised-objective",
        "The neighbours' weighted loss (eq. 3). Where the two blue lines part, the fit errs; where "
        "the solid one stays above the grey one, it has cost something.",
    )


def neighbours(case: Case, both: dict[str, Frames], exact: Setting) -> None:
    """Each neighbour's exact and fitted loss where the descent begins."""
    table = both["exact"].neighbours
    found, fit = both["exact"].trajectory.neighbours, case.opened.fitted
    assert found is not None
    rows = case.opened.rows(found.index[0][found.present[0]], exact)
    error, trusted = fit.error[rows].numpy(), fit.trusted[rows].numpy()
    shown = pd.DataFrame(
        {
            "question": table["question"],
            "label": table["label"].astype(str),
            "weight": table["weight"],
            "exact loss": table["loss before"],
            "fitted loss": both["amortised"].neighbours["loss before"],
            "mean error": error,
            "read off": np.where(trusted, "fit", "model"),
        }
    )
    number = st.column_config.NumberColumn
    show.table(
        shown,
        "amortised-neighbours",
        "Losses in nats under the router's own r. The mean error is that of the neighbour's fit at "
        "routings on descents that it was not fitted to; beyond "
        f"{fit.manifest['threshold']:.1f} nats the model computes the loss itself.",
        height="content",
        column_config={
            name: number(format="%.3f")
            for name in ("weight", "exact loss", "fitted loss", "mean error")
        },
    )
