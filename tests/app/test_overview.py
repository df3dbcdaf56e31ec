"""Overview, with and without anything to show."""

import pytest


def test_overview_shows_every_strategy_beside_its_control(app):
    [table] = [frame.value for frame in app("overview").dataframe]
    assert list(table["strategy"]) == ["Base", "NGD", "Oracle (reads the label)", "Uniform r"]
    assert list(table["kind"]) == ["strategy", "strategy", "reads the label", "control"]


def test_overview_leaves_a_strategy_out_of_the_mean_that_was_not_run_everywhere(app):
    test = app("overview")
    assert "Mode finding" not in list(test.dataframe[0].value["strategy"])
    assert any(block.value.endswith("seed: Mode finding.") for block in test.caption)
    assert "Mode finding" in list(app("overview", results="general").dataframe[0].value["strategy"])


def test_overview_tells_how_far_ngd_is_from_its_control(app):
    said = " ".join(block.value for block in app("overview").markdown)
    assert "Uniform r" in said
    assert "Not run yet: Best constant r, NGD, random neighbours" in said


def test_overview_says_what_the_model_says_of_itself(app):
    assert "narrow mix" in " ".join(block.value for block in app("overview").info)


def test_overview_shows_one_benchmark_when_its_address_says_so(app):
    [table] = [frame.value for frame in app("overview", results="reading").dataframe]
    assert set(table["n"]) == {20}


def test_overview_without_runs_says_which_command_makes_them(empty_app):
    test = empty_app("overview")
    assert "python -m r2t2 run" in [block.value for block in test.code]


def test_overview_tells_of_runs_that_it_cannot_read(empty_app, tmp_path):
    (tmp_path / "runs" / "broken").mkdir(parents=True)
    (tmp_path / "runs" / "broken" / "manifest.json").write_text("{")
    test = empty_app("overview")
    assert any("the manifest of broken is damaged" in block.value for block in test.text)


@pytest.mark.parametrize("page", ["overview", "inspect"])
def test_a_missing_checkpoint_is_told_with_what_to_do(empty_app, page):
    test = empty_app(page)
    assert "python -m r2t2 train" in " ".join(block.value for block in test.text)
