"""Tuning: one option after the other, on the dev benchmark."""

from r2t2 import tuning
from r2t2.samples import Dataset


def test_each_option_is_tried_with_the_best_before_it_and_small_gains_do_not_count(monkeypatch):
    def accuracy(engine, batches, setting):
        return 50 + 10 * (setting.learning_rate == 0.3) + 0.1 * (setting.k == 10)

    monkeypatch.setattr(tuning, "_accuracy", accuracy)
    rows = tuning.tune(None, Dataset("empty", 0, lambda i: None), lambda *_: None)
    assert len(rows) == sum(len(stage) for stage in tuning.GRID)
    assert rows[0]["learning_rate"] == 0.01
    assert [row["learning_rate"] for row in rows[8:]] == [0.3] * (len(rows) - 8)
    assert {row["k"] for row in rows[10:]} == {5}


def test_the_grid_begins_with_the_papers_learning_rate():
    assert tuning.GRID[0][0] == {"learning_rate": tuning.PAPER.learning_rate}
