"""The sample and what each strategy answers."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from r2t2 import cards
from r2t2.figures import style
from r2t2.samples import Sample
from r2t2.ui import engine
from r2t2.ui.engine import Ask, Typed
from r2t2.ui.inspection.case import Case

NOTE = (
    "In brackets: points against base. Passes: forward + backward, of one sample through the "
    "routed part of the model (paper: table 4)."
)


def facts(ask: Ask, sample: Sample) -> dict[str, str]:
    """What is known of a sample."""
    return {
        "label": sample.label or "",
        "choices": ", ".join(sample.choices),
        "type": sample.category,
        "sample": "" if isinstance(ask, Typed) else sample.id,
    }


def made(case: Case) -> Sequence[cards.Card]:
    """A card for each strategy that was run."""
    from r2t2.contract import top1

    model, sample, shown = case.opened.model, case.sample, []
    colours = style.expert_colours(model.experts)
    for name, frames in case.done.items():
        moved = frames.trajectory
        [(answer, confidence)] = moved.answers[-1].top(1)[0]
        expert = model.experts[int(top1(moved.r[0, -1], model.sites))]
        shown.append(
            cards.Card(
                name=style.label(name).removesuffix(" (reads the label)"),
                answer=answer,
                confidence=confidence,
                correct=sample.is_correct(answer) if sample.label else None,
                changed=answer != moved.answers[0].texts[0],
                expert=expert,
                colour=colours[expert],
                passes=(int(moved.cost.forward[0]), int(moved.cost.backward[0])),
                milliseconds=1000 * moved.cost.seconds,
                reads_label=moved.setting.reads_label,
            )
        )
    return shown


def section(case: Case) -> None:
    """The cards, base first."""
    st.html(cards.grid(made(case)))
    unlabelled = "oracle" in case.chosen.names and case.sample.label is None
    st.caption(NOTE + (" The oracle needs a label." if unlabelled else ""))


def picture(ask: Ask) -> None:
    """A sample's picture, as the page shows it."""
    shown = engine.preview(ask.picture) if isinstance(ask, Typed) else engine.thumbnail(ask, 256)
    st.image(shown, width="stretch", alt="The sample's picture")
