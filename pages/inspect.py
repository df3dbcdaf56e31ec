"""Inspect: one sample, every strategy side by side, its neighbours, its routing step by step."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from r2t2.data.world import BENCHMARKS
from r2t2.figures import routing, style
from r2t2.rerouting.settings import COMPARED
from r2t2.samples import Sample
from r2t2.ui import engine, scenes, settings, show
from r2t2.ui.engine import Ask, Picked, Typed
from r2t2.ui.state import bound, framed, put

if TYPE_CHECKING:
    from r2t2.engine import Engine
    from r2t2.rerouting.trajectory import Trajectory

SOURCES = ("Benchmark", "Upload", "Build a scene")
QUESTION_LIMIT = 300
STRIP = 6
PICTURES = 10


def choose(model: str) -> Ask | None:
    """What is asked, by any of the sources; None while something is missing."""
    source = st.segmented_control(
        "Source",
        SOURCES,
        default=SOURCES[0],
        required=True,
        label_visibility="collapsed",
        **bound("source"),
    )
    if source == "Benchmark":
        return pick(engine.default_seed(model))
    return upload(model) if source == "Upload" else build()


def pick(seed: int) -> Picked:
    """A sample of a benchmark, with the strip of samples that it lies in."""
    left, middle, right, buttons = st.columns([3, 2, 2, 3], vertical_alignment="bottom")
    name = left.selectbox("Benchmark", [*BENCHMARKS, "dev"], **bound("benchmark"))
    drawn = middle.number_input(
        "Seed", 0, 2**31, seed, help="What the samples are drawn from.", **bound("seed")
    )
    size = len(engine.benchmark(name, drawn))
    position = right.number_input(f"Sample, 0 to {size - 1}", 0, size - 1, 0, **bound("sample"))
    with buttons.container(horizontal=True, gap="small"):
        st.button(
            "",
            icon=":material/chevron_left:",
            help="Previous sample",
            key="previous",
            on_click=put,
            kwargs={"sample": (position - 1) % size},
        )
        st.button(
            "",
            icon=":material/chevron_right:",
            help="Next sample",
            key="next",
            on_click=put,
            kwargs={"sample": (position + 1) % size},
        )
        st.button(
            "Random",
            icon=":material/shuffle:",
            key="random",
            on_click=lambda: put(sample=random.randrange(size)),  # noqa: S311
        )
    first = position // STRIP * STRIP
    for column, other in zip(
        st.columns(STRIP, wrap=False, gap="xsmall"),
        range(first, min(first + STRIP, size)),
        strict=False,
    ):
        column.image(engine.thumbnail(Picked(name, drawn, other)), width="stretch", alt="")
        column.button(
            str(other),
            key=f"strip-{other - first}",
            width="stretch",
            type="primary" if other == position else "tertiary",
            on_click=put,
            kwargs={"sample": other},
        )
    return Picked(name, drawn, position)


def upload(model: str) -> Typed | None:
    """A picture from outside with a question."""
    left, right = st.columns(2, gap="large")
    file = left.file_uploader(
        "Picture (PNG, JPEG or WebP; at most 20 MB and 40 million pixels)",
        type=["png", "jpg", "jpeg", "webp"],
    )
    with right:
        asked = ask_for("upload")
    with st.expander("No picture at hand? Scenes to download and upload again"):
        scenes.gallery("general", engine.default_seed(model))
    if file is None:
        st.caption("Waiting for a picture and a question. Uploads stay out of the address.")
        return None
    try:
        engine.preview(file.getvalue())
    except ValueError as error:
        st.error(f"This picture cannot be used: {error}.", icon=":material/broken_image:")
        return None
    return asked and Typed(file.getvalue(), *asked)


def build() -> Typed | None:
    """A scene of one's own with a question."""
    picture = scenes.builder()
    asked = ask_for("scene")
    return Typed(picture, *asked, origin="scene") if picture and asked else None


def ask_for(key: str) -> tuple[str, str, tuple[str, ...]] | None:
    """A question, its label and its choices as typed; None without a question."""
    question = st.text_input(
        "Question",
        max_chars=QUESTION_LIMIT,
        key=f"{key}-question",
        placeholder="what color is the ball?",
    )
    left, right = st.columns(2)
    label = left.text_input(
        "Label (optional)",
        max_chars=60,
        key=f"{key}-label",
        help="The right answer. It marks answers correct or wrong, and the oracle needs it.",
    )
    choices = right.text_input(
        "Choices (optional)",
        max_chars=QUESTION_LIMIT,
        key=f"{key}-choices",
        help="Separated by commas; the model answers with one of them.",
    )
    if not question.strip():
        return None
    options = tuple(choice.strip() for choice in choices.split(",") if choice.strip())
    return question, label.strip(), options


def compare(
    model: str, reference: str | None, ask: Ask, chosen: settings.Chosen
) -> dict[str, Trajectory]:
    """Run every strategy that can be run; says why where one cannot."""
    done = {}
    for name in COMPARED:
        setting = chosen.strategy(name)
        if setting.reads_label and ask.sample().label is None:
            continue
        try:
            done[name] = engine.trajectory(model, reference, ask, setting)
        except ValueError as error:
            st.warning(f"{style.label(name)}: not possible.")
            st.text(str(error))
    return done


def card(name: str, trajectory: Trajectory, sample: Sample, opened: Engine) -> show.Card:
    """What a strategy made of the sample."""
    from r2t2.contract import top1

    first, last = trajectory.answers[0], trajectory.answers[-1]
    [(answer, confidence)] = last.top(1)[0]
    experts = opened.model.experts
    expert = experts[int(top1(trajectory.r[0, -1], opened.model.sites))]
    cost = trajectory.cost
    return show.Card(
        name=style.label(name).removesuffix(" (reads the label)"),
        answer=answer,
        confidence=confidence,
        correct=sample.is_correct(answer) if sample.label else None,
        changed=answer != first.texts[0],
        expert=expert,
        colour=style.expert_colours(experts)[expert],
        passes=(int(cost.forward[0]), int(cost.backward[0])),
        milliseconds=1000 * cost.seconds,
        reads_label=trajectory.setting.reads_label,
    )


@st.fragment
def detail(done: dict[str, Trajectory], sample: Sample, opened: Engine) -> None:
    """One strategy's routing, step by step, and its neighbours."""
    from r2t2.ui import frames

    moved = [name for name in done if name != "base"]
    st.subheader("Routing, step by step", anchor=False)
    left, right = st.columns([3, 2], gap="large", vertical_alignment="bottom")
    name = left.segmented_control(
        "Strategy",
        moved,
        default="ngd",
        required=True,
        format_func=style.label,
        **bound("strategy"),
    )
    trajectory = done[name]
    step = right.slider("Step", 0, trajectory.steps, trajectory.steps, **bound("step"))
    model = opened.model
    weights = frames.weights(trajectory, model.sites)
    answers = frames.answers(trajectory, 5)
    left, right = st.columns(2, gap="large")
    with left:
        show.figure(
            routing.routing_bars(weights, model.experts, step),
            weights,
            "routing",
            f"Mean weight over the routing sites: base (outline) and step {step} (filled). The "
            "highest bar is the top-1 expert (paper: figure 4).",
        )
        show.figure(
            routing.expert_lines(weights, model.experts, step),
            weights,
            "experts",
            "The same means over the steps; a change of the top-1 expert is named where it happens "
            "(eq. 1; paper: figures 2 and 6).",
        )
    with right:
        show.figure(
            routing.routing_heatmap(weights, model.experts, step),
            weights[weights["step"] == step],
            "sites",
            f"r at step {step}: the weight of each expert (columns) at each routing site (rows); "
            "rows sum to 1.",
        )
        show.figure(
            routing.answer_lines(answers, right_answer(answers, sample), step),
            answers,
            "answers",
            "Probabilities of the five answers that were likeliest at any step; the right one, "
            "where a label is known, is solid and has a ✓.",
        )
    objective = frames.objective(trajectory)
    if objective["objective"].notna().all():
        show.figure(
            routing.objective_lines(objective, step),
            objective,
            "objective",
            "The sample's own loss, which takes its label (eq. 2)."
            if trajectory.setting.reads_label
            else "The neighbours' kernel-weighted loss, which the strategy lowers (eq. 3).",
        )
    neighbours(trajectory, opened)


def right_answer(answers: pd.DataFrame, sample: Sample) -> str | None:
    """The answer that the label accepts, as the model writes it."""
    if sample.label is None:
        return None
    return next((a for a in answers["answer"].unique() if sample.is_correct(a)), None)


def neighbours(trajectory: Trajectory, opened: Engine) -> None:
    """The references that the strategy listened to."""
    from r2t2.ui import frames

    st.subheader("Neighbours", anchor=False)
    references = opened.references(trajectory.setting)
    table = frames.neighbours(trajectory, references)
    if table.empty:
        st.write(
            "This strategy descends on the sample's own loss and has no neighbours."
            if trajectory.setting.reads_label
            else "No reference lies in the neighbourhood, so r stays the base's. Widen epsilon, "
            "or take the k nearest."
        )
        return
    items = []
    for row in table.head(PICTURES).to_dict("records"):
        near = row["similarity"] == row["similarity"]
        items.append(
            (
                opened.dataset[row["position"]].image,
                row["question"],
                {
                    "answer": row["label"],
                    "similarity" if near else "distance": show.number(
                        row["similarity" if near else "distance"], 3
                    ),
                    "kernel weight": show.number(row["weight"], 3),
                    "loss": f"{show.number(row['loss before'])} → {show.number(row['loss after'])}",
                },
            )
        )
    show.pictures(items)
    more = f"; the table has all {len(table)}" if len(table) > PICTURES else ""
    where = (
        "the question's embedding; similarity is the inner product"
        if trajectory.setting.algorithm != "mode_finding"
        else "the space of routing weights (eq. 8), where it begins"
    )
    kept = trajectory.setting.references
    whole = f"{len(references):,} references" + (
        " that the model answers correctly" if kept == "correct" else ""
    )
    show.under(
        table,
        "neighbours",
        f"Nearest first among {whole}, by {where}. Kernel weights sum to 1 (eq. 3); loss is the "
        f"neighbour's own, in nats, under the base's r and the last{more}.",
    )
    if more:
        st.dataframe(table, hide_index=True)


def results(model: str, reference: str | None, ask: Ask, opened: Engine) -> None:
    """The sample with every strategy's answer, and what lies behind them."""
    sample = ask.sample()
    left, right = st.columns([1, 3.6], gap="medium")
    typed = isinstance(ask, Typed)
    picture = engine.preview(ask.picture) if isinstance(ask, Typed) else engine.thumbnail(ask, 256)
    left.image(picture, width="stretch", alt="The sample's picture")
    with right:
        show.question(
            sample.question,
            {
                "label": sample.label,
                "choices": ", ".join(sample.choices),
                "type": sample.category,
                "sample": "" if typed else sample.id,
            },
        )
        chosen = settings.choose(opened.model.preset)
        if opened.model.notice and sample.dataset == "upload":
            st.warning(opened.model.notice, icon=":material/warning:")
    done = compare(model, reference, ask, chosen) if chosen else {}
    if not done:
        return
    show.cards([card(name, way, sample, opened) for name, way in done.items()])
    st.caption(
        "In brackets: points against base. Passes: forward + backward, of one sample through the "
        "routed part of the model (paper: table 4)."
        + ("" if "oracle" in done else " The oracle needs a label.")
    )
    detail(done, sample, opened)


framed()
st.title("Inspect", anchor=False)
st.caption("One sample under every strategy: the answers, the neighbours, and where r went.")
model, reference = st.session_state["model"], st.session_state["reference"]
ask = choose(model)
try:
    with st.spinner("Loading the model (once for all sessions) …"):
        opened = engine.engine(model, reference)
except (OSError, ValueError, KeyError, RuntimeError) as error:
    show.failure(error)
else:
    if ask is not None:
        results(model, reference, ask, opened)
