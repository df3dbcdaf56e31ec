"""Results: the paper's table 2 for any run set, with the controls beside every gain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from r2t2 import paper
from r2t2.analysis.results import ALL_CONTROLS, MEAN, OUTCOMES, outcomes
from r2t2.figures import results as figures
from r2t2.figures.style import label
from r2t2.rerouting.settings import COMPARED
from r2t2.ui import filters, listen, results, runs, samples, scores, show
from r2t2.ui.state import PAGES, address, bound, framed, put

if TYPE_CHECKING:
    from r2t2.runs.store import Run

# Views of the benchmarks; those with a column of the results table are tables of it.
# Tables of the benchmarks: view -> column of the results table, digits, sign, caption.
TABLES = {
    "Accuracy": ("accuracy", 1, "", "Accuracy, percent (paper: table 2)."),
    "Gain": ("gain", 1, "+", "Points over base; the controls' are the last rows."),
    "Oracle share": (
        "oracle_share",
        0,
        "",
        "Percent of the oracle's gain; a dash where that is less than a point.",
    ),
}
PAIRED = (
    "p is McNemar's, of the same samples, corrected for the number of controls (Holm). Of many "
    "samples a small lead is certain too: read the points first."
)
ANY = "all categories"
# Of fewer questions an accuracy says little: its interval is some 35 points wide.
FEW = 30


def measured(found: list[Run]) -> None:
    """All that the runs say."""
    left, right = st.columns(2)
    with left:
        picked = filters.benchmark(found)
    with right:
        focus = filters.strategy(found)
    scores.definitions(picked)
    named = dict.fromkeys(runs.variant(run) for run in found)
    others = {runs.variant(run) for run in found if run.spec.external}
    rows = st.multiselect(
        "Rows",
        [name for name in named if name not in ALL_CONTROLS],
        default=[name for name in named if name in COMPARED or name in others],
        format_func=label,
        help="Strategies and their variants. The controls are always shown: a gain without them "
        "says little.",
        **bound("results-rows"),
    )
    shown = [*rows, *ALL_CONTROLS]
    strategies(picked, shown)
    benchmarks(picked, results.without_dev(found), shown)
    if focus:
        controls(picked, runs.variant(focus[0]))
    papers(results.without_dev(found))
    if focus:
        categories(picked, runs.variant(focus[0]))


def strategies(picked: list[Run], shown: list[str]) -> None:
    """Table 2 of one benchmark, or of the mean: a row per strategy."""
    table = runs.results(picked)
    table = table[table["strategy"].isin(shown)]
    seeds = len(results.seeds(picked))
    rows = table[table["benchmark"] == results.place(picked)]
    own = scores.own(picked)
    numbers(
        results.summary(rows, seeds, own),
        "results",
        "Accuracy, gain over base with McNemar's p, the share of the oracle's gain, and flips "
        "(paper: table 2, figure 5). A gain that a control has too is not re-routing."
        + (
            " The score is the benchmark's own; in the mean, in percent of the highest there is."
            if not own.empty
            else ""
        )
        + (f" Pooled over {seeds} seeds." if seeds > 1 else ""),
        data=rows,
    )
    if partly := results.left_out(table):
        st.text(
            "Not in the mean, because not run on every benchmark and seed: "
            f"{', '.join(map(label, partly))}."
        )


@st.fragment
def benchmarks(picked: list[Run], everything: list[Run], shown: list[str]) -> None:
    """Every benchmark beside the others: as dots, round a circle, or as tables."""
    st.subheader("Benchmark by benchmark", anchor=False)
    several = len(results.seeds(picked)) > 1
    own = scores.own(everything)
    more = [*(["Own scores"] if not own.empty else []), *(["Seeds"] if several else [])]
    chosen = view("results-view", "Dots", "Radar", *TABLES, *more)
    table = runs.results(everything)
    table = table[table["strategy"].isin(shown)]
    per_benchmark = table[table["benchmark"] != MEAN]
    if chosen == "Dots":
        show.figure(
            figures.results_dots(per_benchmark),
            per_benchmark,
            "benchmarks",
            "Accuracy with 95 % intervals (paper: table 2). Controls are grey, on the line below, "
            "without theirs. The oracle reads the label: it is a ceiling, not a method.",
        )
    elif chosen == "Radar":
        show.figure(
            figures.radar(per_benchmark),
            per_benchmark,
            "radar",
            "Accuracy on every benchmark (paper: figure 1). Grey: the best control of each. Areas "
            "exaggerate differences; the dots do not.",
        )
    elif chosen == "Own scores":
        numbers(
            results.wide(table, "score"),
            "scores",
            "Each benchmark's own score, in percent or, of MME, in points; the mean takes points "
            "in percent of their maximum (paper: section 4.1).",
        )
        numbers(
            results.score_rows(own, shown),
            "own",
            "Where the own score is not the accuracy: with 95 % intervals by bootstrap of what is "
            "scored together. McNemar's p, above, is of right answers.",
            data=own,
        )
    elif chosen == "Seeds":
        numbers(
            results.of_seeds(picked, shown),
            "seeds",
            "Accuracy, percent, of every model and seed on the benchmark chosen above, or in the "
            "mean.",
        )
    else:
        column, digits, sign, caption = TABLES[chosen]
        numbers(results.wide(table, column, digits), "wide", caption, f"%{sign}.{digits}f")


def view(name: str, *views: str) -> str:
    """Which of several ways to look at the same is chosen; the first by default."""
    return st.segmented_control(
        "View", views, default=views[0], required=True, label_visibility="collapsed", **bound(name)
    )


def numbers(
    shown: pd.DataFrame,
    name: str,
    caption: str,
    form: str = "%.1f",
    data: pd.DataFrame | None = None,
) -> None:
    """A table of numbers, whole; `data` is what can be downloaded, where it says more."""
    st.dataframe(
        shown,
        key=f"table-{name}",
        hide_index=True,
        height="content",
        column_config=results.columns(shown, form),
        placeholder="–",
    )
    show.under(shown if data is None else data, name, caption)


@st.fragment
def controls(picked: list[Run], strategy: str) -> None:
    """Whether the strategy is more than a control, on the very same samples."""
    st.subheader("Ahead of the controls?", anchor=False)
    table = results.leads(picked, strategy)
    if table.empty:
        st.write("No other control has been run on what is chosen: a gain may not be re-routing.")
        return
    if view("results-leads", "Dots", "Table") == "Dots":
        show.figure(
            figures.lead_dots(table),
            table,
            "leads",
            "How far the chosen strategy is ahead of each control on the same samples, with 95 % "
            f"intervals of the difference. {PAIRED}",
        )
    else:
        numbers(results.lead_table(table), "leads", PAIRED, data=table)


@st.fragment
def categories(picked: list[Run], strategy: str) -> None:
    """Each kind of question by itself, and its samples."""
    st.subheader("By category", anchor=False)
    table = results.categories(picked, strategy)
    if view("results-categories", "Dots", "Table") == "Dots":
        show.figure(
            figures.results_dots(table, "category"),
            table,
            "categories",
            "Accuracy with 95 % intervals by kind of question; controls are grey, on the line "
            "below. Click a point for its samples.",
        )
        listen.clicks(
            "categories", lambda clicked: put(**{"results-category": str(clicked["custom"])})
        )
    else:
        shown = results.by_category(table, strategy)
        few = int((shown["n"] < FEW).sum())
        numbers(
            shown,
            "categories",
            "Accuracy of base and of the chosen strategy, its gain, and on the right the gain of "
            "each control; p is McNemar's, not corrected for the number of categories."
            + (f" Categories of fewer than {FEW} questions, which say little: {few}." * bool(few)),
            data=table,
        )
    drill_down(picked, strategy, list(dict.fromkeys(table["category"])))


def drill_down(picked: list[Run], strategy: str, names: list[str]) -> None:
    """The samples of a category and an outcome."""
    left, right = st.columns([1, 3])
    category = left.selectbox("Category", [ANY, *names], **bound("results-category"))
    outcome = right.segmented_control(
        "Outcome", OUTCOMES, default=OUTCOMES[1], required=True, **bound("results-outcome")
    )
    of = [run for run in picked if runs.variant(run) == strategy]
    there: dict[str, Any] = {} if of[0].spec.external else {"strategy": of[0].spec.strategy}
    rows = runs.samples(of, "category", "label", "base_answer", "answer")
    rows = rows[outcomes(rows) == outcome]
    if category != ANY:
        rows = rows[rows["category"] == category]
    st.text(f"{len(rows):,} samples: {outcome} under {label(strategy)}")
    samples.gallery(
        rows,
        "results-samples",
        "The samples of the category and the outcome; below each, the answers before and after.",
        answers,
        **there,
    )


def answers(row: dict[str, Any]) -> str:
    """What base and the strategy answered, and the label where there is one."""
    said = f"{row['base_answer']} → {row['answer']}"
    return said if pd.isna(row["label"]) else f"{said}, label {row['label']}"


@st.fragment
def papers(found: list[Run]) -> None:
    """One of the paper's tables, and what the runs say of the same."""
    st.subheader("The paper's tables", anchor=False)
    number = st.pills(
        "The paper's table",
        list(paper.tables()),
        default=2,
        required=True,
        **bound("results-paper"),
    )
    table = paper.tables()[number]
    st.badge("From the paper, not measured here", icon=":material/menu_book:", color="orange")
    st.markdown(f"**Table {number}: {table.title}**")
    numbers(
        table.rows,
        f"paper-{number}",
        f"Table {number} of [{paper.SOURCE}]({paper.ADDRESS}). {table.caption}",
    )
    if table.note:
        st.caption(f":material/info: {table.note}")
    if number == 2 and found:
        beside_table_2(found)
    elif table.varies and found:
        beside_ablation(found, table)


def beside_table_2(found: list[Run]) -> None:
    """Gains and shares of the oracle's, worked out from table 2, and one's own."""
    st.markdown("**NGD's gain beside yours**")
    titles = {"Share": "share of the oracle's gain, %", "Gain": "gain over base, points"}
    chosen = view("results-beside", *titles)
    table = results.beside_reported(found)
    show.figure(
        figures.share_dots(table, "oracle_share" if chosen == "Share" else "gain", titles[chosen]),
        table,
        "beside",
        "The paper's are worked out from its table 2 (MME-P as a percentage of its maximum, as in "
        "its means); it has no controls. Other models and other questions: only the shares can "
        "be set side by side.",
    )


def beside_ablation(found: list[Run], table: paper.Table) -> None:
    """The runs that vary what a table of the paper varies."""
    wide = results.varied(found, table.varies)
    st.markdown("**Yours**")
    if len(wide) > 1:
        numbers(
            wide,
            "varied",
            "Measured here: accuracy, percent, of NGD and its variants in the run set.",
        )
    else:
        st.write("No run of NGD in the run set varies this.")
        st.page_link(
            PAGES["compare"],
            label="Start such runs on Compare",
            icon=":material/compare_arrows:",
            query_params=address(),
        )


framed()
st.title("Results", anchor=False)
st.caption("What every strategy reaches, and what the controls reach on the same questions.")
found = results.comparable()
if found:
    measured(found)
else:
    results.empty()
    papers([])
