"""Benchmarks' own scores: what they are, and how sure."""

import numpy as np
import pandas as pd
import pytest

from r2t2.analysis import scores
from r2t2.analysis.results import MEAN, results_table


def rows(metric, before, after, groups=None, categories=None, strategy="ngd", benchmark="b"):
    n = len(after)
    return pd.DataFrame(
        {
            "model": "m",
            "benchmark": benchmark,
            "seed": 0,
            "strategy": strategy,
            "metric": metric,
            "category": categories or [""] * n,
            "group": groups or [""] * n,
            "base_score": before,
            "score": after,
        }
    )


def figures(benchmark, strategy, score, base, maximum=1.0, accuracy=0.5):
    return {
        **{"model": "m", "benchmark": benchmark, "seed": 0, "strategy": strategy, "n": 100},
        **{"accuracy": accuracy, "base_accuracy": 0.4, "wrong_to_right": 10, "right_to_wrong": 0},
        **{"score": score, "base_score": base, "maximum": maximum},
    }


def test_soft_scores_are_averaged_in_percent_with_an_interval_around():
    rng = np.random.default_rng(1)
    after = rng.choice([0, 0.3, 0.6, 0.9, 1], 400)
    (row,) = scores.score_table(rows("vqa", np.zeros(400), after)).to_dict("records")
    assert row["score"] == pytest.approx(100 * after.mean())
    assert row["gain"] == row["score"]
    half = 1.96 * 100 * after.std() / 20
    assert row["score_high"] - row["score"] == pytest.approx(half, rel=0.15)
    assert row["score"] - row["score_low"] == pytest.approx(half, rel=0.15)
    assert row["maximum"] == 100


def test_mme_is_in_points_and_its_two_questions_are_drawn_together():
    images = [str(i // 2) for i in range(8)]
    table = rows("yes_no", [0.0] * 8, [1.0] * 6 + [1.0, 0.0], images, ["OCR"] * 8)
    (row,) = scores.score_table(table).to_dict("records")
    assert (row["score"], row["maximum"], row["gain"]) == (162.5, 200, 162.5)
    # Of four images with 200, 200, 200, 50 points every mean is 50 and some 37.5s.
    assert (row["score_low"] - 50) % 37.5 == pytest.approx(0)


def test_before_and_after_are_drawn_together():
    before = [0.0, 1.0] * 50
    (row,) = scores.score_table(rows("vqa", before, before)).to_dict("records")
    assert row["gain_low"] == row["gain"] == row["gain_high"] == 0
    assert row["score_low"] < 50 < row["score_high"]


def test_the_same_samples_give_the_same_interval_whatever_is_beside_them():
    one = rows("vqa", np.zeros(50), np.linspace(0, 1, 50))
    other = rows("anls", np.zeros(50), np.linspace(1, 0, 50), strategy="base")
    both = scores.score_table(pd.concat([other, one], ignore_index=True))
    alone = scores.score_table(one)
    pd.testing.assert_frame_equal(both.iloc[[1]].reset_index(drop=True), alone)


def test_only_a_score_that_is_not_the_accuracy_is_a_benchmarks_own():
    table = pd.DataFrame(
        [
            figures("plain", "ngd", 0.5, 0.4),
            figures("soft", "ngd", 0.55, 0.4),
            figures("mme", "ngd", 1500.0, 1400.0, 2000.0),
        ]
    )
    assert scores.own(table) == ["soft", "mme"]


def test_the_mean_takes_points_in_percent_of_their_maximum():
    table = results_table(
        pd.DataFrame(
            [
                figures("gqa", "ngd", 0.6, 0.5, accuracy=0.6),
                figures("mme", "ngd", 1600.0, 1500.0, 2000.0, accuracy=0.9),
            ]
        )
    ).set_index("benchmark")
    assert table.at["mme", "score"] == 1600
    assert table.at["mme", "score_gain"] == 100
    assert table.at[MEAN, "score"] == pytest.approx((60 + 80) / 2)
    assert table.at[MEAN, "score_gain"] == pytest.approx((10 + 5) / 2)
    assert table.at[MEAN, "accuracy"] == pytest.approx(75)


def test_figures_of_right_answers_alone_have_accuracies_for_scores():
    plain = pd.DataFrame([figures("b", "ngd", 0, 0)]).drop(
        columns=["score", "base_score", "maximum"]
    )
    table = results_table(plain)
    assert (table["score"] == table["accuracy"]).all()
    assert (table["score_gain"] == table["gain"]).all()
