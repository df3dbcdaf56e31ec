"""Which sample: out of a benchmark, from outside, or built."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from r2t2.analysis.results import OUTCOMES, outcomes
from r2t2.figures.style import GLYPHS, label
from r2t2.images import MAX_BYTES, MAX_PIXELS
from r2t2.ui import engine, listen, runs, scenes
from r2t2.ui.engine import Ask, Picked, Typed
from r2t2.ui.state import bound, put

if TYPE_CHECKING:
    from r2t2.runs.store import Run

SOURCES = ("Benchmark", "Upload", "Build a scene")
QUESTION_LIMIT = 300
LABEL_LIMIT = 60
STRIP = 6
# What each of `OUTCOMES` looks like: base, then the strategy.
MARKS = [f"{GLYPHS[before]}→{GLYPHS[after]}" for before in (False, True) for after in (False, True)]
ANY, CHANGED, UNCHANGED = "any", "changed", "unchanged"


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
        return pick(model)
    return upload(model) if source == "Upload" else build()


@dataclass(frozen=True)
class Listed:
    """The samples of a benchmark that pass the filters.

    Parameters
    ----------
    positions : rising.
    marks : what a stored run says of each sample, in a few glyphs, by position.
    said : what was filtered by and what the marks are, in words; empty without stored runs.
    """

    positions: Sequence[int]
    marks: Mapping[int, str] | pd.Series = field(default_factory=dict)
    said: str = ""

    def beside(self, position: int, step: int) -> int:
        """The sample so many places further, round the end."""
        there = bisect_left(self.positions, position)
        met = there < len(self.positions) and self.positions[there] == position
        # From a sample that is not in the list, the next one is already there.
        return self.positions[(there + step - (not met and step > 0)) % len(self.positions)]

    def around(self, position: int) -> Sequence[int]:
        """The strip of samples that a position lies in."""
        first = min(bisect_left(self.positions, position), max(len(self.positions) - 1, 0))
        first = first // STRIP * STRIP
        return self.positions[first : first + STRIP]


def pick(model: str) -> Picked:
    """A sample of a benchmark, out of a strip of those that pass the filters."""
    left, middle, right, buttons = st.columns([3, 2, 2, 5], vertical_alignment="bottom")
    name = left.selectbox("Benchmark", engine.benchmarks(), **bound("benchmark"))
    drawn = middle.number_input(
        "Seed",
        0,
        2**31,
        engine.default_seed(model),
        help="What the samples are drawn from.",
        **bound("seed"),
    )
    size = len(engine.benchmark(name, drawn))
    position = right.number_input(f"Sample, 0 to {size - 1}", 0, size - 1, 0, **bound("sample"))
    with buttons.container(horizontal=True, gap="xsmall"):
        moves = st.container(horizontal=True, gap="xsmall", width="content")
        found = stored(model, name, drawn)
        listed = filtered(found) if found else Listed(range(size))
        with moves:
            move(listed, position)
    if listed.said:
        st.caption(f"{len(listed.positions)} of {size} samples{listed.said}.")
    strip(name, drawn, position, listed)
    return Picked(name, drawn, position)


def move(listed: Listed, position: int) -> None:
    """Buttons to the samples before and after, and to any."""
    steps = {
        "first_page": (-STRIP, "The strip before"),
        "chevron_left": (-1, "Previous sample"),
        "chevron_right": (1, "Next sample"),
        "last_page": (STRIP, "The next strip"),
    }
    none = not listed.positions
    for icon, (step, said) in steps.items():
        st.button(
            "",
            icon=f":material/{icon}:",
            help=said,
            key=f"move{step}",
            disabled=none,
            on_click=lambda step=step: put(sample=listed.beside(position, step)),
        )
    st.button(
        "",
        icon=":material/shuffle:",
        help="Any sample",
        key="random",
        disabled=none,
        on_click=lambda: put(sample=random.choice(listed.positions)),  # noqa: S311
    )


def stored(model: str, name: str, seed: int) -> dict[str, Run]:
    """The stored runs of a benchmark by their variant; of several reference sets, the sidebar's."""
    found = [
        run
        for run in runs.chosen()
        if (run.spec.model, run.spec.benchmark, run.spec.seed) == (model, name, seed)
        and run.spec.strategy != "base"
    ]
    found.sort(key=lambda run: run.spec.reference == st.session_state["reference"])
    return {runs.variant(run): run for run in found}


def filtered(found: dict[str, Run]) -> Listed:
    """The samples of stored runs that the inputs, drawn here, let pass."""
    with st.popover("Filter", icon=":material/filter_list:"):
        strategy = st.selectbox(
            "Under the strategy",
            list(found),
            index=list(found).index("ngd") if "ngd" in found else 0,
            format_func=label,
            **bound("pick-strategy"),
        )
        rows = runs.samples([found[strategy]], "top1_before", "top1_after")
        outcome = st.selectbox("Outcome", [ANY, *OUTCOMES], **bound("pick-outcome"))
        shifts, moved = shifted(rows)
        shift = st.selectbox(
            "Top-1 expert",
            [ANY, CHANGED, UNCHANGED, *shifts[moved].value_counts().loc[lambda n: n > 0].index],
            help="Before and after; the most frequent changes first.",
            **bound("pick-shift"),
        )
        st.button(
            "Clear",
            on_click=put,
            kwargs={"pick-outcome": ANY, "pick-shift": ANY},
            key="pick-clear",
            type="tertiary",
        )
    became = outcomes(rows)
    kept = pd.Series(True, rows.index) if outcome == ANY else became == outcome
    if shift in (CHANGED, UNCHANGED):
        kept &= moved == (shift == CHANGED)
    elif shift != ANY:
        kept &= shifts == shift
    marks = pd.Series(became.cat.rename_categories(MARKS).to_numpy(), rows["position"])
    by = [outcome] * (outcome != ANY) + [f"top-1 expert {shift}"] * (shift != ANY)
    said = f" with {', '.join(by)} under {label(strategy)}" if by else ""
    return Listed(
        sorted(rows.loc[kept, "position"].tolist()),
        marks,
        f"{said}; marks: base → {label(strategy)}",
    )


def shifted(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Each sample's top-1 expert before and after, as "A → B", and whether it changed."""
    ends = [rows["top1_before"], rows["top1_after"]]
    names = sorted(set().union(*(end.cat.categories for end in ends)))
    before, after = (end.cat.set_categories(names).cat.codes.astype(int) for end in ends)
    pairs = [f"{one} → {other}" for one in names for other in names]
    codes = pd.Categorical.from_codes(before * len(names) + after, pairs)
    return pd.Series(codes, rows.index), before != after


def strip(name: str, seed: int, position: int, listed: Listed) -> None:
    """The pictures of some samples, to be clicked."""
    shown = listed.around(position)
    if not shown:
        st.caption("No sample passes the filter; the one below stays.")
    for place, (column, other) in enumerate(
        zip(st.columns(STRIP, wrap=False, gap="xsmall"), shown, strict=False)
    ):
        column.image(engine.thumbnail(Picked(name, seed, other)), width="stretch", alt="")
        column.button(
            f"{other} {listed.marks.get(other, '')}",
            key=f"strip-{place}",
            width="stretch",
            type="primary" if other == position else "tertiary",
            on_click=put,
            kwargs={"sample": other},
        )


def upload(model: str) -> Typed | None:
    """A picture from outside with a question."""
    left, right = st.columns(2, gap="large")
    with left:
        data = picture()
    with right:
        asked = ask_for("upload")
    with st.expander("No picture at hand? Scenes to download and upload again"):
        scenes.gallery("general", engine.default_seed(model))
    if data is None:
        st.caption("Waiting for a picture and a question. Uploads stay out of the address.")
        return None
    try:
        engine.preview(data)
    except ValueError as error:
        st.error(f"This picture cannot be used: {error}.", icon=":material/broken_image:")
        return None
    return asked and Typed(data, *asked)


def picture() -> bytes | None:
    """A file that is dropped, chosen or pasted, or what the camera sees.

    It is kept beside its widget, which forgets it when another source is looked at.
    """
    ways = ("File or clipboard", "Camera")
    way = st.segmented_control(
        "Picture from", ways, default=ways[0], required=True, **bound("upload-from")
    )
    if way == ways[1]:
        st.camera_input("Take a picture", key="camera", on_change=_taken, args=("camera",))
    else:
        st.file_uploader(
            f"Drop, choose or paste a PNG, JPEG or WebP (at most {MAX_BYTES // 2**20} MB and "
            f"{MAX_PIXELS // 1_000_000} million pixels)",
            type=["png", "jpg", "jpeg", "webp"],
            max_upload_size=MAX_BYTES // 2**20,
            key="upload",
            on_change=_taken,
            args=("upload",),
        )
        listen.pastes("upload")
    return st.session_state.get("picture")


def _taken(key: str) -> None:
    file = st.session_state[key]
    st.session_state["picture"] = file.getvalue() if file is not None else None


def build() -> Typed | None:
    """A scene of one's own with a question."""
    drawn = scenes.builder()
    asked = ask_for("scene")
    return Typed(drawn, *asked, origin="scene") if drawn and asked else None


def ask_for(key: str) -> tuple[str, str, tuple[str, ...]] | None:
    """A question, its label and its choices as typed; None without a question."""
    question = st.text_input(
        "Question",
        max_chars=QUESTION_LIMIT,
        key=f"{key}-question",
        persist_state="page",
        placeholder="what color is the ball?",
    )
    left, right = st.columns(2)
    given = left.text_input(
        "Label (optional)",
        max_chars=LABEL_LIMIT,
        key=f"{key}-label",
        persist_state="page",
        help="The right answer. It marks answers correct or wrong, and the oracle needs it.",
    )
    choices = right.text_input(
        "Choices (optional)",
        max_chars=QUESTION_LIMIT,
        key=f"{key}-choices",
        persist_state="page",
        help="Separated by commas; the model answers with one of them.",
    )
    if not question.strip():
        return None
    options = tuple(choice.strip() for choice in choices.split(",") if choice.strip())
    return question, given.strip(), options
