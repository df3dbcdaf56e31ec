"""Reference set: what is in it, where its samples lie, and how well it covers the benchmarks."""

from __future__ import annotations

from functools import partial
from shlex import quote
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from r2t2.analysis import maps
from r2t2.analysis.coverage import nearest, types
from r2t2.figures.coverage import type_bars
from r2t2.figures.maps import COLOURS, scatter
from r2t2.figures.style import GLYPHS
from r2t2.paths import reference_folder
from r2t2.sites import expert_names
from r2t2.ui import coverage, listen, references, runs, samples, show
from r2t2.ui.state import bound, framed

if TYPE_CHECKING:
    from r2t2.reference import ReferenceSet

VIEWS = ("Questions and maps", "Distance and gain", "Use")
SPACES = {"questions": "Questions", "routings": "Routings"}
METHODS = {"pca": "PCA", "t-sne": "t-SNE"}
ANSWERED = ("any", "right", "wrong")
QUESTION_LIMIT = 300
# So many of the nearest questions are listed for a search.
HITS = 48


def header(name: str, stored: ReferenceSet) -> None:
    """What the set is, and what it is made of."""
    built, rows = stored.manifest, stored.table
    by_type = types(rows)
    left, right = st.columns([2, 3], gap="large")
    with left:
        show.question(
            show.reference(name, built["model"]),
            {
                "model": f"{built['model']} ({built['model_fingerprint']})",
                "samples": f"{built['dataset']}, seed {built['seed']}",
                "embedder": f"{built['embedder']}, {stored.embeddings.shape[1]} dimensions",
                "search": "exact" if stored.exact else "approximate, by inverted lists",
                "fingerprint": stored.fingerprint,
            },
        )
        kept = int(rows["correct"].sum())
        first, second, third = st.columns(3)
        first.metric("Samples", f"{len(rows):,}", help="Labelled samples that the model answered.")
        second.metric(
            "Kept",
            f"{kept:,}",
            f"{kept / len(rows):.1%}",
            delta_color="off",
            delta_arrow="off",
            help="The strategies listen to those that the model answers right (section 3).",
        )
        third.metric(
            "Questions",
            f"{rows['question'].nunique():,}",
            help="Different ones; the same words may ask of several pictures.",
        )
    with right:
        show.figure(
            type_bars(by_type),
            by_type,
            "types",
            "Samples by type of question; in percent, what the model answers right. Where little "
            "is kept, there is little to learn from (the paper's open question 3).",
        )


def overlap(stored: ReferenceSet) -> None:
    """What of it is in the benchmarks that are here."""
    try:
        found = references.overlaps(stored)
    except (OSError, ValueError, KeyError) as error:
        show.failure(error, "The overlap with the benchmarks cannot be told.")
        return
    if found.empty:
        return
    said = "" if found["references left out"].any() else ": none"
    with st.expander(f"Overlap with benchmarks{said}", icon=":material/join:"):
        show.table(
            found,
            "overlap",
            "Samples with the picture of a reference that is kept, or with its question and "
            "choices, do not have it as a neighbour; the same words about another picture are "
            "left in unless the guard is set to questions.",
        )


def narrowed(rows: pd.DataFrame, experts: tuple[str, ...]) -> pd.DataFrame:
    """The rows that pass the filters."""
    columns = st.columns([3, 2, 3, 2])
    kinds = columns[0].multiselect(
        "Type", sorted(rows["category"].unique()), placeholder="any", **bound("ref-types")
    )
    answered = columns[1].selectbox("Answered", ANSWERED, **bound("ref-answered"))
    picked = columns[2].multiselect(
        "Top-1 expert", list(experts), placeholder="any", **bound("ref-experts")
    )
    text = columns[3].text_input(
        "Label contains", max_chars=60, placeholder="any", **bound("ref-label")
    )
    kept = pd.Series(True, rows.index)
    if kinds:
        kept &= rows["category"].isin(kinds)
    if answered != "any":
        kept &= rows["correct"] == (answered == "right")
    if picked:
        kept &= rows["expert"].isin(picked)
    if text:
        kept &= rows["label"].str.contains(text, case=False, regex=False)
    return rows[kept]


def hits(stored: ReferenceSet, rows: pd.DataFrame, question: str) -> pd.DataFrame:
    """The rows whose questions are nearest to one that was typed, with their similarity."""
    try:
        query = references.embedded(question, stored.manifest["embedder"])
    except OSError as error:
        show.failure(error)
        return rows.head(0)
    whole = len(rows) == len(stored)
    vectors = stored.embeddings if whole else stored.embeddings[rows.index]
    distance, index = nearest(vectors, query, HITS)
    return rows.iloc[index[0]].assign(similarity=1 - distance[0] ** 2 / 2)


@st.fragment
def explore(name: str, stored: ReferenceSet) -> None:
    """Search and filters, a map, and the samples that were searched, filtered or selected."""
    try:
        sites = references.sites(name, stored)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        show.failure(error)
        return
    experts = expert_names(sites)
    rows = references.table(stored, sites)
    kept = f"selected-{name}"
    question = st.text_input(
        "Search",
        type="search",
        live=True,
        max_chars=QUESTION_LIMIT,
        placeholder="Type a question: the nearest ones are found as the strategies find them",
        label_visibility="collapsed",
        on_change=forget,
        args=(kept,),
        **bound("ref-search"),
    )
    passing = found = narrowed(rows, experts)
    if question and question.strip() and len(passing):
        found = hits(stored, passing, question)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        chart(name, stored, rows, passing, found, experts, kept)
    with right, st.container(height=740, border=False, key="scroll-references"):
        if selected := st.session_state.get(kept):
            found = passing[passing["position"].isin(selected)]
        listed(found, len(rows), kept)


def chart(
    name: str,
    stored: ReferenceSet,
    rows: pd.DataFrame,
    passing: pd.DataFrame,
    found: pd.DataFrame,
    experts: tuple[str, ...],
    kept: str,
) -> None:
    """The map; what is selected on it is noted in the session under the name `kept`."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        space = st.segmented_control(
            "Map of",
            SPACES,
            default="questions",
            required=True,
            format_func=SPACES.__getitem__,
            **bound("ref-map"),
        )
        method = st.segmented_control(
            "Method",
            METHODS,
            default="t-sne",
            required=True,
            format_func=METHODS.__getitem__,
            **bound("ref-method"),
        )
        by = st.selectbox("Colour", list(COLOURS), width=140, **bound("ref-colour"))
    folder = reference_folder(name)
    path = maps.file(folder, stored.fingerprint, space, method)
    points = references.chart(path)
    if points is None:
        waiting(name, stored.fingerprint, space, method)
        return
    data = pd.concat([points, rows.reset_index(drop=True)], axis=1)
    shares = points.attrs.get("explained", [])
    titles = [f"component {i}: {share:.0%} of variance" for i, share in enumerate(shares, 1)]
    what = "question's embedding" if space == "questions" else "r, flattened"
    selected = st.session_state.get(kept, [])
    searched = set(found["position"]) if len(found) < len(passing) else set()
    show.figure(
        scatter(data, by, experts, set(passing["position"]), searched, selected, *titles),
        data,
        "map",
        f"A point per sample, by its {what}, in two dimensions ({METHODS[method]}). Click a point, "
        "or drag over some, to list them."
        + (" Distances between far groups mean little in t-SNE." if method == "t-sne" else ""),
        on_select=partial(swept, kept),
    )
    # While dragging selects, Streamlit leaves clicks to others.
    listen.clicks("map", partial(clicked, kept))


def swept(kept: str) -> None:
    """Note what was dragged over on the map: Streamlit forgets it when the colours change."""
    points = st.session_state["figure-map"]["selection"]["points"]
    if positions := [int(point["customdata"][0]) for point in points if "customdata" in point]:
        st.session_state[kept] = positions


def clicked(kept: str, point: dict[str, Any]) -> None:
    """Note the point that was clicked on the map."""
    if point["custom"]:
        st.session_state[kept] = [int(point["custom"][0])]


def forget(kept: str) -> None:
    """Let go of what was selected on the map."""
    st.session_state.pop(kept, None)


@st.fragment(run_every="1s")
def waiting(name: str, fingerprint: str, space: str, method: str) -> None:
    """How far the making of a map is, once for all sessions."""
    folder = reference_folder(name)
    path = maps.file(folder, fingerprint, space, method)
    making = references.making(folder, path, space, method)
    if making.running:
        st.progress(making.done, f"Making this map, once for all: {making.done:.0%}")
    elif references.chart(path) is not None:
        st.rerun()
    else:
        st.error("This map could not be made.", icon=":material/error:")
        st.text(making.error)
        st.button("Try again", on_click=references.making.clear, args=(folder, path, space, method))


def listed(rows: pd.DataFrame, total: int, kept: str) -> None:
    """Samples of the reference set, with their pictures or as a table."""
    searched, selected = "similarity" in rows, kept in st.session_state
    what = "selected" if selected else "nearest" if searched else f"of {total:,}"
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{len(rows):,} {what}**", width="content")
        if selected:
            st.button("Clear", type="tertiary", on_click=forget, args=(kept,))
        st.space("stretch")
        form = st.segmented_control(
            "Form",
            ("Pictures", "Table"),
            default="Pictures",
            required=True,
            label_visibility="collapsed",
            **bound("ref-form"),
        )
    caption = "Nearest to the search first." if searched else "In the order of the set."
    if form == "Pictures":
        samples.gallery(rows, "references", caption, told, across=2)
        return
    columns = ["question", "label", "answer", "correct", "category", "expert", "loss", "position"]
    columns = ["similarity", *columns] if searched else columns
    show.table(
        rows[columns],
        "references",
        caption,
        height=560,
        column_config={"question": st.column_config.TextColumn(width=230)},
    )


def told(row: dict[str, object]) -> str:
    """What is said of a reference below its picture."""
    right = bool(row["correct"])
    lines = [
        f"{GLYPHS[right]} {row['answer']}" + ("" if right else f" (label: {row['label']})"),
        f"top-1: {row['expert']}, loss {row['loss']:.2f}",
        f"similarity {row['similarity']:.3f}" if "similarity" in row else "",
    ]
    return "\n".join(line for line in lines if line)


def no_neighbours(model: str, name: str) -> None:
    """What the page says where no run has kept its neighbours."""
    show.empty(
        "No run that looked for neighbours in this set",
        "Distances and use come from runs of NGD or kernel regression that kept their k nearest "
        "references. The run set in the sidebar has none of this reference set; this makes some:",
        f"python -m r2t2 run --model {quote(model)} --reference {name} --strategy ngd",
    )


framed()
st.title("Reference set", anchor=False)
st.caption("The labelled samples that re-routing listens to: what they are and whom they reach.")
model, name = st.session_state["model"], st.session_state["reference"]
if name is None:
    references.none_yet(model)
    st.stop()
try:
    stored = references.stored(name, model)
except (OSError, ValueError) as error:
    show.failure(error)
    st.stop()
header(name, stored)
overlap(stored)
view = st.segmented_control(
    "View",
    VIEWS,
    default=VIEWS[0],
    required=True,
    label_visibility="collapsed",
    **bound("ref-view"),
)
found = references.searched(stored, runs.chosen())
if view == VIEWS[0]:
    explore(name, stored)
elif not found:
    no_neighbours(model, name)
elif view == VIEWS[1]:
    coverage.distance(stored, found)
else:
    coverage.use(stored, found)
