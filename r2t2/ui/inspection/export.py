"""An inspection as one HTML file."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import streamlit as st

from r2t2 import cards, report
from r2t2.figures import routing, style
from r2t2.ui.inspection import answers, neighbours, space, steps
from r2t2.ui.inspection.case import Case

NEIGHBOURS = 8


def button(case: Case, name: str) -> None:
    """Download the inspection; the file is made when it is asked for."""
    st.download_button(
        "Export as HTML",
        lambda: written(case, name).encode(),
        f"r2t2-{case.sample.id}.html",
        "text/html",
        icon=":material/download:",
        help="Everything on this page in one file that needs no network.",
        on_click="ignore",
        key="export",
    )


def written(case: Case, name: str) -> str:
    """The inspection with the figures of one strategy.

    Parameters
    ----------
    name : of the strategy whose steps, neighbours and path are shown.
    """
    return report.page(
        "R2-T2 inspection",
        [
            head(case),
            report.heading("Answers"),
            cards.grid(answers.made(case)),
            f"<p>{cards.escape(answers.NOTE)}</p>",
            report.heading(f"{style.label(name)}, step by step"),
            *stepwise(case, name),
            report.heading(f"Neighbours of {style.label(name)}"),
            near(case, name),
            report.heading("Where r went"),
            where(case, name),
            report.heading("Settings"),
            report.table(settings(case)),
        ],
    )


def head(case: Case) -> str:
    """The sample, and what it was shown to, and when."""
    built = case.opened.reference.manifest
    model = case.opened.model
    of = {
        "model": f"{model.name}, fingerprint {model.fingerprint}",
        "reference set": f"{built['dataset']}, seed {built['seed']}, embedder "
        f"{built['embedder']}, fingerprint {case.opened.reference.fingerprint}",
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    told = cards.rows({name: cards.escape(value) for name, value in of.items()})
    notice = f"<p>{cards.escape(model.notice)}</p>" if model.notice else ""
    asked = cards.question(case.sample.question, answers.facts(case.ask, case.sample))
    return (
        f'<div class="r2-head"><div>{cards.picture(case.sample.image, 512)}</div>'
        f"<div>{asked}{told}{notice}</div></div>"
    )


def stepwise(case: Case, name: str) -> list[str]:
    """The figures over all steps, and the weights at the last one."""
    frames, experts = case.done[name], case.opened.model.experts
    last = frames.trajectory.steps
    drawn = {
        "routing": (
            routing.routing_bars(frames.weights, experts, last),
            f"Mean weight over the routing sites: base (outline) and step {last} (filled).",
        ),
        "sites": (
            routing.routing_heatmap(frames.weights, experts, last),
            f"r at step {last}, site by site. ● is the top-1 expert, ○ what it was in the base.",
        ),
    } | {
        kind: (figure, steps.CAPTIONS[kind])
        for kind, (figure, _) in steps.over_steps(case, frames).items()
    }
    return [report.beside([report.figure(f, kind, said) for kind, (f, said) in drawn.items()])]


def near(case: Case, name: str) -> str:
    """The nearest references with their pictures, and a table of all."""
    frames = case.done[name]
    table = neighbours.listed(case, frames)
    if table.empty:
        return "<p>None.</p>"
    shown = [
        f'<div class="r2-card">{cards.picture(case.opened.dataset[row["position"]].image)}'
        f"{neighbours.told(frames, row)}</div>"
        for row in table.head(NEIGHBOURS).to_dict("records")
    ]
    whole = report.table(table.drop(columns="reference"), neighbours.CAPTION)
    return report.beside(shown, least=220) + whole


def where(case: Case, name: str) -> str:
    """The path on the plane of the reference set's routings."""
    drawn = space.draw(case, name)
    return report.figure(drawn.figure, "where", drawn.caption)


def settings(case: Case) -> pd.DataFrame:
    """Every option that counts, a column for each strategy."""
    options = {
        style.label(name): {
            option.replace("_", " "): str(value)
            for option, value in frames.trajectory.setting.options.items()
        }
        for name, frames in case.done.items()
    }
    return pd.DataFrame(options).fillna("").rename_axis("option").reset_index()
