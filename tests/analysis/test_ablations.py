"""Ablations: which runs vary one option and nothing else, and what they say."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from r2t2 import paper
from r2t2.analysis import ablations
from r2t2.analysis.ablations import AXES, EMBEDDER, Axis
from r2t2.figures import compare as figures
from r2t2.rerouting.settings import MINI, STRATEGIES, Setting, strategy

K = next(axis for axis in AXES if axis.option == "k")
EPSILON = next(axis for axis in AXES if axis.option == "epsilon")
SETS = next(axis for axis in AXES if axis.option == EMBEDDER)


def axis(option):
    return next(axis for axis in AXES if axis.option == option)


def table(*settings, reference="words", right=60):
    """A run of 100 samples per setting; the base model has 50 right."""
    return pd.DataFrame(
        [
            {
                "id": f"run-{number}",
                "reference": reference,
                "setting": setting.options,
                "n": 100,
                "accuracy": right / 100,
                "wrong_to_right": right - 50 + 5,
                "right_to_wrong": 5,
            }
            for number, setting in enumerate(settings)
        ]
    )


def values(runs, option):
    return list(ablations.points(runs, axis(option), MINI, "words")["value"])


def test_a_run_belongs_to_an_option_where_nothing_else_differs():
    runs = table(MINI, replace(MINI, k=3), replace(MINI, k=3, steps=5), replace(MINI, steps=5))
    assert values(runs, "k") == [3, 10]
    assert values(runs, "steps") == [5, 10]


def test_options_that_follow_from_the_varied_one_do_not_count_as_changes():
    # A fixed rate has no final one.
    assert values(table(MINI, replace(MINI, schedule="constant")), "schedule") == [
        "cosine",
        "constant",
    ]


def test_epsilon_is_varied_in_a_ball_and_k_among_the_nearest():
    ball = replace(MINI, neighbourhood="ball", epsilon=0.4)
    runs = table(MINI, ball, replace(ball, epsilon=0.2), replace(ball, kernel="linear"))
    assert values(runs, "epsilon") == [0.2, 0.4]
    assert values(runs, "k") == [10]


def test_runs_of_another_reference_set_count_for_the_embedder_alone():
    runs = pd.concat(
        [table(MINI), table(MINI, replace(MINI, k=3), reference="other")], ignore_index=True
    )
    assert values(runs, "k") == [10]
    assert values(runs, EMBEDDER) == ["other", "words"]


def test_numbers_rise_and_texts_follow():
    runs = table(*(replace(MINI, bandwidth=h) for h in ("median", 2.0, 0.25)))
    assert values(runs, "bandwidth") == [0.25, 2.0, "median"]


def test_the_models_own_setting_is_marked():
    found = ablations.points(table(replace(MINI, k=3), MINI), K, MINI, "words")
    assert found.loc[found["own"], "value"].tolist() == [10]
    ball = table(MINI, replace(MINI, neighbourhood="ball", epsilon=MINI.epsilon))
    assert not ablations.points(ball, EPSILON, MINI, "words")["own"].any()


def test_a_point_has_its_accuracy_its_gain_and_its_test():
    [point] = ablations.points(table(MINI, right=60), K, MINI, "words").to_dict("records")
    assert (point["accuracy"], point["gain"], point["n"]) == (60, 10, 100)
    assert point["low"] < 60 < point["high"]
    assert point["p"] == pytest.approx(binomtest(15, 20).pvalue)


def test_a_setting_that_nobody_here_knows_is_no_point():
    runs = table(MINI)
    runs.at[0, "setting"] = {"algorithm": "ngd", "k": None, "invented": [1]}
    assert ablations.points(runs, axis("steps"), MINI, "words").empty


def test_values_are_held_against_the_own_setting_on_shared_samples():
    found = ablations.points(table(replace(MINI, k=3), MINI), K, MINI, "words")
    draw = np.random.default_rng(0)
    right = {"run-0": draw.random(50) < 0.5, "run-1": draw.random(80) < 0.7}
    samples = pd.concat(
        pd.DataFrame({"run": run, "position": range(len(correct)), "correct": correct})
        for run, correct in right.items()
    )
    other, own = ablations.against(found, samples, "run-1").to_dict("records")
    ahead = right["run-0"].mean() - right["run-1"][:50].mean()
    assert other["ahead"] == pytest.approx(100 * ahead)
    assert other["ahead_low"] < other["ahead"] < other["ahead_high"]
    assert np.isnan(own["ahead"])


def test_without_the_own_setting_nothing_is_held_against_it():
    found = ablations.points(table(replace(MINI, k=3)), K, MINI, "words")
    samples = pd.DataFrame({"run": ["run-0"], "position": [0], "correct": [True]})
    own = ablations.own_run(table(replace(MINI, k=3)), MINI, "words")
    assert own is None
    assert ablations.against(found, samples, own)["ahead"].isna().all()


def test_what_is_missing_is_what_was_not_run():
    found = ablations.points(table(MINI, replace(MINI, k=3)), K, MINI, "words")
    assert ablations.missing(found, K.values) == [1, 5, 20, 40]


@pytest.mark.parametrize(
    ("name", "one"),
    [
        (name, one)
        for name in STRATEGIES
        for one in AXES
        if one.option != EMBEDDER and one.applies(strategy(name, "mini"))
    ],
    ids=lambda part: part if isinstance(part, str) else part.option,
)
def test_every_usual_value_can_be_run_and_is_found_again(name, one: Axis):
    own = strategy(name, "mini")
    varied = [replace(own, **one.given, **{one.option: value}) for value in one.values]
    found = ablations.points(table(*varied), one, own, "words")
    assert sorted(map(str, found["value"])) == sorted(map(str, one.values))


def test_a_strategy_has_only_its_own_options():
    assert not K.applies(strategy("oracle"))
    assert not SETS.applies(strategy("base"))
    assert not axis("schedule").applies(strategy("kernel_regression"))
    assert EPSILON.applies(strategy("ngd"))


def test_overrides_add_what_an_option_needs():
    assert K.overrides(MINI, [1, 3]) == ("k=1,3",)
    assert EPSILON.overrides(MINI, [0.4]) == ("neighbourhood=ball", "epsilon=0.4")
    ball = Setting("ngd", neighbourhood="ball")
    assert EPSILON.overrides(ball, [0.4]) == ("epsilon=0.4",)


@pytest.mark.parametrize(
    ("option", "best"), [("k", 5), ("kernel", "Gaussian"), ("steps", 10), ("schedule", "Cosine")]
)
def test_the_papers_choice_is_marked_in_its_tables(option, best):
    one = axis(option)
    rows = ablations.reported(paper.in_percent(paper.tables()[one.paper].rows), one)
    [chosen] = rows[rows["own"]].to_dict("records")
    assert chosen["value"] == best
    assert chosen["accuracy"] == pytest.approx(80.7, abs=0.05)


def test_the_papers_two_neighbourhoods_are_kept_apart():
    rows = paper.tables()[5].rows
    assert list(ablations.reported(rows, EPSILON)["value"]) == [0.2, 0.4, 0.6, 0.8]
    assert list(ablations.reported(rows, K)["value"]) == [3, 5, 10, 20]


def test_a_curve_joins_numbers_by_their_ratio_and_sets_texts_apart():
    found = ablations.points(
        table(*(replace(MINI, bandwidth=h) for h in (0.25, 0.5, 1.0, "median"))),
        axis("bandwidth"),
        MINI,
        "words",
    )
    numbers, texts, base = figures.ablation_curve(found, "bandwidth", True, {"base": 50.0}).data
    assert np.ptp(np.diff(numbers.x)) == pytest.approx(0)
    assert numbers.mode == "lines+markers"
    assert texts.mode == "markers"
    assert texts.x[0] > numbers.x[-1]
    assert texts.marker.symbol == ("diamond",)
    assert base.name == "Base 50.0"


def test_what_was_not_measured_here_is_grey_and_has_no_intervals():
    own = ablations.points(table(MINI), K, MINI, "words")
    theirs = ablations.reported(paper.tables()[5].rows, K)
    [measured], [printed] = (
        figures.ablation_curve(rows, "k", True, {}).data for rows in (own, theirs)
    )
    assert measured.error_y.array is not None
    assert printed.error_y.array is None
    assert printed.line.color != measured.line.color


def test_the_overview_tells_the_option_of_each_dot():
    found = ablations.points(table(MINI, replace(MINI, k=3)), K, MINI, "words")
    figure = figures.ablation_overview(found.assign(option="k"), 60.0, 50.0, "k")
    assert [list(custom) for custom in figure.data[0].customdata] == [["k", "3"], ["k", "10"]]
    assert figure.data[0].marker.symbol == ("circle-open", "diamond")
