"""Inspect: choosing, settings, answers."""

from r2t2.figures.style import label
from r2t2.rerouting.settings import PRESETS

PRESET = PRESETS["mini"]


def test_inspect_shows_five_answers_to_a_benchmark_sample(app, html):
    test = app("inspect", benchmark="reading", sample="3")
    assert html(test).count('class="r2-answer"') == 5
    assert html(test).count("reads the label</span>") == 1


def test_an_address_brings_back_sample_and_settings(app, html):
    test = app(
        "inspect", benchmark="reading", seed="4", sample="3", k="2", kernel="matern", step="4"
    )
    assert "reading-4-3" in html(test)
    assert test.number_input("k").value == 2
    assert test.selectbox("kernel").value == "matern"
    assert test.slider("step").value == 4


def test_changed_settings_are_marked_and_can_be_reset(app):
    test = app("inspect", k="2")
    assert any(f"k {PRESET.k} → 2" in block.value for block in test.markdown)
    test.button("reset").click().run()
    assert test.number_input("k").value == PRESET.k
    assert not any("→ 2" in block.value for block in test.markdown)


def test_k_decides_how_many_neighbours_are_shown(app, html):
    assert html(app("inspect", k="2")).count("<img") == 2


def test_settings_that_cannot_be_run_say_why(app):
    [error] = app("inspect", k="0").error
    assert "k is 0; it must lie between 1 and 100" in error.value


def test_the_oracle_shows_no_neighbours_but_says_so(app):
    test = app("inspect", strategy=label("oracle"))
    assert "has no neighbours" in " ".join(block.value for block in test.markdown)


def test_a_built_scene_without_a_label_is_answered_without_the_oracle(app, html):
    test = app("inspect", source="Build a scene")
    test.text_input("scene-question").input("what color is the <b>ball</b>?").run()
    assert not test.exception
    assert html(test).count('class="r2-answer"') == 4
    assert "<b>ball</b>" not in html(test)
    assert "&lt;b&gt;ball&lt;/b&gt;" in html(test)


def test_a_label_enables_the_oracle_and_scores_the_answers(app, html):
    test = app("inspect", source="Build a scene")
    test.text_input("scene-label").input("red")
    test.text_input("scene-question").input("what color is the ball?").run()
    assert html(test).count('class="r2-answer"') == 5
    assert html(test).count("✓ correct") + html(test).count("✗ wrong") == 5


def test_a_label_that_the_model_cannot_say_stops_only_the_oracle(app, html):
    test = app("inspect", source="Build a scene")
    test.text_input("scene-label").input("a submarine")
    test.text_input("scene-question").input("what is it?").run()
    assert html(test).count('class="r2-answer"') == 4
    assert "submarine" in " ".join(block.value for block in test.text)


def test_a_picture_of_the_embedded_world_comes_without_the_models_notice(app, html):
    test = app("inspect", source="Build a scene")
    test.text_input("scene-question").input("what color is the ball?").run()
    assert html(test).count('class="r2-answer"') == 4
    assert not test.warning
