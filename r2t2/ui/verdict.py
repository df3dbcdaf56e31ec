"""What the results say in plain words: computed from the table, whatever it holds."""

from __future__ import annotations

import pandas as pd

from r2t2.analysis.results import MEAN, RANDOM_CONTROLS, verdict
from r2t2.figures.style import label

# What it means where NGD is not clearly ahead of a control.
MEANING = {
    "ngd_same_type_neighbours": "To know the question's type is then about as good as to know "
    "its nearest neighbours: random references of the same type move r as far.",
    "finetuned_router": "A router trained on the same references reaches as much without any "
    "step at test time: the gain shows what the references know, not that only re-routing can "
    "use it.",
}


def sentences(table: pd.DataFrame) -> list[str]:
    """What NGD gains, and how much of it the controls have too.

    Parameters
    ----------
    table : `analysis.results_table`.
    """
    mean = table[table["benchmark"] == MEAN].set_index("strategy")
    if "ngd" not in mean.index:
        return ["There are no complete runs of NGD yet, so nothing can be said of its gain."]
    ngd = mean.loc["ngd"]
    base = ngd["accuracy"] - ngd["gain"]
    said = [
        f"In the mean, NGD answers {ngd['accuracy']:.1f} % right, base {base:.1f} %: "
        f"{_points(ngd['gain'])}. It turns {ngd['wrong_to_right']:.1f} % of the wrong answers "
        f"right and {ngd['right_to_wrong']:.1f} % of the right ones wrong."
    ]
    against = verdict(table)
    if against.empty:
        return [*said, "No control has been run, so this gain may not be re-routing at all."]
    against = against.assign(beats=against["beats"].astype(bool))
    won, lost = against[against["beats"]], against[~against["beats"]]
    if len(won):
        said.append(f"NGD beats {_listed(won)}.")
    if len(lost):
        said.append(f"NGD is not clearly ahead of {_listed(lost)}.")
        said += [MEANING[name] for name in lost["control"] if name in MEANING]
    blind = against[against["control"].isin(RANDOM_CONTROLS)]
    if len(blind):
        best = blind.loc[blind["accuracy"].idxmax()]
        said.append(_share(ngd["gain"], best["accuracy"] - base, best["control"], best["beats"]))
    missing = [name for name in RANDOM_CONTROLS if name not in set(against["control"])]
    if missing:
        said.append(
            f"Not run yet: {', '.join(map(label, missing))}; the gain has not been held against "
            "them."
        )
    return said


def _share(gain: float, shared: float, control: str, beaten: bool) -> str:
    if gain <= 0:
        return "NGD gains nothing over base, so there is no gain to explain."
    if shared >= gain:
        return (
            f"{label(control)} knows nothing of the sample and gains {_points(shared)}, as much "
            "or more: none of NGD's gain is re-routing by near neighbours."
        )
    if shared <= 0:
        return (
            f"No control that knows nothing of the sample gains anything (the best of them, "
            f"{label(control)}: {_points(shared)}): the whole gain is re-routing."
        )
    return (
        f"{label(control)} knows nothing of the sample and gains {_points(shared)}: so much of "
        f"NGD's gain is not re-routing. The remaining {gain - shared:.1f} points "
        + ("are." if beaten else "may be, or may be chance: the intervals touch.")
    )


def _points(value: float) -> str:
    return f"{value:+.1f} points".replace("-", "−")


def _listed(rows: pd.DataFrame) -> str:
    pairs = zip(rows["control"], rows["ahead"], strict=True)
    return ", ".join(f"{label(name)} ({_points(ahead)})" for name, ahead in pairs)
