"""What runs took beside base."""

import numpy as np
import pandas as pd
import pytest

from r2t2.analysis.performance import beside_base, pooled
from r2t2.figures.performance import over_base


def run(strategy="ngd", benchmark="b", **changes):
    """A row of `runs.store.costs_table`; a strategy of 100 samples that took 9 s."""
    return {
        **{"id": "0", "model": "m", "reference": "r", "benchmark": benchmark, "seed": 0},
        **{"strategy": strategy, "device": "cpu", "imported": False, "n": 100},
        **{"forward": 10.0, "backward": 5.0, "strategy_seconds": 9.0, "wall_seconds": 50.0},
        **{"encoding_seconds": 0.8, "answer_seconds": 0.1, "peak_memory": 300.0},
        **changes,
    }


def base(benchmark="b", **changes):
    """Of base, which took 0.9 s of 100 samples."""
    took = {"forward": 1.0, "backward": 0.0, "strategy_seconds": 0.0, "peak_memory": 200.0}
    return run("base", benchmark, **(took | changes))


def old(row):
    """The same of before a run's parts and its peak were recorded."""
    return {**row, "encoding_seconds": np.nan, "answer_seconds": np.nan, "peak_memory": np.nan}


def beside(*rows):
    return beside_base(pd.DataFrame(rows))


def test_a_samples_time_is_its_encoding_the_strategy_and_the_answers_before_and_after():
    ngd, of_base = beside(run(), base())["seconds"]
    assert ngd == pytest.approx((0.8 + 9 + 0.2) / 100)
    assert of_base == pytest.approx((0.8 + 0.1) / 100)


def test_what_a_run_took_besides_does_not_count():
    shared, paid = beside(run(wall_seconds=9.3), run(wall_seconds=5000.0), base())["seconds"][:2]
    assert shared == paid


def test_passes_time_and_memory_are_laid_beside_bases():
    row = beside(run(), base()).iloc[0]
    assert row["passes_over"] == 20
    assert row["seconds_over"] == pytest.approx(10 / 0.9)
    assert row["memory_over"] == 1.5
    assert row["per_second"] == pytest.approx(10)


def test_base_is_once_base():
    row = beside(base()).iloc[0]
    assert (row["passes_over"], row["seconds_over"], row["memory_over"]) == (1, 1, 1)


@pytest.mark.parametrize(
    "other",
    [{"model": "x"}, {"benchmark": "x"}, {"seed": 1}, {"device": "cuda"}, {"imported": True}],
    ids=str,
)
def test_a_run_of_other_samples_or_elsewhere_is_laid_beside_nothing(other):
    row = beside(run(), base(**other)).iloc[0]
    assert row[["passes_over", "seconds_over", "memory_over"]].isna().all()
    assert row["seconds"] > 0


def test_another_reference_set_has_the_same_base():
    assert beside(run(reference="other"), base())["seconds_over"].notna().all()


def test_of_several_runs_of_base_the_largest_counts():
    runs = beside(base(n=50, encoding_seconds=7.0), base(), run(), base(n=20))
    assert runs["seconds_over"][2] == pytest.approx(10 / 0.9)
    assert len(runs) == 4


def test_an_older_run_has_passes_and_its_own_times_alone():
    row = beside(old(run()), old(base())).iloc[0]
    assert row["passes_over"] == 20
    assert (row["own"], row["wall"]) == (0.09, 0.5)
    empty = ["seconds", "per_second", "seconds_over", "memory", "memory_over"]
    assert row[empty].isna().all()


def test_a_run_too_short_to_be_timed_has_no_time():
    short = base(encoding_seconds=0.0, answer_seconds=0.0)
    ngd, of_base = beside(run(), short).to_dict("records")
    assert np.isnan([of_base["seconds"], of_base["per_second"], ngd["seconds_over"]]).all()


def test_an_older_base_is_not_compared_with_in_time():
    row = beside(run(), old(base())).iloc[0]
    assert row["passes_over"] == 20
    assert row[["seconds_over", "memory_over"]].isna().all()


def test_strategies_are_pooled_in_their_order():
    runs = beside(base("a"), run(benchmark="a"), base("b"), run("x", "b"), run(benchmark="b"))
    table = pooled(runs)
    assert table["strategy"].tolist() == ["base", "ngd", "x"]
    assert table["runs"].tolist() == [2, 2, 1]
    assert table["n"].tolist() == [200, 200, 100]


def test_passes_are_means_over_samples():
    runs = beside(run(forward=10.0, n=100), run(benchmark="c", forward=40.0, n=50))
    assert pooled(runs)["forward"].tolist() == [20]


def test_one_run_that_was_held_up_does_not_move_the_times():
    rows = [run(benchmark=name) for name in "abc"] + [base(name) for name in "abc"]
    slow = [run(benchmark="a", strategy_seconds=900.0), *rows[1:]]
    names = ["own", "seconds", "per_second", "seconds_over"]
    for table in (pooled(beside(*rows)), pooled(beside(*slow))):
        assert table.loc[0, names].tolist() == pytest.approx([0.09, 0.1, 10, 10 / 0.9])


def test_the_highest_peak_counts_of_the_runs_that_have_one():
    rows = [run(), base(), run(benchmark="c", peak_memory=800.0), old(run(benchmark="d"))]
    ngd = pooled(beside(*rows)).iloc[0]
    assert ngd["memory"] == 800
    assert ngd["memory_over"] == 1.5  # of the one that has a base


def test_of_a_damaged_run_the_passes_are_unknown_and_no_others():
    lost = run(benchmark="c", forward=np.nan, backward=np.nan)
    assert pooled(beside(run(), lost))["forward"].tolist() == [10]
    assert np.isnan(pooled(beside(lost))["forward"][0])


def test_no_runs_make_an_empty_table():
    runs = beside_base(pd.DataFrame([run()]).iloc[:0])
    assert runs.empty
    assert {"seconds_over", "memory_over"} <= {*pooled(runs)}


def test_a_figure_shows_every_run_and_the_medians_on_a_logarithmic_axis():
    each = beside(*(base(name) for name in "ab"), run(benchmark="a"), run(benchmark="b"))
    each["name"] = each["strategy"]
    few, middle = over_base(
        pooled(each, ("name", "strategy")).iloc[1:], each[each["name"] == "ngd"]
    ).data
    assert list(few.x) == pytest.approx([10 / 0.9] * 2)
    assert [*few.customdata] == ["a, seed 0", "b, seed 0"]
    assert list(middle.x) == pytest.approx([10 / 0.9])
