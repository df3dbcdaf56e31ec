"""What Compare shows of amortised strategies beside the exact ones."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st
from jaxtyping import Float

from r2t2 import cards as html
from r2t2.analysis import amortised as analysis
from r2t2.analysis import performance
from r2t2.analysis.results import MEAN
from r2t2.figures import amortised as figures
from r2t2.figures.style import label
from r2t2.paths import reference_folder
from r2t2.rerouting.settings import SURE
from r2t2.ui import compare, references, runs, show
from r2t2.ui.state import bound

if TYPE_CHECKING:
    from r2t2.fitted import FittedLosses
    from r2t2.reference import ReferenceSet
    from r2t2.runs.store import Run

Both = tuple["Run", "Run"]


@dataclass(frozen=True)
class Cost:
    """What a sample costs under an exact and an amortised strategy, and what the fit cost.

    Parameters
    ----------
    passes : of a sample in forward passes (a backward pass counts as two): base, exact, amortised.
    times_base : seconds of a sample over base's, exact and amortised; nan where not known.
    building : the fit's passes and seconds; nan where not known.
    """

    passes: tuple[float, float, float]
    times_base: tuple[float, float]
    building: tuple[float, float]

    @property
    def break_even(self) -> float:
        """After how many samples the fit's passes are saved."""
        return analysis.break_even(self.building[0], *self.passes[1:])


def section(found: list[Run]) -> None:
    """Strategies on fitted losses beside the exact ones: what they save, and what they lose."""
    family = compare.family(found)
    both = pairs(family)
    if not both:
        from r2t2.fitted import how_to_fit

        model, reference = family[0].spec.model, family[0].spec.reference
        show.empty(
            "Nothing amortised yet",
            "An amortised strategy reads its neighbours' losses off functions of r that are fitted "
            "once per reference set. These commands fit them and run it on all benchmarks:",
            f"{how_to_fit(model, reference)}\n"
            f"python -m r2t2 run --model {shlex.quote(model)} --strategy ngd_amortised",
        )
        return
    variant = st.segmented_control(
        "Strategy",
        list(both),
        default="ngd_amortised" if "ngd_amortised" in both else next(iter(both)),
        required=True,
        format_func=label,
        label_visibility="collapsed",
        **bound("amortised-strategy"),
    )
    picked = both[variant]
    name = label(runs.variant(picked[0][0]))
    table = agreement(picked)
    stored = references.stored(family[0].spec.reference, family[0].spec.model)
    fit = fitted_losses(family[0].spec.reference, stored)
    if any(fitted.spec.fit != fit.fingerprint for _, fitted in picked):
        st.warning(
            "Some of these runs were made on another fit than lies beside the reference set now: "
            "what is said of the fit is not said of theirs. Make them again to compare.",
            icon=":material/warning:",
        )
    st.html(cards(table, cost(picked, family, fit)))
    show.under(
        table,
        "amortised",
        f"{name} on exact and on fitted losses of its neighbours, on the same samples "
        f"of {len(picked)} benchmarks, each of the same weight. Passes are of one sample through "
        "the routed part of the model, a backward pass counting as two (paper: table 4). Times are "
        "those of these runs, whenever they were made; `python -m r2t2 bench` measures in turn.",
    )
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.subheader("What it loses", anchor=False)
        show.figure(
            figures.accuracy_pairs(table),
            table,
            "amortised-accuracy",
            "Accuracy of the exact and of the amortised strategy, by benchmark and in the mean.",
        )
    with right:
        st.subheader("How good the fit is", anchor=False)
        _errors(stored, fit.error.numpy(), fit.manifest["threshold"])
    _benchmarks(table)
    if not picked[0][1].spec.setting.get("sure"):
        _doubt(picked, name)


def _doubt(picked: Sequence[Both], name: str) -> None:
    """What the amortised strategy would reach if its least confident samples went the exact way."""
    st.subheader("What it is not sure of", anchor=False)
    table = doubted(picked)
    shown = {
        "same_answer": ("same answer, %", f"How often the answer is exact {name}'s"),
        "difference": (
            "difference, points",
            f"Its accuracy less exact {name}'s, with its 95 % interval",
        ),
    }
    for column, (kind, (title, said)) in zip(st.columns(2), shown.items(), strict=True):
        with column:
            show.figure(
                figures.doubt(table, kind, title, SURE),
                table,
                f"amortised-doubt-{kind}",
                f"{said}, where samples whose amortised answer has less confidence than a "
                "threshold are re-routed once more, on exact losses.",
            )
    show.table(
        pd.DataFrame(
            {
                "sure": table["sure"],
                "re-routed exactly": table["again"],
                "same answer": table["same_answer"],
                "accuracy": table["accuracy"],
                "difference": list(map(compare.signed, table["difference"])),
                "95 % interval": list(map(compare.span, table["low"], table["high"])),
                "passes": table["passes"],
            }
        ),
        "amortised-doubt",
        "Put together from these two runs: below the threshold in the first column the exact "
        f"run's answer stands. `--set sure={SURE}` makes such runs; {SURE} was chosen on the dev "
        "benchmark of the embedded model. Passes are of a sample, a backward one counting as two.",
        height="content",
        column_config={
            "sure": st.column_config.NumberColumn("sure", format="%.2f"),
            "passes": st.column_config.NumberColumn("passes", format="%.1f"),
            **_percent("re-routed exactly", "same answer", "accuracy"),
        },
    )


def _benchmarks(table: pd.DataFrame) -> None:
    """`agreement` as a table."""
    show.table(
        pd.DataFrame(
            {
                "benchmark": table["benchmark"],
                "exact": table["exact"],
                "amortised": table["amortised"],
                "difference": list(map(compare.signed, table["difference"])),
                "95 % interval": list(map(compare.span, table["low"], table["high"])),
                "same answer": table["same_answer"],
                "same outcome": table["same_outcome"],
                "n": table["n"],
            }
        ),
        "amortised-benchmarks",
        "Accuracy in percent; the difference is the amortised strategy's less the exact one's, in "
        "points, with its paired interval. Same outcome: both right or both wrong.",
        height="content",
        column_config={
            "n": st.column_config.NumberColumn("n", format="localized"),
            **_percent("exact", "amortised", "same answer", "same outcome"),
        },
    )


def _percent(*names: str) -> dict[str, Any]:
    """How columns of percentages are shown."""
    return {name: st.column_config.NumberColumn(name, format="%.1f %%") for name in names}


def _errors(
    stored: ReferenceSet, error: Float[np.ndarray, " references"], threshold: float
) -> None:
    """How well the references are fitted: all of them, and each, the worst first."""
    each = stored.table[["question", "label", "category", "position"]].assign(error=error)
    each = each.sort_values("error", ascending=False, kind="stable")
    show.figure(
        figures.error_bars(error, threshold),
        each,
        "amortised-error",
        f"Mean distance of each of the {len(error):,} references' fitted losses from the exact "
        f"ones, at routings on descents that were not fitted. {beyond(error, threshold)}",
    )
    with st.expander("By reference"):
        show.table(
            each,
            "amortised-references",
            "The error of each reference's fitted loss, in nats, the worst first; the position is "
            "that in the dataset that the set was built from.",
            column_config={"error": st.column_config.NumberColumn("error", format="%.3f")},
        )


def pairs(found: Sequence[Run]) -> dict[str, list[Both]]:
    """Exact and amortised runs of the same samples, by the amortised run's variant."""
    from r2t2.runs.selection import DEV, beside_exact

    kept: dict[str, list[Both]] = {}
    for exact, fitted in beside_exact(found):
        if exact.spec.benchmark != DEV:
            kept.setdefault(runs.variant(fitted), []).append((exact, fitted))
    return kept


@st.cache_data(max_entries=16, show_spinner=False, hash_funcs=runs.BY_CONTENT)
def agreement(found: Sequence[Both]) -> pd.DataFrame:
    """`analysis.amortised.agreement` of pairs of runs, by benchmark.

    Raises
    ------
    DamagedRun : a file of one of them is missing or damaged.
    """
    return analysis.agreement(_rows(found, "answer", "top1_after"))


@st.cache_data(max_entries=16, show_spinner=False, hash_funcs=runs.BY_CONTENT)
def doubted(found: Sequence[Both]) -> pd.DataFrame:
    """`analysis.amortised.doubted` of pairs of runs.

    Raises
    ------
    DamagedRun : a file of one of them is missing or damaged.
    """
    thresholds = [0, *(i / 100 for i in range(30, 101, 5))]
    return analysis.doubted(_rows(found, "answer", "confidence", "forward", "backward"), thresholds)


def _rows(found: Sequence[Both], *columns: str) -> dict[str, analysis.Both]:
    """The sample rows of pairs of runs, by benchmark."""
    wanted = ["position", "correct", *columns]
    both = sorted(found, key=lambda pair: pair[0].spec.benchmark)
    return {
        exact.spec.benchmark: (
            runs.samples([exact], *columns)[wanted],
            runs.samples([fitted], *columns)[wanted],
        )
        for exact, fitted in both
    }


def mean(table: pd.DataFrame) -> dict[str, Any]:
    """The row of `agreement` over all benchmarks."""
    return table[table["benchmark"] == MEAN].iloc[0].to_dict()


def fitted_losses(name: str, stored: ReferenceSet) -> FittedLosses:
    """The fit beside a reference set.

    Raises
    ------
    FileNotFoundError, ValueError : as `FittedLosses.load` says.
    """
    from r2t2.fitted import FittedLosses

    return FittedLosses.load(reference_folder(name), stored)


@st.cache_data(
    max_entries=16,
    show_spinner=False,
    hash_funcs={**runs.BY_CONTENT, "r2t2.fitted.FittedLosses": lambda fit: fit.built},
)
def cost(found: Sequence[Both], base: Sequence[Run], fit: FittedLosses) -> Cost:
    """What the strategies cost in these runs.

    Parameters
    ----------
    base : runs of the same model and seed, base's among them.
    fit : whose building is to be paid back.
    """
    from r2t2.runs.store import costs_table

    every = [run for run in base if run.spec.strategy == "base"]
    every += [run for both in found for run in both]
    table = performance.beside_base(costs_table(every)).set_index("id")
    exact, fitted = (table.loc[[both[i].id for both in found]] for i in (0, 1))
    return Cost(
        (
            exact["base_passes"].median(),
            exact["passes"].mean(),
            fitted["passes"].mean(),
        ),
        (exact["seconds_over"].median(), fitted["seconds_over"].median()),
        (
            len(fit.error) * (fit.built["forward"] + 2 * fit.built["backward"]),
            fit.built["seconds"],
        ),
    )


def beyond(error: Float[np.ndarray, " references"], threshold: float) -> str:
    """How many references keep their exact losses, as a sentence."""
    count = int((error > threshold).sum())
    if not count:
        return (
            f"None is beyond {threshold:.1f} nats, where the model would compute the loss itself."
        )
    return f"Of {count:,}, beyond {threshold:.1f} nats, the model computes the loss itself."


def cards(table: pd.DataFrame, cost: Cost) -> str:
    """What amortising saves and loses, as HTML: a card each."""
    of = mean(table)
    exact, fast = cost.times_base
    shown = {
        "Same answer": (
            f"{of['same_answer']:.1f} %",
            {"lowest": f"{table['same_answer'].min():.1f} %", "n": f"{of['n']:,}"},
        ),
        "Accuracy": (
            f"{of['amortised']:.1f} %",
            {
                "exact": f"{of['exact']:.1f} %",
                "difference": compare.signed(of["difference"]),
                "its interval": compare.span(of["low"], of["high"]),
            },
        ),
        "Time over base": (_times(fast), {"exact": _times(exact)}),
        "Passes of a sample": (
            f"{cost.passes[2]:.3g}",
            {"exact": f"{cost.passes[1]:.3g}", "base": f"{cost.passes[0]:.3g}"},
        ),
        "Samples until paid back": (
            f"{cost.break_even:,.0f}" if np.isfinite(cost.break_even) else "never",
            {
                "the fit's passes": f"{cost.building[0]:,.0f}",
                "its time": f"{cost.building[1]:,.0f} s",
            },
        ),
    }
    return (
        '<div class="r2-grid">'
        + "".join(
            f'<div class="r2-card"><div class="r2-name"><span>{name}</span></div>'
            f'<div class="r2-answer">{value}</div>{html.rows(facts)}</div>'
            for name, (value, facts) in shown.items()
        )
        + "</div>"
    )


def _times(value: float) -> str:
    return show.number(value) if np.isnan(value) else f"{value:.2g} ×"
