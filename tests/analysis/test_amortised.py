"""Amortised runs beside exact ones: against counts made by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from r2t2.analysis.amortised import agreement, break_even, doubted
from r2t2.analysis.pairs import paired
from r2t2.analysis.results import MEAN
from r2t2.rerouting.settings import SURE
from r2t2.runs.selection import beside_exact, best
from r2t2.runs.store import gather, list_runs


def rows(answers, right, positions=None):
    text = pd.Series(list(answers)).astype("category")
    places = range(len(answers)) if positions is None else positions
    return pd.DataFrame({"position": places, "correct": right, "answer": text, "top1_after": text})


@pytest.fixture(scope="module")
def table():
    colour = rows("aabb", [True, True, True, False]), rows("aaba", [True, True, True, True])
    reading = rows("ab", [True, True]), rows("cb", [False, True])
    return agreement({"colour": colour, "reading": reading}).set_index("benchmark")


def test_a_benchmark_has_both_accuracies_and_their_agreement(table):
    one = table.loc["colour"]
    assert (one["exact"], one["amortised"], one["difference"]) == (75, 100, 25)
    assert (one["same_answer"], one["same_outcome"], one["n"]) == (75, 75, 4)


def test_the_mean_weighs_benchmarks_equally(table):
    mean = table.loc[MEAN]
    assert (mean["exact"], mean["amortised"]) == (87.5, 75)
    assert mean["difference"] == -12.5
    assert mean["same_answer"] == pytest.approx((75 + 50) / 2)
    assert mean["n"] == 6


def test_the_means_interval_adds_the_benchmarks_variances():
    generator = np.random.default_rng(0)
    runs, halves = {}, []
    for name in ("a", "b", "c"):
        exact, fitted = generator.random((2, 300)) < 0.7
        runs[name] = rows(["x"] * 300, exact), rows(["x"] * 300, fitted)
        found = paired(fitted, exact)
        halves.append((found["high"] - found["low"]) / 2)
    mean = agreement(runs).set_index("benchmark").loc[MEAN]
    half = (mean["high"] - mean["low"]) / 2
    assert half == pytest.approx(np.linalg.norm(halves) / 3)
    assert mean["low"] < mean["difference"] < mean["high"]


def test_only_samples_that_both_have_count():
    both = rows("ab", [True, True]), rows("bc", [True, False], [1, 2])
    assert agreement({"x": both}).loc[0, "n"] == 1


def test_a_fit_is_paid_back_by_what_a_sample_saves():
    assert break_even(300, 31, 1) == 10
    assert break_even(300, 1, 1) == np.inf


def test_below_the_threshold_the_exact_answer_stands_and_costs_its_passes():
    confident = {"confidence": [0.9, 0.4, 0.6, 0.1], "forward": 2, "backward": 0}
    amortised = rows("abca", [True, False, False, True]).assign(**confident)
    exact = rows("bbbb", [False, True, True, False]).assign(confidence=1, forward=10, backward=4)
    table = doubted({"x": (exact, amortised)}, [0, 0.5, 0.6, 1]).set_index("sure")
    assert table["again"].tolist() == [0, 50, 50, 100]
    assert table["same_answer"].tolist() == [25, 50, 50, 100]
    assert table["accuracy"].tolist() == [50, 50, 50, 50]
    assert table["difference"].tolist() == [0, 0, 0, 0]
    assert table["passes"].tolist() == [2, 2 + 18 / 2, 2 + 18 / 2, 2 + 18]


def test_what_is_foretold_of_a_threshold_is_what_its_runs_reach():
    columns = ["position", "correct", "answer", "top1_after", "confidence", "forward", "backward"]
    shipped = best(list_runs(Path(__file__).parents[2] / "cache" / "runs"))
    pairs: dict[float, dict] = {0: {}, SURE: {}}
    for exact, fitted in beside_exact(shipped):
        if fitted.spec.strategy == "ngd_amortised":
            both = tuple(gather([run], "samples", columns) for run in (exact, fitted))
            pairs[fitted.spec.setting.get("sure", 0)][fitted.spec.benchmark] = both
    assert len(pairs[0]) == len(pairs[SURE]) == 10
    foretold = doubted(pairs[0], [SURE]).iloc[0]
    reached = agreement(pairs[SURE]).set_index("benchmark").loc[MEAN]
    # Other batches are rounded otherwise.
    assert foretold["same_answer"] == pytest.approx(reached["same_answer"], abs=0.2)
    assert foretold["difference"] == pytest.approx(reached["difference"], abs=0.2)
    spent = [amortised["forward"].mean() for _, amortised in pairs[SURE].values()]
    assert np.mean(spent) > 2.2
