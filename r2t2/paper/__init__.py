"""The tables of the paper on R2-T2 (arXiv 2502.20395), transcribed: none of it was measured here.

`table-NN.csv` holds table NN as it is printed; an empty field is a dash there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd

from r2t2.analysis.results import MEAN

SOURCE = "arXiv 2502.20395"
ADDRESS = "https://arxiv.org/abs/2502.20395"
# MME-P is a sum of two accuracies over its subtasks, at most this; all others are percentages.
MME_MAXIMUM = 2000
_STRATEGIES = {
    "Base": "base",
    "Mode Finding": "mode_finding",
    "Kernel Regression": "kernel_regression",
    "NGD": "ngd",
    "Oracle": "oracle",
}


@dataclass(frozen=True)
class Table:
    """One of the paper's tables.

    Parameters
    ----------
    number : the paper's.
    title : what it is about, in a few words.
    caption : what it shows, in our words.
    note : where its figures and the paper's text, or another table, say different things.
    varies : the options of `rerouting.settings.Setting` that an ablation varies.
    rows : the table.
    """

    number: int
    title: str
    caption: str
    rows: pd.DataFrame
    note: str = ""
    varies: tuple[str, ...] = ()


# Number -> title, caption, note, varies.
_TOLD: dict[int, tuple[str, str, str, tuple[str, ...]]] = {
    1: (
        "reference sets and benchmarks",
        "The data that neighbours are taken from and that models are measured on. Of a larger "
        "reference set, 5,000 samples are drawn.",
        "",
        (),
    ),
    2: (
        "strategies on MoVA and MoAI",
        "Accuracy in percent (of MME-P the score) of the base models, the three strategies with "
        "k = 5, and the oracle.",
        "The text calls +6.9 (MMBench), +66.1 (MME-P) and +6.8 (TextVQA) MoAI's gains and +5.9, "
        "+71.5 and +5.7 MoVA's; by the table it is the other way round. The text also says that "
        "70–80 % of the oracle's gain is reached; by the table it is 35 to 61 %, in the mean "
        "49 % for both.",
        (),
    ),
    3: (
        "NGD beside other models",
        "Accuracy in percent (of MME-P the score) of vision-language models of four sizes and of "
        "both base models with and without NGD.",
        "",
        (),
    ),
    4: (
        "cost of the strategies",
        "FLOPs of one case of MMBench on MoAI, with k = 5, and the accuracy in percent that they "
        "buy.",
        "The oracle's accuracy here, 89.8, is 92.1 in table 2.",
        (),
    ),
    5: (
        "neighbourhood",
        "Mean accuracy of NGD on MoAI with neighbours in a ball or the k nearest.",
        "",
        ("neighbourhood", "k", "epsilon"),
    ),
    6: ("kernel", "Mean accuracy of NGD on MoAI by kernel.", "", ("kernel", "bandwidth")),
    7: ("embedding model", "Mean accuracy of NGD on MoAI by embedding model.", "", ()),
    8: ("steps", "Mean accuracy of NGD on MoAI by number of steps.", "", ("steps",)),
    9: (
        "learning rate schedule, by benchmark",
        "Accuracy in percent (of MME-P the score) of NGD on MoAI by learning rate schedule.",
        "The text puts the cosine schedule up to 12.7 points ahead of the fixed rate of 1e-3; by "
        "the table it is up to 14.1.",
        ("schedule", "learning_rate", "final_learning_rate"),
    ),
    10: (
        "neighbourhood, by benchmark",
        "Accuracy in percent (of MME-P the score) behind the means of table 5.",
        "",
        ("neighbourhood", "k", "epsilon"),
    ),
    11: (
        "kernel, by benchmark",
        "Accuracy in percent (of MME-P the score) behind the means of table 6.",
        "",
        ("kernel", "bandwidth"),
    ),
    12: (
        "embedding model, by benchmark",
        "Accuracy in percent (of MME-P the score) behind the means of table 7.",
        "",
        (),
    ),
    13: (
        "steps, by benchmark",
        "Accuracy in percent (of MME-P the score) behind the means of table 8, with one more "
        "number of steps.",
        "",
        ("steps",),
    ),
}


@lru_cache(maxsize=1)
def tables() -> dict[int, Table]:
    """All tables by number; shared, so read them only."""
    folder = Path(__file__).parent
    return {
        number: Table(
            number,
            title,
            caption,
            pd.read_csv(folder / f"table-{number:02d}.csv", dtype={"evaluation size": "Int64"}),
            note,
            varies,
        )
        for number, (title, caption, note, varies) in _TOLD.items()
    }


def in_percent(scores: pd.DataFrame) -> pd.DataFrame:
    """Columns of scores with MME-P as a percentage of its maximum, as the paper's means take it."""
    if "MME-P" not in scores:
        return scores
    return scores.assign(**{"MME-P": 100 * scores["MME-P"] / MME_MAXIMUM})


@lru_cache(maxsize=1)
def reported() -> pd.DataFrame:
    """Table 2 in the form of `analysis.results.results_table`; shared, so read it only.

    Returns
    -------
    One row per model, benchmark (and `MEAN`) and strategy: accuracy in percent, gain over base
    in points and oracle_share in percent, worked out from the accuracies.
    """
    wide = tables()[2].rows.set_index(["model", "method"])
    wide = in_percent(wide).assign(**{MEAN: lambda scores: scores.mean(axis=1)})
    table = wide.rename_axis(columns="benchmark").stack().rename("accuracy").reset_index()
    table["strategy"] = table.pop("method").map(_STRATEGIES)
    of = table.set_index(["model", "benchmark", "strategy"])["accuracy"].unstack("strategy")
    places = pd.MultiIndex.from_frame(table[["model", "benchmark"]])
    table["gain"] = table["accuracy"] - of["base"].reindex(places).to_numpy()
    ceiling = (of["oracle"] - of["base"]).reindex(places).to_numpy()
    return table.assign(oracle_share=100 * table["gain"] / ceiling)
