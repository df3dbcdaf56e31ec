"""Overview: what the method is, what it gains beside its controls, where to go next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from r2t2.analysis.results import MEAN, per_seed
from r2t2.figures.results import strategy_dots
from r2t2.figures.style import label
from r2t2.ui import engine, results, runs, samples, show
from r2t2.ui.state import PAGES, address, framed, link
from r2t2.ui.verdict import sentences

if TYPE_CHECKING:
    from r2t2.runs.store import Run

METHOD = """
<div class="r2-steps">
<div class="r2-card"><h4>1. The router decides</h4><p>A multimodal mixture of experts looks at an
image with several experts. Its router gives each of them a weight, <code>r</code>, for this
image and question. Where the router is wrong, the answer often is.</p></div>
<div class="r2-card"><h4>2. Similar questions that went well</h4><p>From a reference set of
questions that the model answers correctly, the <code>k</code> nearest to this one are taken, by
the embedding of the question (equation 9).</p></div>
<div class="r2-card"><h4>3. r moves, the model stays</h4><p>Gradient steps move <code>r</code> to
where these neighbours' loss is lower (equations 1 and 3), with no weight of the model changed and
no label of the sample read. The model answers again under the new <code>r</code>.</p></div>
</div>
"""
# Page -> the question that it answers.
ANSWERS = {
    "inspect": "What happens to one sample, step by step, under every strategy?",
    "shift": "Which expert does re-routing take the lead from, and which does it give it to?",
    "flips": "Which answers turn right, which turn wrong, and when?",
    "results": "How much does each strategy gain on each benchmark and kind of question?",
    "compare": "Where do two runs differ, and what does each option do?",
    "references": "What do the neighbours come from, and how far away are they?",
    "runs": "What has been measured, and how do I measure more?",
}
EXAMPLES = {"wrong to right": 3, "right to wrong": 1}


def measured(found: list[Run]) -> None:
    """The mean of every strategy and control, and what it says in words."""
    st.subheader("Is it re-routing?", anchor=False)
    table = runs.results(found)
    mean = table[table["benchmark"] == MEAN]
    seeds = results.seeds(found)
    chart, words = st.columns([3, 2], gap="large")
    with chart:
        show.figure(
            strategy_dots(mean, spread(found, mean) if len(seeds) > 1 else None),
            mean,
            "mean-accuracy",
            "Mean accuracy with 95 % intervals of every strategy and control (paper: table 2); "
            f"benchmarks: {len(runs.benchmarks(found))}, questions: {int(mean['n'].max()):,}. "
            + ("Circles: each seed alone. " if len(seeds) > 1 else "")
            + "Dotted lines: base and NGD.",
        )
    with words:
        for sentence in sentences(table, results.leads(found, "ngd")):
            st.write(sentence)
        if partly := results.left_out(table):
            st.caption(
                "Not in the mean, because not run on every benchmark and seed: "
                f"{', '.join(map(label, partly))}."
            )
        st.caption(
            "A control is anything that could raise accuracy without looking for this sample's "
            "neighbours. Leads are on the same questions; p is McNemar's, corrected for the "
            "number of controls (Holm). Of many questions a small lead is certain too."
        )


def spread(found: list[Run], mean: pd.DataFrame) -> pd.DataFrame:
    """The mean of each seed, of the strategies that have one."""
    each = per_seed(runs.figures(found))
    return each[(each["benchmark"] == MEAN) & each["strategy"].isin(mean["strategy"])]


def links() -> None:
    """Every other page, with what it answers."""
    st.subheader("Where to go next", anchor=False)
    for row in (list(ANSWERS)[:4], list(ANSWERS)[4:]):
        for column, name in zip(st.columns(4), row, strict=False):
            with column.container(border=True, height="stretch", gap="xxsmall"):
                link(name)
                st.caption(ANSWERS[name])


def examples(found: list[Run]) -> None:
    """Samples worth a look, each a link to Inspect."""
    picked = [
        several(runs.flips(found, outcome), count).assign(outcome=outcome)
        for outcome, count in EXAMPLES.items()
    ]
    rows = pd.concat(picked)
    if rows.empty:
        return
    st.subheader("Samples to look at", anchor=False)
    samples.gallery(
        rows, "examples", "Samples that NGD turned.", lambda row: f"{row['outcome']} under NGD"
    )


def several(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """A few rows, each of another benchmark as far as there are enough."""
    first = rows.drop_duplicates("benchmark")
    return pd.concat([first, rows.drop(first.index)]).head(count)


framed()
st.title("R2-T2 Studio", anchor=False)
st.write(
    "See, test and trust test-time re-routing in multimodal mixtures of experts "
    "([arXiv 2502.20395](https://arxiv.org/abs/2502.20395))."
)
st.html(METHOD)
model = st.session_state["model"]
found = runs.defaults()
if found:
    measured(found)
else:
    results.empty()
links()
if said := engine.notice(model):
    st.subheader("What to know of this model", anchor=False)
    st.info(said, icon=":material/info:")
if found:
    examples([run for run in found if run.spec.model == model])
st.page_link(
    PAGES["inspect"],
    label="Ask about a picture of your own",
    icon=":material/upload:",
    query_params=address(source="Upload"),
)
