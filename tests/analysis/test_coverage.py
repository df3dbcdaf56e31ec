"""How a reference set covers benchmarks, against arithmetic done another way."""

import itertools
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import pairwise_distances

from r2t2.analysis import coverage
from r2t2.analysis.coverage import POOLED, WITHIN
from r2t2.figures import coverage as figures
from r2t2.figures.style import CORRECT, WRONG


def unit(rows: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, 6)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def samples(*lists: list[float], **columns) -> pd.DataFrame:
    fixed = {"model": "m", "benchmark": "b", "seed": 0, "position": range(len(lists))}
    return pd.DataFrame(
        {
            **fixed,
            "base_correct": False,
            "correct": True,
            **columns,
            "neighbour_distance": [np.array(values, np.float32) for values in lists],
        }
    )


def located(seed: int = 0, questions: int = 60, each: int = 3) -> pd.DataFrame:
    """Two benchmarks, one far and hard, in both of which the strategy is worse when far."""
    rng = np.random.default_rng(seed)
    rows = []
    for benchmark, middle, base in (("near", 0.4, 0.9), ("far", 0.8, 0.2)):
        for question in range(questions):
            distance = middle + rng.uniform(-0.15, 0.15)
            for _ in range(each):
                right = rng.random() < 0.97 - 1.2 * (distance - middle + 0.15)
                rows.append((benchmark, question, distance, rng.random() < base, float(right)))
    table = pd.DataFrame(rows, columns=["benchmark", "question", "mean", "base_correct", "ngd"])
    table["question"] = table.groupby(["benchmark", "question"]).ngroup()
    return table.assign(model="m", seed=0, position=range(len(table)), oracle=1.0)


def test_the_nearest_are_those_that_the_strategies_find():
    from r2t2.rerouting.neighbours import Index
    from r2t2.rerouting.settings import Setting

    vectors, queries = unit(50), unit(4, seed=1)
    index = Index(vectors, [str(i) for i in range(50)], [""] * 50)
    found = index.search(queries, Setting("ngd", k=7), [""] * 4, [""] * 4)
    distance, places = coverage.nearest(vectors, queries, 7)
    assert np.array_equal(places, found.index.numpy())
    np.testing.assert_allclose(distance, found.distance.numpy(), atol=1e-3)


def test_more_neighbours_than_references_are_all_of_them():
    assert coverage.nearest(unit(3), unit(1), 9)[0].shape == (1, 3)


def test_a_reference_is_not_its_own_neighbour():
    vectors = unit(40)
    apart = np.sort(pairwise_distances(vectors), axis=1)[:, 1:6]
    own = coverage.own_distances(vectors, 5)
    np.testing.assert_allclose(own["nearest"], apart[:, 0], atol=1e-3)
    np.testing.assert_allclose(own["mean"], apart.mean(1), atol=1e-3)
    np.testing.assert_allclose(own["farthest"], apart[:, -1], atol=1e-3)


def test_references_with_the_same_question_are_at_no_distance():
    vectors = np.repeat(unit(2), 8, axis=0)
    assert coverage.own_distances(vectors, 3)["farthest"].max() < 1e-3


def test_of_a_large_set_some_references_are_measured(monkeypatch):
    monkeypatch.setattr(coverage, "_ENOUGH", 10)
    assert list(coverage.own_distances(unit(25), 2)["reference"]) == list(range(0, 25, 3))


def test_distances_are_those_of_the_neighbours_that_there_are():
    table = coverage.distances(samples([0.1, 0.2, 0.6], [], [0.5]))
    assert table["nearest"].tolist()[::2] == pytest.approx([0.1, 0.5])
    assert table["mean"].tolist()[::2] == pytest.approx([0.3, 0.5])
    assert table["farthest"].tolist()[::2] == pytest.approx([0.6, 0.5])
    assert table.loc[1, ["nearest", "mean", "farthest"]].isna().all()


def test_no_run_kept_a_neighbour():
    assert coverage.distances(samples([], []))["mean"].isna().all()


def test_samples_that_ask_the_same_are_one_question_within_a_benchmark():
    table = coverage.distances(samples([0.1], [0.2], [0.1], [0.1], benchmark=[*"bbbc"]))
    first, other, again, elsewhere = table["question"]
    assert first == again
    assert len({first, other, elsewhere}) == 3


def test_a_strategy_that_was_not_run_on_a_sample_has_no_outcome_there():
    known = coverage.distances(samples([0.1], [0.2]))
    outcomes = pd.DataFrame(
        {
            "model": "m",
            "benchmark": "b",
            "seed": 0,
            "position": [0, 1, 1],
            "strategy": ["ngd", "ngd", "uniform"],
            "correct": [True, False, True],
        }
    )
    table = coverage.located(known, outcomes)
    assert table["ngd"].tolist() == [1, 0]
    assert np.isnan(table["uniform"][0])
    assert table["uniform"][1] == 1


def test_the_farthest_question_comes_first_with_all_that_ask_it():
    table = coverage.distances(
        samples([0.1], [0.7], [0.7], [], base_correct=[True, True, False, True])
    )
    first = coverage.farthest(table, "mean").iloc[0]
    assert (first["position"], first["samples"], first["base_right"], first["right"]) == (
        1,
        2,
        1,
        2,
    )


def test_far_is_beyond_nearly_all_distances_of_the_references_to_each_other():
    own = pd.DataFrame({"mean": np.linspace(0, 1, 101)})
    known = pd.DataFrame({"benchmark": [*"aaaabb"], "mean": [0.1, 0.2, 0.96, 0.94, 2, np.nan]})
    table = coverage.spread(known, own, "mean").set_index("benchmark")
    assert list(table.index) == ["", "b", "a"]
    assert table["far"].tolist() == pytest.approx([100 * 5 / 101, 100, 25])
    assert table["n"].tolist() == [101, 1, 4]
    assert table.loc["a", "q25"] == pytest.approx(np.quantile([0.1, 0.2, 0.96, 0.94], 0.25))


def test_both_distributions_are_shares_on_the_same_bins():
    table = coverage.histogram(pd.Series([0.1, 0.5, np.nan]), pd.Series([0.2, 0.9, 0.9]), 10)
    assert table["samples"].sum() == pytest.approx(100)
    assert table["references"].max() == pytest.approx(200 / 3)


def test_tenths_are_what_counting_gives():
    table = located()
    tenths = coverage.tenths(table, ["ngd"], "mean").query("strategy == 'ngd'").set_index("tenth")
    bins = pd.qcut(table["mean"], 10, labels=False) + 1
    for tenth, rows in table.groupby(bins):
        wrong = rows[~rows["base_correct"]]
        got = tenths.loc[tenth]
        assert got["n"] == len(rows)
        assert got["distance"] == pytest.approx(rows["mean"].mean())
        assert got["accuracy"] == pytest.approx(100 * rows["ngd"].mean())
        assert got["gain"] == pytest.approx(100 * (rows["ngd"] - rows["base_correct"]).mean())
        assert got["wrong_to_right"] == pytest.approx(100 * wrong["ngd"].mean(), nan_ok=True)
        assert got["accuracy_low"] < got["accuracy"] < got["accuracy_high"]


def test_samples_at_one_distance_are_in_one_tenth():
    table = located().assign(mean=0.5)
    assert coverage.tenths(table, ["ngd"], "mean")["tenth"].nunique() == 1


def test_within_benchmarks_every_tenth_is_the_same_mix():
    table = located()
    pooled = coverage.tenths(table, [], "mean")
    within = coverage.tenths(table, [], "mean", within=True)
    assert np.ptp(pooled["accuracy"]) > 50
    assert np.ptp(within["accuracy"]) < 40
    assert set(within["n"]) == {36}


def test_a_strategy_that_was_not_run_everywhere_counts_where_it_was():
    table = located()
    table.loc[::2, "ngd"] = np.nan
    rows = coverage.tenths(table, ["ngd"], "mean").groupby("strategy")["n"].sum()
    assert rows["ngd"] == rows["base"] / 2


def slope(table: pd.DataFrame, name: str, effect: str = "gain", **arguments) -> pd.Series:
    found = coverage.slopes(table, ["ngd"], "mean", effect, **arguments)
    return found.set_index("benchmark").loc[name]


def test_the_slope_is_that_of_least_squares():
    table = located()
    gain = 100 * (table["ngd"] - table["base_correct"])
    assert slope(table, POOLED)["slope"] == pytest.approx(
        np.polyfit(10 * table["mean"], gain, 1)[0]
    )
    dummies = pd.get_dummies(table["benchmark"]).to_numpy(float)
    design = np.column_stack([10 * table["mean"], dummies])
    fitted, *_ = np.linalg.lstsq(design, gain.to_numpy(float))
    assert slope(table, WITHIN)["slope"] == pytest.approx(fitted[0])


def test_a_far_and_hard_benchmark_does_not_pass_for_an_effect_of_distance():
    table = located()
    assert slope(table, POOLED)["low"] > 0
    assert slope(table, WITHIN)["high"] < 0


def test_the_error_is_clustered_by_question():
    table = located()
    x, y = 10 * table["mean"].to_numpy(), 100 * (table["ngd"] - table["base_correct"]).to_numpy()
    design = np.column_stack([np.ones_like(x), x])
    inverse = np.linalg.inv(design.T @ design)
    residual = y - design @ (inverse @ design.T @ y)
    meat = np.zeros((2, 2))
    for question in table["question"].unique():
        of = (table["question"] == question).to_numpy()
        score = design[of].T @ residual[of]
        meat += np.outer(score, score)
    clusters, n = table["question"].nunique(), len(table)
    small = clusters / (clusters - 1) * (n - 1) / (n - 2)
    error = np.sqrt(small * (inverse @ meat @ inverse)[1, 1])
    got = slope(table, POOLED)
    assert got["questions"] == clusters
    assert got["high"] - got["slope"] == pytest.approx(stats.t.ppf(0.975, clusters - 1) * error)
    assert got["p"] == pytest.approx(2 * stats.t.sf(got["slope"] / error, clusters - 1))


def test_asking_every_question_of_more_pictures_makes_nothing_surer():
    once = located(each=1)
    often = once.loc[once.index.repeat(20)].assign(position=range(20 * len(once)))
    width = [slope(table, POOLED)["high"] - slope(table, POOLED)["low"] for table in (once, often)]
    assert width[1] == pytest.approx(width[0], rel=0.02)


def test_wrong_to_right_looks_at_bases_wrong_answers_alone():
    table = located()
    wrong = table[~table["base_correct"]]
    expected = np.polyfit(10 * wrong["mean"], 100 * wrong["ngd"], 1)[0]
    got = slope(table, POOLED, "wrong_to_right")
    assert got["slope"] == pytest.approx(expected)
    assert got["n"] == len(wrong)


def test_a_lead_is_counted_from_the_other_strategy():
    table = located()
    expected = np.polyfit(10 * table["mean"], 100 * (table["ngd"] - table["oracle"]), 1)[0]
    assert slope(table, POOLED, over="oracle")["slope"] == pytest.approx(expected)


def test_a_handful_of_questions_has_no_slope():
    few = located(questions=4).query("benchmark == 'near'")
    [row] = coverage.slopes(few, ["ngd"], "mean", "gain").to_dict("records")
    assert row["benchmark"] == "near"
    assert np.isnan(row["slope"])


def test_uses_are_counted_and_hubs_come_first():
    lists = [[3, 1], [3], [3, 9, 1], []]
    references = pd.DataFrame({"position": [1, 3, 4, 9], "category": [*"aabb"]})
    table = coverage.uses(pd.Series([np.array(x, np.int32) for x in lists]), references)
    counts = Counter(itertools.chain(*lists))
    assert table["position"].iloc[0] == 3
    assert dict(zip(table["position"], table["uses"], strict=True)) == {**counts, 4: 0}
    by_type = coverage.use_by_type(table).set_index("type")
    assert by_type["uses per reference"].to_dict() == {"a": 2.5, "b": 0.5}
    assert by_type["ever a neighbour"].to_dict() == {"a": 100, "b": 50}


def test_hubness_is_the_skew_of_the_uses():
    uses = pd.Series(np.random.default_rng(0).poisson(3, 300) ** 2)
    whole = coverage.hubness(uses)
    assert whole["skew"] == pytest.approx(stats.skew(uses))
    assert whole["used"] == (uses > 0).sum()
    assert whole["top"] == pytest.approx(100 * uses.nlargest(3).sum() / uses.sum())


def test_references_that_are_used_alike_have_no_hubs():
    assert coverage.hubness(pd.Series([2] * 50))["skew"] == 0
    assert coverage.hubness(pd.Series([0] * 50)) == {"used": 0, "skew": 0, "top": 0}


@pytest.mark.parametrize("most", [0, 1, 2, 3, 4, 100])
def test_every_reference_is_counted_in_one_step_of_uses(most):
    uses = pd.Series([0, *range(most + 1)])
    table = coverage.use_counts(uses)
    assert table["references"].sum() == len(uses)
    assert table.set_index("uses").loc["0", "references"] == 2


def test_types_say_what_is_kept():
    rows = pd.DataFrame(
        {
            "category": [*"abbb"],
            "question": ["x", "y", "y", "z"],
            "correct": [False, True, True, False],
        }
    )
    first = coverage.types(rows).iloc[0]
    assert (first["category"], first["n"], first["kept"], first["dropped"]) == ("b", 3, 2, 1)
    assert first["questions"] == 2
    assert first["accuracy"] == pytest.approx(200 / 3)
    assert first["low"] < 200 / 3 < first["high"]


def test_kept_and_dropped_are_told_by_more_than_colour():
    rows = pd.DataFrame({"category": ["<b>"], "question": ["x"], "correct": [True]})
    kept, dropped = figures.type_bars(coverage.types(rows)).data
    assert (kept.marker.color, dropped.marker.color) == (CORRECT, WRONG)
    assert kept.marker.pattern.shape != dropped.marker.pattern.shape
    assert kept.name.startswith("✓")
    assert kept.y[0] == "&lt;b&gt;"


def test_the_references_themselves_are_set_apart_from_the_benchmarks():
    own = pd.DataFrame({"mean": [0.1, 0.2]})
    known = pd.DataFrame({"benchmark": ["a"], "mean": [0.5]})
    figure = figures.spread_lines(coverage.spread(known, own, "mean"), "mean of the k nearest")
    themselves, benchmarks = (trace for trace in figure.data if trace.mode == "markers")
    assert list(themselves.y) == [figures.OWN]
    assert list(benchmarks.y) == ["a"]
    assert themselves.marker.symbol != benchmarks.marker.symbol
    assert [note.text for note in figure.layout.annotations] == ["100 % far"]


def test_a_control_is_drawn_apart_from_the_strategy():
    table = located().rename(columns={"oracle": "uniform"})
    tenths = coverage.tenths(table, ["ngd", "uniform"], "mean")
    _, ngd, control = figures.by_tenth(tenths, "gain", within=False).data
    assert ngd.error_y.array is not None
    assert control.error_y.array is None
    assert control.line.dash != "solid"


def test_an_interval_of_a_handful_leaves_the_others_room():
    rows = coverage.slopes(located(), ["ngd"], "mean", "gain")
    wild = rows.assign(benchmark="wild", low=-500.0, high=500.0).head(1)
    table = pd.concat([rows, wild])
    figure = figures.slope_dots(table, "gain", list(dict.fromkeys(table["benchmark"])))
    assert figure.layout.xaxis.range[0] > -100
