"""Results: tables, figures, categories and the paper's tables, and every empty state."""

import json

import pandas as pd
import pytest

from r2t2 import paper
from r2t2.analysis.results import MEAN
from r2t2.figures import results as figures
from r2t2.figures.style import MUTED
from r2t2.ui import results


def table(test, column: str) -> pd.DataFrame:
    """The first table that has a column."""
    return next(frame.value for frame in test.dataframe if column in frame.value)


def drawn(test) -> list[list[dict]]:
    """The traces of every figure."""
    return [json.loads(chart.proto.spec)["data"] for chart in test.get("plotly_chart")]


def words(test) -> str:
    return " ".join(
        block.value for kind in ("markdown", "caption", "text") for block in test.get(kind)
    )


def test_every_strategy_stands_beside_its_control(app):
    found = table(app("results"), "oracle share")
    assert list(found["strategy"]) == ["Base", "NGD", "Oracle (reads the label)", "Uniform r"]
    assert list(found["kind"]) == ["strategy", "strategy", "ceiling", "control"]


def test_a_strategy_that_was_not_run_everywhere_has_no_mean_but_its_benchmark(app):
    test = app("results")
    assert "Mode finding" not in list(table(test, "oracle share")["strategy"])
    assert "seed: Mode finding." in words(test)
    assert "Mode finding" in list(
        table(app("results", benchmarks="general"), "oracle share")["strategy"]
    )


def test_the_address_names_the_benchmark(app):
    assert set(table(app("results"), "oracle share")["n"]) == {40}
    assert set(table(app("results", benchmarks="reading"), "oracle share")["n"]) == {20}


def test_controls_stay_when_strategies_are_taken_out(app):
    test = app("results")
    test.multiselect("results-rows").set_value(["ngd"]).run()
    assert list(table(test, "oracle share")["strategy"]) == ["NGD", "Uniform r"]
    test.multiselect("results-rows").set_value([]).run()
    assert list(table(test, "oracle share")["strategy"]) == ["Uniform r"]
    assert not test.exception


@pytest.mark.parametrize("view", ["Accuracy", "Gain", "Oracle share"])
def test_benchmarks_stand_beside_each_other_and_the_mean(app, view):
    wide = table(app("results", **{"results-view": view}), "mean").set_index("strategy")
    assert list(wide) == ["general", "reading", MEAN]
    ngd = wide.loc["NGD"]
    if view != "Oracle share":
        assert ngd[MEAN] == pytest.approx((ngd["general"] + ngd["reading"]) / 2)


def test_benchmarks_can_be_seen_round_a_circle(app):
    test = app("results", **{"results-view": "Radar"})
    assert drawn(test)[0][0]["type"] == "scatterpolar"


def test_seeds_are_a_view_only_where_there_are_several(app):
    [view] = [group for group in app("results").button_group if group.key == "results-view"]
    assert "Seeds" not in view.options


def test_the_lead_over_each_control_is_tested_on_pairs(app):
    found = table(app("results", **{"results-leads": "Table"}), "only it")
    assert list(found["control"]) == ["Uniform r"]
    assert set(found["n"]) == {40}
    assert found["ahead"].to_numpy() == pytest.approx(
        100 * (found["only it"] - found["only the control"]) / 40
    )


def test_without_another_control_the_page_says_what_that_means(app):
    assert "No other control" in words(app("results", variant="uniform"))


def test_a_category_has_base_the_strategy_and_the_gain_of_every_control(app):
    query = {"benchmarks": "general", "results-categories": "Table"}
    found = table(app("results", **query), "category")
    assert list(found) == ["category", "n", "Base", "NGD", "gain", "p", "Uniform r"]
    assert found["n"].sum() == 20


def test_small_categories_are_said_to_say_little(app):
    query = {"benchmarks": "general", "results-categories": "Table"}
    test = app("results", **query)
    count = len(table(test, "category"))
    assert f"Categories of fewer than 30 questions, which say little: {count}." in words(test)


@pytest.mark.parametrize("outcome", ["stayed right"])
def test_the_address_names_the_samples_of_a_category_and_an_outcome(app, outcome):
    query = {"benchmarks": "general", "results-outcome": outcome}
    test = app("results", **query)
    names = test.selectbox("results-category").options[1:]
    counts = []
    for name in names:
        listed = words(app("results", **query, **{"results-category": name}))
        counts.append(int(listed.split(f" samples: {outcome} under NGD")[0].split()[-1]))
    assert sum(counts) == int(words(test).split(f" samples: {outcome}")[0].split()[-1])


def test_a_category_that_a_benchmark_does_not_have_is_dropped(app):
    test = app("results", benchmarks="reading", **{"results-category": "colour"})
    assert test.selectbox("results-category").value == "all categories"


@pytest.mark.parametrize("number", [1, 3, 4, 7, 13])
def test_a_table_of_the_papers_is_shown_whole_and_marked(app, number):
    test = app("results", **{"results-paper": str(number)})
    rows = paper.tables()[number].rows
    pd.testing.assert_frame_equal(table(test, rows.columns[-2]), rows, check_dtype=False)
    assert "From the paper, not measured here" in words(test)
    assert f"Table {number} of [arXiv 2502.20395]" in words(test)


@pytest.mark.parametrize("view", ["Share", "Gain"])
def test_the_papers_table_2_stands_beside_ones_own_gain_and_its_control(app, view):
    traces = drawn(app("results", **{"results-beside": view}))[2]
    sources = list(dict.fromkeys(source for trace in traces for source in trace["y"]))
    assert sources == ["the paper's, MoVA", "the paper's, MoAI", "yours, NGD", "yours, Uniform r"]


def test_an_ablation_of_the_papers_leads_to_compare_where_no_run_varies_it(app):
    test = app("results", **{"results-paper": "8"})
    assert "No run of NGD in the run set varies this." in words(test)
    assert any("Compare" in link.proto.label for link in test.get("page_link"))


def test_without_runs_the_page_names_the_command_and_keeps_the_papers_tables(empty_app):
    test = empty_app("results")
    assert "python -m r2t2 run" in [block.value for block in test.code]
    assert len(table(test, "MMBench")) == 10


def rows(**accuracy: float) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "benchmark": benchmark,
                "strategy": name,
                "n": 1000,
                "accuracy": value + extra,
                "low": value - 1,
                "high": value + 1,
            }
            for benchmark, extra in (("<b>a</b>", 0), ("b", 5), ("c", 1))
            for name, value in accuracy.items()
        ]
    )


def test_the_oracle_is_marked_and_controls_are_grey_without_intervals():
    traces = figures.results_dots(rows(base=50, oracle=90, uniform=40)).data
    marked = {trace.name: trace for trace in traces}
    assert marked["Oracle (reads the label)"].error_x.array is not None
    assert marked["Uniform r"].error_x.array is None
    assert marked["Uniform r"].marker.color == MUTED


def test_a_point_knows_its_group_as_it_is_and_shows_it_as_typed():
    [trace] = figures.results_dots(rows(base=50)).data
    assert list(trace.customdata) == ["<b>a</b>", "b", "c"]
    assert trace.text[0].startswith("&lt;b&gt;a&lt;/b&gt;: 50.0 %")


def test_variants_are_told_apart_from_each_other_and_from_the_strategies():
    names = ["ngd", *(f"ngd[k={k}]" for k in range(1, 9)), "uniform", "constant"]
    assert len(set(figures.marks(names).values())) == len(names)


def test_marks_come_in_the_order_of_their_strategies():
    names = ["base", "ngd[k=3]", "ngd_amortised", "uniform", "oracle"]
    assert list(figures.marks(names)) == names
    assert figures.marks(names)["uniform"][0] == MUTED


def test_the_radar_fills_what_the_best_control_reaches():
    figure = figures.radar(rows(base=50, ngd=60, uniform=40, constant=55))
    best = next(trace for trace in figure.data if trace.name == figures.BEST_CONTROL)
    assert list(best.r) == [55, 60, 56, 55]
    assert [trace.name for trace in figure.data[1:]] == ["Base", "NGD"]


def test_a_lead_that_may_be_chance_is_open():
    leads = pd.DataFrame(
        {
            "other": ["uniform", "constant"],
            "n": 100,
            "ahead": [9.0, -0.5],
            "low": [5.0, -2.0],
            "high": [13.0, 1.0],
            "holm": [0.0001, 0.4],
        }
    )
    figure = figures.lead_dots(leads)
    assert figure.data[0].marker.symbol == ("circle", "circle-open")
    assert [note.text for note in figure.layout.annotations] == [
        "+9.0, p < 0.001",
        "−0.5, p = 0.400",
    ]


def test_no_zero_has_a_sign():
    table = rows(base=-0.04, ngd=0.3).assign(benchmark=MEAN)
    assert results.wide(table.head(2))[MEAN].tolist() == [0.0, 0.3]
