"""How far benchmarks are from a reference set, where gain ends, and which references are used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from r2t2.analysis import coverage
from r2t2.figures import coverage as figures
from r2t2.figures.style import GLYPHS, label
from r2t2.ui import filters, references, runs, samples, show
from r2t2.ui.specs import CONTROLS
from r2t2.ui.state import bound

if TYPE_CHECKING:
    from r2t2.reference import ReferenceSet
    from r2t2.runs.store import Run

# So many of the farthest questions and of the most used references can be paged through.
_LISTED = 240


@st.fragment
def distance(stored: ReferenceSet, found: list[Run]) -> None:
    """How far the benchmarks are, whether gain falls with distance, and what is farthest.

    Parameters
    ----------
    found : `references.searched` runs.
    """
    mine = _pick(found)
    if not mine:
        return
    measure = st.segmented_control(
        "Distance to the references",
        coverage.MEASURES,
        default="mean",
        required=True,
        format_func=coverage.MEASURES.__getitem__,
        **bound("ref-distance"),
    )
    name, k = runs.variant(mine[0]), mine[0].spec.setting["k"]
    own = references.own_distances(references.listened_to(stored, mine[0]), k)
    same = [run for run in found if runs.variant(run) == name]
    others = [run for run in runs.chosen() if runs.variant(run) in ("oracle", *CONTROLS)]
    located = references.located(same, others)
    kept = located[located["benchmark"].isin({run.spec.benchmark for run in mine})]
    _how_far(kept, own, measure, k)
    _does_gain_fall(kept, name, measure)
    st.subheader("The farthest questions", anchor=False)
    farthest = coverage.farthest(references.distances(mine), measure).head(_LISTED)
    samples.gallery(
        farthest,
        "farthest",
        f"The {len(farthest)} questions farthest from their {k} nearest references, each with a "
        "picture that it is asked of.",
        lambda row: (
            f"distance {row[measure]:.3f}\nright: base {row['base_right']}, "
            f"{label(name)} {row['right']} of {row['samples']}"
        ),
        strategy=mine[0].spec.strategy,
    )


@st.fragment
def use(stored: ReferenceSet, found: list[Run]) -> None:
    """Which references are neighbours at all, and which of very many samples.

    Parameters
    ----------
    found : `references.searched` runs.
    """
    mine = _pick(found)
    if not mine:
        return
    counted = references.uses(mine, references.listened_to(stored, mine[0]))
    _numbers(counted["uses"])
    left, right = st.columns(2, gap="large")
    with left:
        counts = coverage.use_counts(counted["uses"])
        show.figure(
            figures.use_bars(counts),
            counts,
            "uses",
            "How many references are among the k nearest of so many samples.",
        )
    with right:
        by_type = coverage.use_by_type(counted)
        number = st.column_config.NumberColumn
        show.table(
            by_type,
            "uses-by-type",
            "The same by type of reference: what the benchmarks lean on.",
            height="content",
            column_config={
                "ever a neighbour": number(format="%.0f %%"),
                "uses per reference": number(format="%.1f"),
            },
        )
    built = stored.manifest
    rows = counted.assign(model=built["model"], benchmark=built["dataset"], seed=built["seed"])
    st.subheader("Hubs", anchor=False)
    hubs = rows[rows["uses"] > 0].head(_LISTED)
    samples.gallery(hubs, "hubs", "The references that are most often a neighbour.", _told)
    st.subheader("Never a neighbour", anchor=False)
    unused = rows[rows["uses"] == 0].sort_values("position")
    samples.gallery(unused, "unused", "References that no sample of these runs is near.", _told)


def _pick(found: list[Run]) -> list[Run]:
    """The runs of the benchmark and the strategy that are picked."""
    left, middle, _ = st.columns([2, 2, 3])
    with left:
        of = filters.benchmark(found)
    with middle:
        return filters.strategy(of)


def _how_far(kept: pd.DataFrame, own: pd.DataFrame, measure: str, k: int) -> None:
    st.subheader("How far is each benchmark?", anchor=False)
    words = coverage.MEASURES[measure]
    spread = coverage.spread(kept, own, measure)
    left, right = st.columns([3, 2], gap="large")
    with left:
        show.figure(
            figures.spread_lines(spread, words),
            spread,
            "spread",
            f"Distance of questions to their {k} nearest references ({words}; equation 9): median, "
            "middle half, middle 90 %. Far is what lies beyond 95 % of the references' distances "
            "to each other (dotted line).",
        )
    with right:
        names = list(spread["benchmark"].iloc[1:])
        histogram = coverage.histogram(kept[measure], own[measure])
        show.figure(
            figures.distributions(histogram, names[0] if len(names) == 1 else filters.EVERY, words),
            histogram,
            "distances",
            "The same distances in full: where the two do not overlap, the set holds no question "
            "like the benchmark's.",
        )


def _does_gain_fall(kept: pd.DataFrame, strategy: str, measure: str) -> None:
    """The paper's open question 3."""
    st.subheader("Does gain fall with distance?", anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="large"):
        effect = st.segmented_control(
            "Effect",
            ("gain", "wrong_to_right"),
            default="gain",
            required=True,
            format_func=coverage.EFFECTS.__getitem__,
            **bound("ref-effect"),
        )
        within = kept["benchmark"].nunique() > 1 and st.toggle(
            "Within benchmarks",
            True,
            help="A far benchmark may simply be a hard one. Within benchmarks, every tenth is the "
            "same mix of them.",
            **bound("ref-within"),
        )
    beside = [name for name in CONTROLS if name in kept]
    ceiling = [name for name in ("oracle",) if name in kept]
    tenths = coverage.tenths(kept, [strategy, *ceiling, *beside], measure, within)
    slopes = coverage.slopes(kept, [strategy, *beside[-2:]], measure, effect)
    leads = {
        control: coverage.slopes(kept, [strategy], measure, "gain", control)
        for control in beside[-2:]
    }
    st.html("".join(f"<p>{sentence}</p>" for sentence in said(slopes, leads, effect)))
    left, right = st.columns(2, gap="large")
    with left:
        shown = tenths[tenths["strategy"].isin(["base", strategy, *ceiling])]
        show.figure(
            figures.by_tenth(shown, "accuracy", within),
            shown,
            "accuracy-by-distance",
            "Accuracy from the nearest tenth of the samples to the farthest, with 95 % intervals. "
            "The oracle reads the label.",
        )
    with right:
        shown = tenths[tenths["strategy"].isin([strategy, *beside])]
        what = "Gain over base" if effect == "gain" else "Base's wrong answers that turn right"
        show.figure(
            figures.by_tenth(shown, effect, within),
            shown,
            "effect-by-distance",
            f"{what} in the same tenths, beside controls that do not look for near neighbours (the "
            "paper's open question 3).",
        )
    show.figure(
        figures.slope_dots(slopes, effect, list(dict.fromkeys(slopes["benchmark"]))),
        slopes,
        "slopes",
        "Least-squares slopes with 95 % intervals, clustered by question, since a question recurs "
        "with other pictures. Left of zero: the farther, the less.",
    )


def said(slopes: pd.DataFrame, leads: dict[str, pd.DataFrame], effect: str) -> list[str]:
    """What slopes say, in sentences of HTML.

    Parameters
    ----------
    slopes : `analysis.coverage.slopes`; its first strategy is the one that is spoken of.
    leads : control -> the slopes of that strategy's lead over it.
    """
    strategy = slopes["strategy"].iloc[0]
    of = slopes[slopes["strategy"] == strategy].set_index("benchmark")
    what = "gain" if effect == "gain" else "share of wrong answers turned right"
    fair = coverage.WITHIN if coverage.WITHIN in of.index else of.index[0]
    where = "<b>Within benchmarks</b>, the fair comparison, " if fair == coverage.WITHIN else ""
    line = f"{where}{show.escape(label(strategy))}'s {what} {_change(of.loc[fair])}."
    if fair == coverage.WITHIN:
        pooled = of.loc[coverage.POOLED]
        line += f" Over all samples pooled it {_change(pooled)}."
        if pooled["slope"] * of.at[fair, "slope"] < 0:
            line += (
                " They differ in sign because benchmarks differ both in distance and in how much "
                "base leaves to gain: the pooled slope compares benchmarks, not neighbours."
            )
    ahead = [
        f"over “{show.escape(label(control))}” {_change(lead.set_index('benchmark').loc[fair])}"
        for control, lead in leads.items()
    ]
    if not ahead:
        return [line, "No control has been run, so this may not be the neighbours' doing."]
    return [line, f"Its lead on the same samples {'; '.join(ahead)}."]


def _change(row: pd.Series) -> str:
    if pd.isna(row["slope"]):
        return f"cannot be told from {row['questions']} different questions"
    bounds = f"95 % interval {row['low']:+.2f} to {row['high']:+.2f}".replace("-", "−")
    if row["low"] <= 0 <= row["high"]:
        return f"does not clearly change with distance ({bounds} points per 0.1)"
    way = "rises" if row["slope"] > 0 else "falls"
    return f"{way} by {abs(row['slope']):.1f} points per 0.1 of distance ({bounds})"


def _numbers(uses: pd.Series) -> None:
    whole, total = coverage.hubness(uses), int(uses.sum())
    numbers = {
        "Ever a neighbour": (
            f"{whole['used'] / len(uses):.0%}",
            f"{whole['used']:,} of {len(uses):,} references.",
        ),
        "Never": (f"{len(uses) - whole['used']:,}", "References that no sample is near."),
        "Uses of the top hundredth": (
            f"{whole['top']:.1f} %",
            f"Of {total:,} uses in all; 1 % if all references were used alike.",
        ),
        "Skew of uses": (
            f"{whole['skew']:.1f}",
            "0 where all are used alike; above about 1 there are hubs (Radovanović et al. 2010).",
        ),
    }
    for column, (title, (value, help)) in zip(st.columns(4), numbers.items(), strict=True):
        column.metric(title, value, help=help)


def _told(row: dict[str, object]) -> str:
    uses = f"\nneighbour of {row['uses']:,} samples" if row["uses"] else ""
    return f"{row['category']}: {GLYPHS[bool(row['correct'])]} {row['answer']}{uses}"
