"""Tables from runs, against numbers worked out by hand, scipy and plain Python."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from r2t2.analysis.results import (
    MEAN,
    category_table,
    figures,
    leads,
    outcomes,
    per_seed,
    results_table,
)
from r2t2.statistics import holm, interval, mcnemar, paired_difference


def _rows(strategy, pairs, benchmark="b", seed=0, **columns):
    return pd.DataFrame(
        {
            "model": "m",
            "benchmark": benchmark,
            "seed": seed,
            "strategy": strategy,
            "position": range(len(pairs)),
            "base_correct": [a for a, _ in pairs],
            "correct": [b for _, b in pairs],
            **columns,
        }
    )


def _table(*frames):
    return results_table(figures(pd.concat(frames)))


GAIN = [(False, True)] * 4 + [(True, False)] + [(True, True)] * 3 + [(False, False)] * 2
BASE = [(a, a) for a, _ in GAIN]
BEST = [(a, True) for a, _ in GAIN]


@pytest.fixture
def table():
    frames = [_rows("base", BASE), _rows("ngd", GAIN), _rows("oracle", BEST)]
    return _table(*frames).set_index(["benchmark", "strategy"])


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


@pytest.mark.parametrize(("gained", "lost"), [(0, 7), (12, 12), (40, 61), (3000, 2800)])
def test_mcnemars_p_is_that_of_a_fair_coin(gained, lost):
    assert mcnemar(gained, lost) == pytest.approx(binomtest(gained, gained + lost).pvalue)


@pytest.mark.parametrize(("right", "n"), [(0, 5), (7, 10), (20, 20), (9, 8000)])
def test_the_interval_is_wilsons(right, n):
    reference = binomtest(right, n).proportion_ci(method="wilson")
    assert interval(right, n) == pytest.approx((reference.low, reference.high), abs=1e-6)


def test_holms_correction_is_the_one_of_the_textbook():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1, 1]


def test_the_interval_of_a_paired_difference_holds_it_nineteen_times_in_twenty():
    draws = np.random.default_rng(0).multinomial(60, [0.3, 0.1, 0.6], size=4000)
    inside = 0
    for won, lost, _ in draws:
        centre, error = paired_difference(won, lost, 60)
        inside += abs(centre - 0.2) <= 1.96 * error
    assert 0.94 <= inside / len(draws) <= 0.97


def test_the_mean_weighs_benchmarks_equally():
    many = _rows("base", [(True, True)] * 30, "many")
    few = _rows("base", [(False, False)] * 10, "few")
    table = _table(many, few).set_index("benchmark")
    assert table.loc[MEAN, "accuracy"] == pytest.approx(50)
    assert table.loc[MEAN, "n"] == 40


def _seeds():
    right, wrong = [(True, True)] * 10, [(False, False)] * 10
    frames = [_rows("base", right, "a", 0), _rows("base", right, "b", 0)]
    return pd.concat([*frames, _rows("base", right, "a", 1), _rows("base", wrong, "b", 1)])


def test_seeds_are_pooled_and_their_range_is_shown():
    table = results_table(figures(_seeds())).set_index("benchmark")
    assert (table.loc["b", "n"], table.loc["b", "accuracy"]) == (20, pytest.approx(50))
    assert (table.loc["b", "lowest_seed"], table.loc["b", "highest_seed"]) == (0, 100)
    assert (table.loc[MEAN, "lowest_seed"], table.loc[MEAN, "highest_seed"]) == (50, 100)


def test_every_seed_has_its_accuracy_and_its_mean():
    of = per_seed(figures(_seeds())).set_index(["benchmark", "seed"])["accuracy"]
    assert of.to_dict() == {
        ("a", 0): 100,
        ("b", 0): 100,
        ("a", 1): 100,
        ("b", 1): 0,
        (MEAN, 0): 100,
        (MEAN, 1): 50,
    }


def test_without_an_oracle_there_is_no_share_of_it():
    assert _table(_rows("ngd", GAIN))["oracle_share"].isna().all()


def test_a_manifests_figures_make_the_same_table_as_its_samples():
    told = pd.DataFrame(
        [
            {
                "model": "m",
                "benchmark": "b",
                "seed": 0,
                "strategy": "ngd",
                "n": 10,
                "accuracy": 0.7,
                "base_accuracy": 0.4,
                "wrong_to_right": 4,
                "right_to_wrong": 1,
            }
        ]
    )
    pd.testing.assert_frame_equal(results_table(told), _table(_rows("ngd", GAIN)))


def test_a_category_has_the_accuracy_of_its_own_samples():
    kinds = ["odd" if i % 2 else "even" for i in range(10)]
    samples = pd.concat([_rows("ngd", GAIN, category=kinds), _rows("oracle", BEST, category=kinds)])
    table = category_table(figures(samples, "category")).set_index(["category", "strategy"])
    for kind in ("odd", "even"):
        pairs = [pair for pair, its in zip(GAIN, kinds, strict=True) if its == kind]
        row = table.loc[kind, "ngd"]
        assert row["n"] == 5
        assert row["accuracy"] == pytest.approx(20 * sum(b for _, b in pairs))
        assert row["gain"] == pytest.approx(20 * sum(b - a for a, b in pairs))


def test_a_lead_is_counted_on_the_samples_that_both_answered():
    mine = _rows("ngd", [(False, i < 9) for i in range(10)])
    theirs = _rows("uniform", [(False, i % 2 == 0) for i in range(8)])
    [row] = leads(pd.concat([mine, theirs])).to_dict("records")
    assert row["other"] == "uniform"
    assert (row["n"], row["won"], row["lost"]) == (8, 4, 0)
    assert (row["accuracy"], row["other_accuracy"], row["ahead"]) == (100, 50, 50)
    assert row["p"] == pytest.approx(binomtest(4, 4).pvalue)
    assert row["low"] < 50 < row["high"]


def test_leads_pair_samples_by_model_benchmark_seed_and_position():
    rng = np.random.default_rng(1)
    places = [(m, b, s, p) for m in "xy" for b in "ab" for s in (0, 1) for p in range(20)]
    frames = []
    for strategy in ("ngd", "constant"):
        rows = pd.DataFrame(places, columns=["model", "benchmark", "seed", "position"])
        rows = rows.assign(strategy=strategy, correct=rng.random(len(rows)) < 0.6)
        frames.append(rows.sample(frac=0.8, random_state=len(strategy)))
    keys = ["model", "benchmark", "seed", "position"]
    both = frames[0].merge(frames[1], on=keys)
    won = int((both["correct_x"] & ~both["correct_y"]).sum())
    lost = int((both["correct_y"] & ~both["correct_x"]).sum())
    ahead = 100 * both.groupby("benchmark").apply(
        lambda rows: rows["correct_x"].mean() - rows["correct_y"].mean()
    )
    [row] = leads(pd.concat(frames)).to_dict("records")
    assert (row["n"], row["won"], row["lost"]) == (len(both), won, lost)
    assert row["ahead"] == pytest.approx(ahead.mean())
    assert row["p"] == pytest.approx(binomtest(won, won + lost).pvalue)


def test_a_lead_over_several_is_corrected_for_their_number():
    mine = _rows("ngd", [(False, True)] * 12)
    others = [_rows(name, [(False, i < 5) for i in range(12)]) for name in ("uniform", "constant")]
    table = leads(pd.concat([mine, *others]))
    assert table["p"].to_numpy() == pytest.approx(0.015625)
    assert table["holm"].to_numpy() == pytest.approx(0.03125)


def test_the_interval_of_a_lead_over_benchmarks_narrows_as_that_of_a_mean():
    one = [_rows("ngd", [(False, True)] * 40), _rows("uniform", GAIN * 4)]
    four = [frame.assign(benchmark=name) for frame in one for name in "abcd"]
    [single], [mean] = (leads(pd.concat(f)).to_dict("records") for f in (one, four))
    assert mean["ahead"] == pytest.approx(single["ahead"])
    assert mean["high"] - mean["low"] == pytest.approx((single["high"] - single["low"]) / 2)


@pytest.mark.parametrize("frames", [[_rows("ngd", GAIN)], [_rows("uniform", GAIN)], []])
def test_without_a_pair_there_is_no_lead(frames):
    samples = pd.concat(frames) if frames else _rows("ngd", GAIN).head(0)
    assert leads(samples).empty


def test_outcomes_name_what_became_of_a_sample():
    assert outcomes(_rows("ngd", GAIN)).value_counts().to_dict() == {
        "wrong to right": 4,
        "stayed right": 3,
        "stayed wrong": 2,
        "right to wrong": 1,
    }
