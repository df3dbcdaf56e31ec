"""Runs of the same samples held against each other, by references computed another way."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score

from r2t2.analysis import pairs
from r2t2.figures import compare as figures
from r2t2.statistics import interval


def run(correct, answers=None, positions=None, top1=None, base=None):
    """The rows of a run; an answer of a letter each."""
    count = len(correct)
    answers = "x" * count if answers is None else answers
    top1 = "a" * count if top1 is None else top1
    return pd.DataFrame(
        {
            "position": range(count) if positions is None else positions,
            "correct": np.array(correct, bool),
            "base_correct": np.zeros(count, bool) if base is None else np.array(base, bool),
            "answer": pd.Categorical(list(answers)),
            "top1_after": pd.Categorical(list(top1)),
        }
    )


@pytest.fixture
def many():
    """Three runs of 400 samples, right by chance, with answers of five kinds."""
    draw = np.random.default_rng(3)
    return {
        name: run(
            draw.random(400) < share,
            draw.choice(list("pqrst"), 400),
            top1=draw.choice(list("abc"), 400),
            base=draw.random(400) < 0.5,
        )
        for name, share in (("A", 0.8), ("B", 0.6), ("C", 0.7))
    }


def test_only_samples_that_all_runs_have_are_compared():
    both = pairs.aligned(
        {"A": run([1, 0, 1]), "B": run([0, 1], positions=[2, 1]), "C": run([1, 1, 1])}
    )
    assert sorted(both.index) == [1, 2]
    assert both["correct"].loc[2].tolist() == [True, False, True]


def test_the_same_answer_is_the_same_however_each_run_numbers_its_texts():
    first, second = run([1, 1, 1], "abb"), run([1, 1, 1], "bba")
    second["answer"] = pd.Categorical(list("bba"), ["b", "a"])
    both = pairs.aligned({"A": first, "B": second})
    assert pairs.same_answer(both, ["A", "B"]).tolist() == [False, True, False]


def test_accuracies_and_gains_are_those_counted_by_hand():
    both = pairs.aligned(
        {"A": run([1, 1, 0, 0], base=[1, 0, 1, 0]), "B": run([1] * 4, base=[1, 0, 1, 0])}
    )
    a, b = pairs.accuracies(both).to_dict("records")
    assert (a["accuracy"], a["gain"], a["wrong_to_right"], a["right_to_wrong"]) == (50, 0, 1, 1)
    assert (b["accuracy"], b["gain"], b["wrong_to_right"], b["right_to_wrong"]) == (100, 50, 2, 0)
    assert (b["low"], b["high"]) == pytest.approx([100 * bound for bound in interval(4, 4)])


def test_each_pair_is_compared_once_and_by_mcnemars_exact_test(many):
    table = pairs.differences(pairs.aligned(many))
    assert list(zip(table["first"], table["second"], strict=True)) == [
        ("A", "B"),
        ("A", "C"),
        ("B", "C"),
    ]
    a, b = many["A"]["correct"], many["B"]["correct"]
    row = table.iloc[0]
    assert (row["first_only"], row["second_only"]) == ((a & ~b).sum(), (b & ~a).sum())
    assert row["difference"] == pytest.approx(100 * (a.mean() - b.mean()))
    expected = binomtest(int(row["first_only"]), int(row["first_only"] + row["second_only"]))
    assert row["p"] == pytest.approx(expected.pvalue)


def test_the_paired_interval_is_about_the_bootstraps(many):
    a, b = (many[name]["correct"].to_numpy(int) for name in "AB")
    draw = np.random.default_rng(0).integers(0, 400, (4000, 400))
    low, high = 100 * np.quantile((a - b)[draw].mean(1), [0.025, 0.975])
    row = pairs.differences(pairs.aligned(many)).iloc[0]
    assert (row["low"], row["high"]) == pytest.approx((low, high), abs=0.7)


def test_runs_that_agree_everywhere_are_not_certain_to_be_equal():
    told = pairs.paired(np.ones(20, bool), np.ones(20, bool))
    assert told["low"] < 0 < told["high"]
    assert told["p"] == 1


def test_agreement_is_scikit_learns(many):
    table = pairs.differences(pairs.aligned(many))
    a, c = many["A"], many["C"]
    row = table.iloc[1]
    same = [x == y for x, y in zip(a["answer"], c["answer"], strict=True)]
    other = [x != y for x, y in zip(a["top1_after"], c["top1_after"], strict=True)]
    assert row["kappa"] == pytest.approx(cohen_kappa_score(a["correct"], c["correct"]))
    assert row["same_answer"] == pytest.approx(100 * np.mean(same))
    assert row["same_outcome"] == pytest.approx(100 * np.mean(a["correct"] == c["correct"]))
    assert row["other_top1"] == pytest.approx(100 * np.mean(other))


def test_kappa_of_runs_without_an_error_is_unknown():
    table = pairs.differences(pairs.aligned({"A": run([1, 1]), "B": run([1, 1])}))
    assert table["kappa"].isna().all()


def test_patterns_say_who_is_right_in_the_order_of_the_runs():
    both = pairs.aligned({"A": run([1, 1, 0, 1]), "B": run([0, 0, 0, 1]), "C": run([1, 1, 1, 1])})
    assert pairs.pattern(both).tolist() == ["101", "101", "001", "111"]
    table = pairs.patterns(both)
    assert table["pattern"].iloc[0] == "101"
    assert table["samples"].tolist() == [2, 1, 1]
    assert table["share"].tolist() == [50, 25, 25]


def test_distance_is_the_weight_that_would_have_to_be_moved():
    first = np.array([[[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]])
    second = np.array([[[0.2, 0.5, 0.3], [0.0, 1.0, 0.0]]])
    assert pairs.distances(first, second)[0] == pytest.approx([0.3, 1.0])


def test_routing_is_compared_site_by_site_and_in_the_mean():
    still = np.array([[[0.9, 0.1], [0.6, 0.4]], [[0.9, 0.1], [0.6, 0.4]]])
    moved = np.array([[[0.9, 0.1], [0.4, 0.6]], [[0.7, 0.3], [0.6, 0.4]]])
    table = pairs.routing({"A": still, "B": moved}, ["block 1", "block 2"]).set_index("site")
    assert table["distance"].to_dict() == pytest.approx(
        {"block 1": 0.1, "block 2": 0.1, pairs.ALL_SITES: 0.1}
    )
    assert table["other_top1"].to_dict() == {"block 1": 0, "block 2": 50, pairs.ALL_SITES: 25}


def test_agreement_by_distance_counts_every_sample_in_its_bin():
    draw = np.random.default_rng(1)
    distance, same = draw.random(500), draw.random(500) < 0.5
    bins = pairs.by_distance(distance, same)
    assert (bins["same"] + bins["other"]).sum() == 500
    for row in bins.to_dict("records"):
        inside = (distance >= row["start"]) & (distance < row["end"])
        assert row["same"] == same[inside].sum()
        assert row["share"] == pytest.approx(100 * same[inside].mean())


def test_bins_are_fine_where_runs_hardly_differ():
    bins = pairs.by_distance(np.array([0.0, 0.004, 0.02]), np.array([True, True, False]))
    assert bins["start"].tolist() == pytest.approx([0, 0.02])
    assert bins["share"].tolist() == [100, 0]


def test_every_trace_of_the_patterns_has_a_point_per_row_so_that_any_click_tells_it(many):
    table = pairs.patterns(pairs.aligned(many))
    figure = figures.pattern_bars(table, list(many), "111")
    assert {len(trace.y) for trace in figure.data} == {len(table)}
    *marks, bars = figure.data
    assert list(bars.x) == list(table["samples"])
    first = "".join("1" if trace.text[0] == "✓" else "0" for trace in marks)
    assert first == table["pattern"].iloc[0]


def test_a_difference_is_filled_only_where_its_interval_leaves_out_0():
    table = pd.DataFrame(
        {
            "first": ["A", "A"],
            "second": ["B", "C"],
            "difference": [2.0, 2.0],
            "low": [-1.0, 1.0],
            "high": [5.0, 3.0],
            "p": [0.3, 0.01],
        }
    )
    assert figures.difference_dots(table).data[0].marker.symbol == ("circle-open", "circle")


def test_the_matrix_of_pairs_is_the_same_both_ways_and_empty_on_its_diagonal(many):
    table = pairs.differences(pairs.aligned(many))
    z = np.array(figures.pair_matrix(table, list(many), "kappa", "").data[0].z, float)
    assert np.isnan(np.diag(z)).all()
    assert z[0, 1] == z[1, 0] == table["kappa"].iloc[0]
