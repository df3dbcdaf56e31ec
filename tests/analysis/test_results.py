"""Tables from runs, against numbers worked out by hand."""

import pandas as pd
import pytest

from r2t2.analysis.results import MEAN, outcomes, results_table, verdict
from r2t2.statistics import interval, mcnemar


def _rows(strategy, pairs, benchmark="b", seed=0):
    return pd.DataFrame(
        {
            "model": "m",
            "benchmark": benchmark,
            "seed": seed,
            "strategy": strategy,
            "base_correct": [a for a, _ in pairs],
            "correct": [b for _, b in pairs],
        }
    )


GAIN = [(False, True)] * 4 + [(True, False)] + [(True, True)] * 3 + [(False, False)] * 2
BASE = [(a, a) for a, _ in GAIN]
BEST = [(a, True) for a, _ in GAIN]


@pytest.fixture
def table():
    frames = [_rows("base", BASE), _rows("ngd", GAIN), _rows("oracle", BEST)]
    return results_table(pd.concat(frames)).set_index(["benchmark", "strategy"])


def test_accuracy_gain_and_flips_are_those_of_the_pairs(table):
    row = table.loc["b", "ngd"]
    assert row["n"] == 10
    assert row["accuracy"] == pytest.approx(70)
    assert row["gain"] == pytest.approx(30)
    assert row["wrong_to_right"] == pytest.approx(100 * 4 / 6)
    assert row["right_to_wrong"] == pytest.approx(100 / 4)
    assert row["oracle_share"] == pytest.approx(100 * 3 / 6)


def test_p_is_mcnemars_exact_one(table):
    assert table.loc["b", "ngd"]["p"] == pytest.approx(2 * (1 + 5) / 2**5)
    assert mcnemar(0, 0) == 1


def test_the_interval_is_wilsons():
    low, high = interval(7, 10)
    z = 1.959964
    centre = (0.7 + z**2 / 20) / (1 + z**2 / 10)
    half = z / (1 + z**2 / 10) * (0.7 * 0.3 / 10 + z**2 / 400) ** 0.5
    assert (low, high) == pytest.approx((centre - half, centre + half), abs=1e-5)


def test_the_mean_weighs_benchmarks_equally():
    many = _rows("base", [(True, True)] * 30, "many")
    few = _rows("base", [(False, False)] * 10, "few")
    table = results_table(pd.concat([many, few])).set_index("benchmark")
    assert table.loc[MEAN, "accuracy"] == pytest.approx(50)
    assert table.loc[MEAN, "n"] == 40


def test_seeds_are_pooled_and_their_range_is_shown():
    rows = pd.concat(
        [_rows("base", [(True, True)] * 10, seed=0), _rows("base", [(False, False)] * 10, seed=1)]
    )
    row = results_table(rows).set_index("benchmark").loc["b"]
    assert (row["n"], row["accuracy"]) == (20, pytest.approx(50))
    assert (row["lowest_seed"], row["highest_seed"]) == (0, 100)


def test_without_an_oracle_there_is_no_share_of_it():
    assert results_table(_rows("ngd", GAIN))["oracle_share"].isna().all()


def test_a_control_is_beaten_only_where_the_intervals_part():
    def frame(strategy, right, n):
        return _rows(strategy, [(False, i < right) for i in range(n)])

    rows = pd.concat(
        [frame("ngd", 900, 1000), frame("uniform", 500, 1000), frame("constant", 890, 1000)]
    )
    found = verdict(results_table(rows)).set_index("control")
    assert bool(found.loc["uniform", "beats"])
    assert not bool(found.loc["constant", "beats"])
    assert found.loc["uniform", "ahead"] == pytest.approx(40)


def test_outcomes_name_what_became_of_a_sample():
    assert outcomes(_rows("ngd", GAIN)).value_counts().to_dict() == {
        "wrong to right": 4,
        "stayed right": 3,
        "stayed wrong": 2,
        "right to wrong": 1,
    }
