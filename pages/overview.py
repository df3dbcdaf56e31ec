"""Overview: what the method is, what it reaches beside its controls, where to go next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from r2t2.analysis.results import ALL_CONTROLS, MEAN
from r2t2.figures import results
from r2t2.figures.style import label
from r2t2.rerouting.settings import STRATEGIES
from r2t2.ui import engine, runs, samples, show
from r2t2.ui.state import PAGES, address, bound, framed
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


def measured(found: list[Run]) -> None:
    """The result table and its figures."""
    table = runs.results(found)
    kept = table["strategy"].isin(STRATEGIES)
    table = table[kept].sort_values(
        "strategy", key=lambda names: names.map(STRATEGIES.index), kind="stable"
    )
    mean = table[table["benchmark"] == MEAN]
    benchmarks = [name for name in dict.fromkeys(table["benchmark"]) if name != MEAN]
    seeds = sorted({run.spec.seed for run in found})
    st.subheader("Is it re-routing?", anchor=False)
    chart, words = st.columns([3, 2], gap="large")
    with chart:
        show.figure(
            results.strategy_dots(mean),
            mean,
            "mean-accuracy",
            f"Mean accuracy with 95 % intervals of every strategy and control; benchmarks: "
            f"{len(benchmarks)}, questions: {int(mean['n'].max()):,}, seeds: "
            f"{', '.join(map(str, seeds))}. Dotted lines: base and NGD.",
        )
    partly = [name for name in table["strategy"].unique() if name not in set(mean["strategy"])]
    with words:
        if partly:
            st.caption(
                "Not in the mean, because not run on every benchmark and seed: "
                f"{', '.join(map(label, partly))}."
            )
        for sentence in sentences(table):
            st.write(sentence)
        st.caption(
            "A control is anything that could raise accuracy without looking for this sample's "
            "neighbours. “Beats” means that the two 95 % intervals do not touch."
        )
    st.subheader("Results", anchor=False)
    benchmark = st.selectbox("Benchmark", [MEAN, *benchmarks], width=260, **bound("results"))
    results_table(table[table["benchmark"] == benchmark], benchmark)
    per_benchmark = table[table["benchmark"] != MEAN]
    show.figure(
        results.results_dots(per_benchmark),
        per_benchmark,
        "accuracy",
        "Accuracy by benchmark with 95 % intervals, as in the paper's table 2. The oracle reads "
        "the label: it is the ceiling of gradient descent on r, not a method.",
    )


def results_table(rows: pd.DataFrame, name: str) -> None:
    """One benchmark's rows, or the mean's."""

    def kind(strategy: str) -> str:
        if strategy == "oracle":
            return "reads the label"
        return "control" if strategy in ALL_CONTROLS else "strategy"

    shown = pd.DataFrame(
        {
            "strategy": [label(strategy) for strategy in rows["strategy"]],
            "kind": [kind(strategy) for strategy in rows["strategy"]],
            "accuracy": rows["accuracy"].to_numpy(),
            "95 % interval": [
                f"{low:.1f} – {high:.1f}"
                for low, high in zip(rows["low"], rows["high"], strict=True)
            ],
            "gain": rows["gain"].to_numpy(),
            "p": ["< 0.001" if p < 0.001 else f"{p:.3f}" for p in rows["p"]],
            "wrong → right": rows["wrong_to_right"].to_numpy(),
            "right → wrong": rows["right_to_wrong"].to_numpy(),
            "oracle share": rows["oracle_share"].to_numpy(),
            "n": rows["n"].to_numpy(),
        }
    )
    shown.loc[shown["strategy"] == label("base"), "p"] = "–"
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    st.dataframe(
        shown,
        hide_index=True,
        height="content",
        column_config={
            "strategy": text(width=190),
            "kind": text(width=95),
            "accuracy": number("accuracy", format="%.1f", width=70, help="Percent."),
            "95 % interval": text(width=95),
            "gain": number("gain", format="%+.1f", width=60, help="Points over base."),
            "p": text(width=65, help="McNemar's exact test against base."),
            "wrong → right": number(
                "✗ → ✓", format="%.1f", width=65, help="Percent of base's wrong answers."
            ),
            "right → wrong": number(
                "✓ → ✗", format="%.1f", width=65, help="Percent of base's right answers."
            ),
            "oracle share": number(
                "oracle share", format="%.0f", width=85, help="Percent of the oracle's gain."
            ),
            "n": number("n", width=55, help="Questions."),
        },
    )
    show.under(
        rows,
        f"results-{name}",
        "Accuracy, gain over base with McNemar's p, flips, and the share of the oracle's gain "
        "(paper: table 2, figure 5). The controls are in the same table, because a gain that a "
        "control has too is not re-routing.",
    )


def examples(found: list[Run], model: str) -> None:
    """Samples worth a look, each a link to Inspect."""
    st.subheader("Where to go next", anchor=False)
    mine = [run for run in found if run.spec.model == model]
    picked = [
        (outcome, row)
        for outcome, count in (("wrong to right", 3), ("right to wrong", 1))
        for row in spread(runs.flips(mine, outcome), count)
    ]
    if not picked:
        st.write("Inspect a sample of a benchmark, or a picture of your own.")
    if picked:
        rows = pd.DataFrame([{**row, "outcome": outcome} for outcome, row in picked])
        samples.gallery(
            rows, "examples", "Samples that NGD turned.", lambda row: f"{row['outcome']} under NGD"
        )
    st.page_link(
        PAGES["inspect"],
        label="Ask about a picture of your own",
        icon=":material/upload:",
        query_params=address(source="Upload"),
    )


def spread(rows: pd.DataFrame, count: int) -> list[pd.Series]:
    """A few rows, each of another benchmark as far as there are enough."""
    first = rows.drop_duplicates("benchmark")
    chosen = pd.concat([first, rows.drop(first.index)]).head(count)
    return [row for _, row in chosen.iterrows()]


def empty() -> None:
    """What the page says where there are no runs."""
    with st.container(border=True):
        st.markdown("**No complete runs in the cache**")
        st.write(
            "Results appear here as soon as strategies have been run on benchmarks. This command "
            "runs all of them, with their controls; it can be stopped and resumed at any time:"
        )
        st.code("python -m r2t2 run", language="bash")
        if skipped := runs.unreadable():
            st.write(f"Folders in the cache that cannot be read: {len(skipped)}. The first:")
            st.text(next(iter(skipped.values())))
        st.write("Inspect works without runs: it re-routes one sample at a time.")
        st.page_link(PAGES["inspect"], label="Open Inspect", icon=":material/search:")


@st.fragment(parallel=True)
def notice(model: str, reference: str | None) -> None:
    """What the model itself says of its limits; loads it, while the page can be used."""
    try:
        with st.spinner("Loading the model (once for all sessions) …"):
            opened = engine.engine(model, reference)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        show.failure(error)
        return
    if opened.model.notice:
        st.info(opened.model.notice, icon=":material/info:")


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
    empty()
st.subheader("Why the router falls short", anchor=False)
notice(model, st.session_state["reference"])
if found:
    examples(found, model)
