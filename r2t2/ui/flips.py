"""What the Flips page is made of: the story of its samples, what sums it up, what narrows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from r2t2.analysis import flips
from r2t2.analysis.results import OUTCOMES, outcomes
from r2t2.figures.flips import FLIPS, at, between, ends_of, outcome_label, stage_names
from r2t2.figures.style import CORRECT, GLYPHS, WRONG, label
from r2t2.ui import listen, runs, show, specs
from r2t2.ui.specs import CONTROLS
from r2t2.ui.state import bound, put

if TYPE_CHECKING:
    from r2t2.runs.store import Run

ANY = "any"
WAVERING = "2 or more"
MOMENT = "What happened between two steps, or was so at one; a click on a figure sets it."
CHANGES = "How often an answer's correctness changed over the steps."
SETTLED = "The step from which on the answer is the final one; 0 if it never changed."
# Order of samples -> column and whether it rises.
ORDERS = {
    "most confidence gained": ("confidence_change", False),
    "most confidence lost": ("confidence_change", True),
    "most changes": ("changes", False),
    "latest to settle": ("settled", False),
    "as in the benchmark": ("position", True),
}
_FACETS = {
    "flips-outcome": ANY,
    "flips-moment": ANY,
    "flips-changes": ANY,
    "flips-settled": ANY,
    "flips-confidence": (-100, 100),
}
# Step and whether the answer is right there -> what a sample must have been to be listed.
Moment = dict[int, bool]


@dataclass(frozen=True)
class Story:
    """What happened to each sample of some runs of one strategy.

    Parameters
    ----------
    strategy : the variant.
    samples : model, benchmark, seed, position, base_answer, answer, base_confidence,
        confidence, base_correct, correct, outcome, confidence_change (points) and path
        ("✗✓✓"); if `stepwise` also changes and settled (`analysis.flips.histories`), missing
        for samples of runs that did not keep their steps.
    paths : `analysis.flips.paths` of the samples whose steps are kept, with their index in
        `samples`; unless `stepwise` those of all samples, from before to after.
    pooled, by_benchmark : `analysis.flips.turned` of these runs and of their controls'.
    """

    strategy: str
    samples: pd.DataFrame
    paths: pd.DataFrame
    pooled: pd.DataFrame
    by_benchmark: pd.DataFrame

    @property
    def stepwise(self) -> bool:
        """Whether there is more to tell than before and after."""
        return "settled" in self.samples

    @property
    def stages(self) -> dict[int, str]:
        """What the steps of `paths` are called."""
        return stage_names(list(self.paths.columns))


@st.cache_resource(max_entries=16, show_spinner=False, hash_funcs=runs.BY_CONTENT)
def story(found: list[Run], controls: list[Run]) -> Story:
    """What happened to the samples of one strategy's runs; shared by all sessions.

    Raises
    ------
    DamagedRun : a file of one of them is missing or damaged.
    """
    rows = runs.samples(found, "base_answer", "answer", "base_confidence", "confidence")
    change = 100 * (rows["confidence"] - rows["base_confidence"])
    rows = rows.assign(outcome=outcomes(rows), confidence_change=change)
    paths = flips.ends(rows)
    traced = kept(found)
    steps = runs.steps(traced, "correct", "answer")
    if steps["step"].max() > 1:
        index = rows.index[rows["run"].isin([run.id for run in traced])]
        rows = rows.join(flips.histories(steps).set_axis(index))
        paths = flips.paths(steps).set_axis(index)
    both = runs.samples([*found, *controls])
    return Story(
        strategy=runs.variant(found[0]),
        samples=rows.assign(path=_written(paths).reindex(rows.index)),
        paths=paths,
        pooled=flips.turned(both),
        by_benchmark=flips.turned(both, "benchmark"),
    )


def kept(found: Sequence[Run]) -> list[Run]:
    """Those that stored more than the first and the last step."""
    return [run for run in found if run.spec.trace == "all"]


def beside(found: Sequence[Run], every: Sequence[Run]) -> list[Run]:
    """The controls' runs on the very samples of some runs of one strategy."""
    asked = {specs.asked(run) for run in found}
    own = runs.variant(found[0])
    return [
        run
        for run in every
        if runs.variant(run) in CONTROLS and runs.variant(run) != own and specs.asked(run) in asked
    ]


def headline(told: Story) -> None:
    """What a strategy turned, and what its controls gain, as cards."""
    by_name = told.pooled.set_index("strategy")
    own = by_name.loc[told.strategy]
    n, wrong = int(own["n"]), round(own["n"] * (100 - own["base_accuracy"]) / 100)
    right = n - wrong
    to_right, to_wrong = int(own["wrong_to_right"]), int(own["right_to_wrong"])
    cards = [
        _card(
            label(told.strategy),
            f"{_points(own['gain'])} points",
            f"{own['base_accuracy']:.1f} → {own['accuracy']:.1f} % right\nof {n:,} samples",
        ),
        _card(
            outcome_label("wrong to right"),
            f'<span style="color:{CORRECT}">{_share(to_right, wrong)}</span>',
            f"{to_right:,} of {wrong:,} wrong",
        ),
        _card(
            outcome_label("right to wrong"),
            f'<span style="color:{WRONG}">{_share(to_wrong, right)}</span>',
            f"{to_wrong:,} of {right:,} right",
        ),
    ]
    gains = "".join(
        f"<span>{label(name)}</span><span>{_gain(by_name, name, n)}</span>"
        for name in CONTROLS
        if name != told.strategy
    )
    controls = (
        '<div class="r2-card" style="grid-column: span 2"><div class="r2-name">'
        f'<span>Controls</span></div><div class="r2-rows">{gains}</div></div>'
    )
    st.html(f'<div class="r2-grid">{"".join(cards)}{controls}</div>')
    st.caption(
        f"Gain over base in points (McNemar's exact p: {probability(own['p'])}), the shares of "
        "base's wrong and right answers that turned, and the controls' gains on the same samples: "
        "what a control gains too is not re-routing."
    )


def probability(p: float) -> str:
    """A p as it is shown."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def moments(told: Story) -> dict[str, Moment]:
    """What can be asked of samples' ways, by name: between two steps, or at one."""
    names, shown = told.stages, flips.stages(told.paths)
    steps = list(names)
    asked = {
        between(outcome, names[a], names[b]): dict(zip((a, b), ends_of(outcome), strict=True))
        for pairs, what in (
            (pairwise(shown), OUTCOMES),
            (pairwise(steps), FLIPS),
            (((0, step) for step in steps[1:]), FLIPS),
        )
        for a, b in pairs
        for outcome in what
    }
    ends = {at(right, names[step]): {step: right} for step in shown for right in (True, False)}
    return asked | ends


def clicked(figure: str) -> list[Any]:
    """What names the samples of the point that was just clicked; empty without one."""
    point = listen.clicks(figure)
    custom = point and point["custom"]
    return custom if custom and custom[0] is not None else []


def choose(**facets: Any) -> None:
    """List the samples of these facets and no others; before the facets are drawn."""
    put(**_FACETS | {f"flips-{name}": value for name, value in facets.items()} | {"flips-page": 1})


def narrowed(told: Story) -> pd.DataFrame:
    """The samples that the facets leave, in the order that is chosen."""
    rows, asked = told.samples, moments(told)
    head = st.container(horizontal=True, vertical_alignment="center", key="flips-head")
    head.subheader("Samples", anchor=False, width="stretch")
    orders = [name for name, (column, _) in ORDERS.items() if column in rows]
    order = head.selectbox(
        "Order", orders, label_visibility="collapsed", width=220, **bound("flips-order")
    )
    head.button("Show all", icon=":material/filter_alt_off:", on_click=choose, key="flips-all")
    changes = settled = ANY
    with st.container(horizontal=True, vertical_alignment="bottom", key="flips-facets"):
        outcome = _pick("Outcome", "flips-outcome", list(OUTCOMES), 190, outcome_label)
        moment = _pick("Moment", "flips-moment", list(asked), 190, help=MOMENT)
        if told.stepwise:
            numbers = [WAVERING, *map(str, range(int(rows["changes"].max()) + 1))]
            changes = _pick("Changes", "flips-changes", numbers, 110, help=CHANGES)
            steps = list(map(str, told.paths.columns))
            settled = _pick("Settled", "flips-settled", steps, 110, help=SETTLED)
        low, high = st.slider(
            "Confidence change", -100, 100, (-100, 100), 5, width=170, **bound("flips-confidence")
        )
    if outcome != ANY:
        rows = rows[rows["outcome"] == outcome]
    if moment != ANY:
        rows = rows[_were(told.paths, asked[moment]).reindex(rows.index, fill_value=False)]
    if changes == WAVERING:
        rows = rows[rows["changes"] >= 2]
    elif changes != ANY:
        rows = rows[rows["changes"] == int(changes)]
    if settled != ANY:
        rows = rows[rows["settled"] == int(settled)]
    if (low, high) != (-100, 100):
        rows = rows[rows["confidence_change"].between(low, high)]
    column, rises = ORDERS[order]
    return rows.sort_values(column, ascending=rises, kind="stable")


def facts(row: dict[str, Any]) -> str:
    """What a card of the list says of a sample."""
    lines = [
        f"{row['base_answer']} {GLYPHS[row['base_correct']]} → "
        f"{row['answer']} {GLYPHS[row['correct']]}",
    ]
    if not pd.isna(row["confidence"]):
        lines.append(f"confidence {row['base_confidence']:.0%} → {row['confidence']:.0%}")
    if isinstance(row["path"], str) and len(row["path"]) > 2:
        lines.append(row["path"])
    return "\n".join(lines)


def note(found: Sequence[Run], told: Story) -> None:
    """Of which runs the steps between are missing, and how they would be kept."""
    if any(run.spec.external for run in found):
        st.info(
            "Another evaluator's results, laid over base: before is what base here answered, after "
            "what the file says. Nothing was re-routed.",
            icon=":material/info:",
        )
        return
    missing = [run for run in found if run not in kept(found)]
    if missing and any("steps" in run.spec.setting for run in missing):
        some = f"Steps of {len(told.paths):,} of {len(told.samples):,} samples are shown"
        show.empty(
            some if told.stepwise else "The steps between were not kept",
            f"{'The other' if told.stepwise else 'These'} runs know only what was right before and "
            "after. Computed again with all steps, they also tell when answers turn, and which "
            "flip back and forth:",
            specs.command(missing, "all"),
        )
    elif not told.stepwise:
        st.info(
            "This strategy moves r at once: there are no steps between before and after.",
            icon=":material/info:",
        )


def _written(paths: pd.DataFrame) -> pd.Series:
    """Paths as texts: "✗✓✓"."""
    glyphs = np.where(paths.to_numpy(), GLYPHS[True], GLYPHS[False])
    texts = np.ascontiguousarray(glyphs).view(f"<U{len(paths.columns)}")
    return pd.Series(texts[:, 0], paths.index)


def _were(paths: pd.DataFrame, moment: Moment) -> pd.Series:
    return pd.concat([paths[step] == right for step, right in moment.items()], axis=1).all(axis=1)


def _pick(
    name: str,
    key: str,
    options: list[str],
    width: int,
    shown: Callable[[str], str] = str,
    **arguments: Any,
) -> str:
    return st.selectbox(
        name,
        [ANY, *options],
        format_func=lambda option: option if option == ANY else shown(option),
        width=width,
        **arguments,
        **bound(key),
    )


def _card(name: str, value: str, said: str) -> str:
    return (
        f'<div class="r2-card"><div class="r2-name">{show.escape(name)}</div>'
        f'<div class="r2-answer">{value}</div><div class="r2-small">{said}</div></div>'
    )


def _gain(by_name: pd.DataFrame, strategy: str, n: int) -> str:
    # On fewer samples it would be the gain on other questions.
    there = strategy in by_name.index and by_name.at[strategy, "n"] == n
    return _points(by_name.at[strategy, "gain"]) if there else "not run"


def _points(value: float) -> str:
    # Zero is added so that what rounds to it has no minus.
    return f"{round(value, 1) + 0:+.1f}".replace("-", "−")


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"
