"""Every page, with and without anything to show, without a browser."""

from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import r2t2.models
from r2t2.figures import label
from r2t2.rerouting.settings import PRESETS
from r2t2.ui import engine

PRESET = PRESETS["mini"]
APP = str(Path(__file__).parents[2] / "app.py")


@pytest.fixture
def app(small_cache, monkeypatch):
    """Opens a page on the small cache."""
    monkeypatch.setenv("R2T2_CACHE", str(small_cache))
    st.cache_data.clear()

    def open_page(page: str = "pages/overview.py", **query: str) -> AppTest:
        test = AppTest.from_file(APP, default_timeout=120)
        test.query_params.update({"model": "mini-7", **query})
        test.run()
        if page != "pages/overview.py":
            # Pages are known after the first run.
            test.query_params.update({"model": "mini-7", **query})
            test.switch_page(page).run()
        assert not test.exception, test.exception
        return test

    return open_page


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """Nothing in the cache, and no checkpoint that ships."""
    monkeypatch.setenv("R2T2_CACHE", str(tmp_path))
    monkeypatch.setattr(r2t2.models, "shipped_checkpoint", lambda: tmp_path)
    st.cache_data.clear()
    engine.engine.clear()
    yield
    engine.engine.clear()


def html(test: AppTest) -> str:
    return " ".join(block.proto.body for block in test.get("html"))


def inspect(app, **query: str) -> AppTest:
    return app("pages/inspect.py", **query)


def test_overview_shows_every_strategy_beside_its_control(app):
    [table] = [frame.value for frame in app().dataframe]
    assert list(table["strategy"]) == ["Base", "NGD", "Oracle (reads the label)", "Uniform r"]
    assert list(table["kind"]) == ["strategy", "strategy", "reads the label", "control"]


def test_overview_leaves_a_strategy_out_of_the_mean_that_was_not_run_everywhere(app):
    test = app()
    assert "Mode finding" not in list(test.dataframe[0].value["strategy"])
    assert any(block.value.endswith("seed: Mode finding.") for block in test.caption)
    assert "Mode finding" in list(app(results="general").dataframe[0].value["strategy"])


def test_overview_tells_how_far_ngd_is_from_its_control(app):
    said = " ".join(block.value for block in app().markdown)
    assert "Uniform r" in said
    assert "Not run yet: Best constant r, NGD, random neighbours" in said


def test_overview_says_what_the_model_says_of_itself(app):
    assert "narrow mix" in " ".join(block.value for block in app().info)


def test_overview_shows_one_benchmark_when_its_address_says_so(app):
    [table] = [frame.value for frame in app(results="reading").dataframe]
    assert set(table["n"]) == {20}


@pytest.mark.usefixtures("empty")
def test_overview_without_runs_says_which_command_makes_them():
    test = AppTest.from_file(APP, default_timeout=120).run()
    assert not test.exception
    assert "python -m r2t2 run" in [block.value for block in test.code]


@pytest.mark.usefixtures("empty")
def test_overview_tells_of_runs_that_it_cannot_read(tmp_path):
    (tmp_path / "runs" / "broken").mkdir(parents=True)
    (tmp_path / "runs" / "broken" / "manifest.json").write_text("{")
    test = AppTest.from_file(APP, default_timeout=120).run()
    assert any("the manifest of broken is damaged" in block.value for block in test.text)


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize("page", ["pages/overview.py", "pages/inspect.py"])
def test_a_missing_checkpoint_is_told_with_what_to_do(page):
    test = AppTest.from_file(APP, default_timeout=120).run().switch_page(page).run()
    assert not test.exception
    assert "python -m r2t2 train" in " ".join(block.value for block in test.text)


def test_inspect_shows_five_answers_to_a_benchmark_sample(app):
    test = inspect(app, benchmark="reading", sample="3")
    assert html(test).count('class="r2-answer"') == 5
    assert html(test).count("reads the label</span>") == 1


def test_an_address_brings_back_sample_and_settings(app):
    test = inspect(app, benchmark="reading", seed="4", sample="3", k="2", kernel="matern", step="4")
    assert "reading-4-3" in html(test)
    assert test.number_input("k").value == 2
    assert test.selectbox("kernel").value == "matern"
    assert test.slider("step").value == 4


def test_changed_settings_are_marked_and_can_be_reset(app):
    test = inspect(app, k="2")
    assert any(f"k {PRESET.k} → 2" in block.value for block in test.markdown)
    test.button("reset").click().run()
    assert test.number_input("k").value == PRESET.k
    assert not any("→ 2" in block.value for block in test.markdown)


def test_k_decides_how_many_neighbours_are_shown(app):
    assert html(inspect(app, k="2")).count("<img") == 2


def test_settings_that_cannot_be_run_say_why(app):
    [error] = inspect(app, k="0").error
    assert "k is 0; it must lie between 1 and 100" in error.value


def test_the_oracle_shows_no_neighbours_but_says_so(app):
    test = inspect(app, strategy=label("oracle"))
    assert "has no neighbours" in " ".join(block.value for block in test.markdown)


def test_a_built_scene_without_a_label_is_answered_without_the_oracle(app):
    test = inspect(app, source="Build a scene")
    test.text_input("scene-question").input("what color is the <b>ball</b>?").run()
    assert not test.exception
    assert html(test).count('class="r2-answer"') == 4
    assert "<b>ball</b>" not in html(test)
    assert "&lt;b&gt;ball&lt;/b&gt;" in html(test)


def test_a_label_enables_the_oracle_and_scores_the_answers(app):
    test = inspect(app, source="Build a scene")
    test.text_input("scene-label").input("red")
    test.text_input("scene-question").input("what color is the ball?").run()
    assert html(test).count('class="r2-answer"') == 5
    assert html(test).count("✓ correct") + html(test).count("✗ wrong") == 5


def test_a_label_that_the_model_cannot_say_stops_only_the_oracle(app):
    test = inspect(app, source="Build a scene")
    test.text_input("scene-label").input("a submarine")
    test.text_input("scene-question").input("what is it?").run()
    assert html(test).count('class="r2-answer"') == 4
    assert "submarine" in " ".join(block.value for block in test.text)


def test_a_picture_of_the_embedded_world_comes_without_the_models_notice(app):
    test = inspect(app, source="Build a scene")
    test.text_input("scene-question").input("what color is the ball?").run()
    assert html(test).count('class="r2-answer"') == 4
    assert not test.warning
