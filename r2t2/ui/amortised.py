"""What Compare shows of amortised strategies beside the exact ones."""

from __future__ import annotations

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
from r2t2.paths import reference_folder
from r2t2.ui import compare, runs, show

if TYPE_CHECKING:
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


def pairs(found: Sequence[Run]) -> dict[str, list[Both]]:
    """Exact and amortised runs of the same samples, by the exact run's variant."""
    from r2t2.runs.selection import DEV, beside_exact

    kept: dict[str, list[Both]] = {}
    for exact, fitted in beside_exact(found):
        if exact.spec.benchmark != DEV:
            kept.setdefault(runs.variant(exact), []).append((exact, fitted))
    return kept


@st.cache_data(max_entries=16, show_spinner=False, hash_funcs=runs.BY_CONTENT)
def agreement(found: Sequence[Both]) -> pd.DataFrame:
    """`analysis.amortised.agreement` of pairs of runs, by benchmark.

    Raises
    ------
    DamagedRun : a file of one of them is missing or damaged.
    """
    columns = ("position", "correct", "answer", "top1_after")
    both = {
        exact.spec.benchmark: tuple(
            runs.samples([run], "answer", "top1_after")[list(columns)] for run in (exact, fitted)
        )
        for exact, fitted in sorted(found, key=lambda pair: pair[0].spec.benchmark)
    }
    return analysis.agreement(both)


def mean(table: pd.DataFrame) -> dict[str, Any]:
    """The row of `agreement` over all benchmarks."""
    return table[table["benchmark"] == MEAN].iloc[0].to_dict()


def fit(reference: str) -> tuple[dict[str, Any], Float[np.ndarray, " references"]]:
    """What is told of a reference set's fit, and its error at each reference, in nats.

    Raises
    ------
    FileNotFoundError, ValueError : there is none, or it cannot be read.
    """
    from r2t2.fitted import told

    return told(reference_folder(reference))


@st.cache_data(max_entries=16, show_spinner=False, hash_funcs=runs.BY_CONTENT)
def cost(found: Sequence[Both], base: Sequence[Run], told: dict[str, Any], references: int) -> Cost:
    """What the strategies cost in these runs.

    Parameters
    ----------
    base : runs of the same model and seed, base's among them.
    told : of the fit.
    references : how many were fitted.
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
            references * (told["built"]["forward"] + 2 * told["built"]["backward"]),
            told["built"]["seconds"],
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
