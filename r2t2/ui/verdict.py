"""What the results say in plain words: computed from the tables, whatever they hold."""

from __future__ import annotations

import pandas as pd

from r2t2.analysis.results import MEAN, RANDOM_CONTROLS
from r2t2.figures.style import label
from r2t2.ui.results import chance, points

# What it means where NGD is not, or hardly, ahead of a control.
MEANING = {
    "ngd_same_type_neighbours": "To know the question's type is then about as good as to know "
    "its nearest neighbours: random references of the same type move r as far.",
    "finetuned_router": "A router trained on the same references reaches as much without any "
    "step at test time: the gain shows what the references know, not that only re-routing can "
    "use it.",
}
# A lead of less is called small, however certain many samples make it.
SMALL = 1.0


def sentences(table: pd.DataFrame, leads: pd.DataFrame) -> list[str]:
    """What NGD gains, and how much of it the controls have too.

    Parameters
    ----------
    table : `analysis.results.results_table`.
    leads : `analysis.results.leads` of NGD over the controls.
    """
    mean = table[table["benchmark"] == MEAN].set_index("strategy")
    if "ngd" not in mean.index:
        return ["There are no complete runs of NGD yet, so nothing can be said of its gain."]
    ngd = mean.loc["ngd"]
    said = [
        f"In the mean, NGD answers {ngd['accuracy']:.1f} % right, base "
        f"{ngd['accuracy'] - ngd['gain']:.1f} %: {points(ngd['gain'])} ({chance(ngd['p'])}). It "
        f"turns {ngd['wrong_to_right']:.1f} % of the wrong answers right and "
        f"{ngd['right_to_wrong']:.1f} % of the right ones wrong."
    ]
    if leads.empty:
        return [*said, "No control has been run, so this gain may not be re-routing at all."]
    said += _compared(leads)
    blind = mean[mean.index.isin(RANDOM_CONTROLS)]
    if len(blind):
        best = blind["gain"].idxmax()
        certain = leads.set_index("other")["holm"].get(best, 1.0) < 0.05
        said.append(_share(ngd["gain"], blind.at[best, "gain"], best, certain))
    missing = [name for name in RANDOM_CONTROLS if name not in set(leads["other"])]
    if missing:
        said.append(
            f"Not run yet: {', '.join(map(label, missing))}; the gain has not been held against "
            "them."
        )
    return said


def _compared(leads: pd.DataFrame) -> list[str]:
    """NGD against each control, sorted by what can be said of it."""
    certain, small = leads["holm"] < 0.05, leads["ahead"].abs() < SMALL
    ahead = leads["ahead"] > 0
    kinds = {
        "is ahead of": certain & ahead & ~small,
        "is ahead, but by less than a point, of": certain & ahead & small,
        "cannot be told from": ~certain,
        "is behind": certain & ~ahead,
    }
    said = [f"NGD {kind} {_listed(leads[which])}." for kind, which in kinds.items() if which.any()]
    matched = leads.loc[~kinds["is ahead of"], "other"]
    return said + [MEANING[name] for name in matched if name in MEANING]


def _share(gain: float, shared: float, control: str, certain: bool) -> str:
    if gain <= 0:
        return "NGD gains nothing over base, so there is no gain to explain."
    if shared >= gain:
        return (
            f"{label(control)} knows nothing of the sample and gains {points(shared)}, as much "
            "or more: none of NGD's gain is re-routing by near neighbours."
        )
    if shared <= 0:
        return (
            f"No control that knows nothing of the sample gains anything (the best of them, "
            f"{label(control)}: {points(shared)}): "
            + ("the whole gain is re-routing." if certain else "but the gain may be chance.")
        )
    return (
        f"{label(control)} knows nothing of the sample and gains {points(shared)}: so much of "
        f"NGD's gain is not re-routing. The remaining {gain - shared:.1f} points "
        + ("are." if certain else "may be, or may be chance.")
    )


def _listed(rows: pd.DataFrame) -> str:
    """Controls with the lead over them; the p that all share is told once."""
    certain = rows["holm"].max() < 0.001
    names = [
        f"{label(row.other)} ({points(row.ahead)}{'' if certain else ', ' + chance(row.holm)})"
        for row in rows.itertuples()
    ]
    return "; ".join(names) + ("; each p < 0.001" if certain else "")
