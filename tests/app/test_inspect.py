"""Inspect: choosing, settings, answers, and what lies behind them."""

import io
import shutil

import numpy as np
import pytest
import streamlit as st

from r2t2.analysis.results import OUTCOMES, outcomes
from r2t2.data import world
from r2t2.figures.style import label
from r2t2.rerouting.settings import PRESETS, strategy
from r2t2.runs.store import list_runs
from r2t2.sites import Site
from r2t2.ui import engine, state
from r2t2.ui.inspection import hand
from r2t2.ui.inspection.choose import STRIP, Listed
from r2t2.ui.settings import Chosen

PRESET = PRESETS["mini"]


def strip(test) -> list[int]:
    buttons = [b for b in test.button if (b.key or "").startswith("strip-")]
    return [int(button.label.split()[0]) for button in buttons]


def stored(small_cache, name: str):
    return next(
        run
        for run in list_runs(small_cache / "runs")
        if (run.spec.benchmark, run.spec.strategy) == ("reading", name)
    ).samples()


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


def test_settings_that_cannot_be_run_say_why(app):
    [error] = app("inspect", k="0").error
    assert "k is 0; it must lie between 1 and 100" in error.value


def test_the_strategies_to_run_can_be_chosen(app, html):
    test = app("inspect", strategies="Uniform r")
    assert html(test).count('class="r2-answer"') == 2
    assert "Uniform r" in html(test)


def test_without_a_strategy_there_is_the_base_alone(app, html):
    test = app("inspect", strategies="")
    assert html(test).count('class="r2-answer"') == 1
    assert "Choose a strategy" in " ".join(block.value for block in test.markdown)


def test_a_change_of_the_settings_does_not_make_a_control_another_strategy():
    chosen = Chosen("mini", {"neighbourhood": "ball", "k": 3, "steps": 4})
    random = chosen.strategy("ngd_random_neighbours")
    assert (random.neighbourhood, random.k, random.steps) == ("random", 3, 4)
    assert chosen.strategy("ngd_paper") == strategy("ngd_paper")
    assert chosen.strategy("ngd").neighbourhood == "ball"


def test_another_embedder_is_another_reference_set(small_cache, tmp_path, monkeypatch, app):
    shutil.copytree(small_cache, tmp_path / "cache")
    references = tmp_path / "cache" / "references"
    one, other = "mini-7-reference-wordllama", "mini-7-reference-other"
    shutil.copytree(references / one, references / other)
    monkeypatch.setenv("R2T2_CACHE", str(tmp_path / "cache"))
    test = app("inspect", reference=one)
    test.selectbox(f"embedder-of-{one}").select(other).run()
    assert not test.exception
    assert test.session_state["reference"] == other


def test_one_reference_set_leaves_no_embedder_to_choose(app):
    test = app("inspect")
    assert not [box for box in test.selectbox if (box.key or "").startswith("embedder")]


@pytest.mark.parametrize("name", ["oracle", "uniform"])
def test_a_link_opens_any_strategy_by_its_name(app, name):
    test = app("inspect", **state.address(strategy=name))
    assert test.session_state["strategy"] == name


def test_a_strategy_that_is_not_run_is_not_looked_at(app):
    assert app("inspect", strategy=label("uniform")).session_state["strategy"] == "ngd"


# Choosing a sample


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_strip_is_filtered_by_the_stored_outcome(app, small_cache, outcome):
    rows = stored(small_cache, "ngd")
    expected = rows.loc[outcomes(rows) == outcome, "position"].tolist()
    test = app("inspect", benchmark="reading", **{"pick-outcome": outcome})
    assert strip(test) == expected[:STRIP]
    said = " ".join(block.value for block in test.caption)
    assert f"{len(expected)} of 800 samples with {outcome} under NGD" in said


@pytest.mark.parametrize("shift", ["changed", "unchanged"])
def test_the_strip_is_filtered_by_the_expert_shift(app, small_cache, shift):
    rows = stored(small_cache, "ngd")
    moved = rows["top1_before"] != rows["top1_after"]
    expected = rows.loc[moved == (shift == "changed"), "position"].tolist()
    test = app("inspect", benchmark="reading", **{"pick-shift": shift})
    assert strip(test) == expected[:STRIP]


def test_an_expert_shift_can_be_picked_by_its_experts(app, small_cache):
    rows = stored(small_cache, "oracle")
    pair = rows["top1_before"] + " → " + rows["top1_after"]
    moved = pair[rows["top1_before"] != rows["top1_after"]]
    expected = rows.loc[pair == moved.iloc[0], "position"].tolist()
    test = app(
        "inspect",
        benchmark="reading",
        **{"pick-strategy": label("oracle"), "pick-shift": moved.iloc[0]},
    )
    assert strip(test) == expected[:STRIP]


def test_a_filter_can_be_cleared(app):
    test = app("inspect", benchmark="reading", **{"pick-outcome": "stayed right"})
    test.button("pick-clear").click().run()
    assert strip(test) == list(range(STRIP))


def test_without_stored_runs_there_is_the_plain_strip(app):
    test = app("inspect", benchmark="reading", seed="5")
    assert strip(test) == list(range(STRIP))
    assert not [box for box in test.selectbox if box.key == "pick-outcome"]


def test_the_next_sample_is_the_next_that_passes_the_filter():
    listed = Listed([2, 5, 9])
    assert [listed.beside(5, step) for step in (-1, 1)] == [2, 9]
    assert [listed.beside(6, step) for step in (-1, 1)] == [5, 9]
    assert [listed.beside(9, 1), listed.beside(1, -1)] == [2, 9]


def test_a_click_on_the_strip_changes_the_sample(app, html):
    test = app("inspect", benchmark="reading")
    test.button("strip-2").click().run()
    assert "reading-7-2" in html(test)


def test_references_can_be_picked_too(app, html):
    assert "reference-7-5" in html(app("inspect", benchmark="reference", sample="5"))


def test_an_uploaded_picture_is_answered_with_the_models_notice(app, html):
    buffer = io.BytesIO()
    world.dataset("general", 7)[0].image.save(buffer, "PNG")
    test = app("inspect", source="Upload")
    test.file_uploader[0].upload("scene.png", buffer.getvalue(), "image/png").run()
    test.text_input("upload-question").input("哪个颜色？ <b>$x^2$</b> **球**").run()
    assert not test.exception
    assert html(test).count('class="r2-answer"') == 4
    assert "哪个颜色？ &lt;b&gt;$x^2$&lt;/b&gt; **球**" in html(test)
    assert "not meaningful" in test.warning[0].value


def test_a_file_that_is_no_picture_is_refused(app):
    test = app("inspect", source="Upload")
    test.file_uploader[0].upload("picture.png", b"GIF89a", "image/png").run()
    assert "not a PNG, JPEG or WebP" in test.error[0].value


def test_a_question_has_a_limit(app):
    assert app("inspect", source="Upload").text_input("upload-question").max_chars == 300


def test_the_camera_stays_off_until_it_is_asked_for(app):
    assert not app("inspect", source="Upload").get("camera_input")
    assert app("inspect", source="Upload", **{"upload-from": "Camera"}).get("camera_input")


def test_a_built_scene_without_a_label_is_answered_without_the_oracle(app, html):
    test = app("inspect", source="Build a scene")
    test.text_input("scene-question").input("what color is the <b>ball</b>?").run()
    assert not test.exception
    assert html(test).count('class="r2-answer"') == 4
    assert "<b>ball</b>" not in html(test)
    assert "&lt;b&gt;ball&lt;/b&gt;" in html(test)
    assert not test.warning  # of a picture of the embedded world


def test_a_label_enables_the_oracle_and_scores_the_answers(app, html):
    test = app("inspect", source="Build a scene")
    test.text_input("scene-label").input("red")
    test.text_input("scene-question").input("what color is the ball?").run()
    assert html(test).count('class="r2-answer"') == 5
    scored = ["✓ correct", "✗ wrong", *(f"{'✗✓✗✓'[i]} {word}" for i, word in enumerate(OUTCOMES))]
    assert sum(html(test).count(f">{words}</span>") for words in scored) == 5


def test_a_label_that_the_model_cannot_say_stops_only_the_oracle(app, html):
    test = app("inspect", source="Build a scene")
    test.text_input("scene-label").input("a submarine")
    test.text_input("scene-question").input("what is it?").run()
    assert html(test).count('class="r2-answer"') == 4
    assert "submarine" in " ".join(block.value for block in test.text)


# What lies behind an answer


def test_play_begins_at_the_base_and_can_be_stopped(app):
    test = app("inspect")
    assert test.slider("step").value == PRESET.steps
    test.button("play").click().run()
    assert test.slider("step").value == 0
    assert test.button("play").label == "Stop"
    test.button("play").click().run()
    assert test.button("play").label == "Play"


def test_the_slider_is_the_players_while_it_plays(app):
    test = app("inspect")
    test.button("play").click().run()
    assert test.slider("step").disabled
    test.button("play").click().run()
    assert not test.slider("step").disabled


def test_a_strategy_with_fewer_steps_is_shown_at_its_last(app):
    test = app("inspect", step="9", strategy=label("kernel_regression"))
    assert test.slider("step").value == 2


@pytest.mark.parametrize("name", ["mode_finding", "kernel_regression", "ngd", "oracle"])
@pytest.mark.parametrize(
    "view", ["Steps", "Neighbours", "Where r went", "By hand", "Exact or amortised"]
)
def test_every_section_shows_every_strategy(app, view, name):
    test = app("inspect", benchmark="reading", view=view, strategy=label(name))
    assert test.session_state["strategy"] == name
    assert not test.error


def test_only_the_section_that_is_open_is_drawn(app):
    keys = {"Steps": "figure-experts", "Where r went": "figure-where"}
    for view, key in keys.items():
        drawn = [chart.proto.id for chart in app("inspect", view=view).get("plotly_chart")]
        assert {name for name in keys.values() if any(name in id for id in drawn)} == {key}


def test_k_decides_how_many_neighbours_are_shown(app, html):
    assert html(app("inspect", k="2", view="Neighbours")).count("kernel weight") == 2


def test_a_neighbour_can_be_inspected_in_turn(app, html):
    test = app("inspect", benchmark="reading", sample="4", view="Neighbours", k="3")
    key = next(b.key for b in test.button if (b.key or "").startswith("neighbour-"))
    test.button(key).click().run()
    assert f"reference-7-{key.removeprefix('neighbour-')}" in html(test)
    assert test.number_input("k").value == 3
    assert test.button("back").label == "Back to reading 4"
    test.button("back").click().run()
    assert "reading-7-4" in html(test)
    assert not [button for button in test.button if button.key == "back"]


def test_from_a_neighbour_one_comes_back_to_the_upload(app, html):
    buffer = io.BytesIO()
    world.dataset("general", 7)[0].image.save(buffer, "PNG")
    test = app("inspect", source="Upload", view="Neighbours")
    test.file_uploader[0].upload("scene.png", buffer.getvalue(), "image/png").run()
    test.text_input("upload-question").input("what is it?").run()
    key = next(b.key for b in test.button if (b.key or "").startswith("neighbour-"))
    test.button(key).click().run()
    assert "what is it?" not in html(test)
    test.button("back").click().run()
    assert "what is it?" in html(test)
    assert html(test).count('class="r2-answer"') == 4


def test_the_oracle_shows_no_neighbours_but_says_so(app):
    test = app("inspect", strategy=label("oracle"), view="Neighbours")
    assert "has no neighbours" in " ".join(block.value for block in test.markdown)


def test_an_empty_neighbourhood_says_so_everywhere(app):
    alone = {"neighbourhood": "ball", "epsilon": "0"}
    test = app("inspect", view="Neighbours", **alone)
    assert "No reference lies" in " ".join(block.value for block in test.markdown)
    assert "no L(r) to lower" in app("inspect", view="By hand", **alone).info[0].value


# By hand


def test_r_by_hand_begins_at_the_base_and_is_compared(app):
    table = app("inspect", benchmark="reading", view="By hand").dataframe[0].value
    assert list(table["routing"]) == ["Base", "NGD", "by hand"]
    assert table["L(r)"].iloc[2] == table["L(r)"].iloc[0]


def test_the_strategys_own_r_taken_by_hand_is_as_good(app):
    test = app("inspect", benchmark="reading", view="By hand")
    test.button("start-NGD").click().run()
    table = test.dataframe[0].value
    assert table["L(r)"].iloc[2] == pytest.approx(table["L(r)"].iloc[1], abs=1e-4)
    assert "as good as NGD" in test.info[0].value


def test_a_better_r_than_ngds_is_praised():
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(st, "success", lambda text, **_: said.append(text))
        hand.verdict({hand.HAND: 0.1, "ngd": 0.2}, "ngd")
    assert said == ["Your r is better than NGD's: L(r) 0.1000 against 0.2000."]


def test_a_slider_changes_what_the_model_answers_from(app):
    test = app("inspect", benchmark="reading", view="By hand")
    before = test.dataframe[0].value["L(r)"].iloc[2]
    test.slider("hand-TEXT").set_value(1.0).run()
    assert test.slider("hand-TEXT").value == 1
    assert test.slider("hand-SHAPE").value == 0
    assert test.dataframe[0].value["L(r)"].iloc[2] != before


def test_what_is_set_by_hand_is_of_one_sample(app):
    test = app("inspect", benchmark="reading", view="By hand")
    test.slider("hand-TEXT").set_value(1.0).run()
    test.button("strip-1").click().run()
    assert test.slider("hand-TEXT").value < 1


SITES = (Site("one", ("A", "B", "C")), Site("two", ("B", "D")))
R = np.array([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]], np.float32)


def test_the_others_share_what_an_expert_leaves_as_before():
    moved = hand.give(R, SITES, "one", "A", 0.6)
    assert moved[0] == pytest.approx([0.6, 0.15, 0.25])
    assert moved[1] == pytest.approx(R[1])


def test_all_sites_means_those_that_have_the_expert():
    moved = hand.give(R, SITES, hand.EVERYWHERE, "B", 0.5)
    assert moved[0] == pytest.approx([0.2 * 5 / 7, 0.5, 0.5 * 5 / 7])
    assert moved[1] == pytest.approx([0.5, 0.5, 0])


def test_experts_that_had_nothing_share_equally():
    assert hand.give(R, SITES, "two", "B", 0.4)[1] == pytest.approx([0.4, 0.6, 0])


def test_any_sequence_of_moves_keeps_r_on_the_simplex():
    rng, r = np.random.default_rng(0), R
    for _ in range(200):
        place = rng.choice([hand.EVERYWHERE, "one", "two"])
        r = hand.give(r, SITES, place, rng.choice(list("ABCD")), rng.choice([0, 1, rng.random()]))
        assert r.sum(1) == pytest.approx(1, abs=1e-5)
        assert (r >= 0).all()
        assert r[1, 2] == 0


def test_a_start_is_taken_at_the_chosen_place_only():
    taken = hand.take(R, hand.uniform(R, SITES), SITES, "two")
    assert taken == pytest.approx(np.array([R[0], [0.5, 0.5, 0]]))


@pytest.fixture
def amortised(app, amortised_cache, monkeypatch):
    """Opens a sample on a cache with fitted losses."""
    monkeypatch.setenv("R2T2_CACHE", str(amortised_cache))
    engine.engine.clear()
    engine.trajectory.clear()
    yield lambda **query: app(
        "inspect", benchmark="reading", sample="3", view="Exact or amortised", **query
    )
    engine.engine.clear()
    engine.trajectory.clear()


@pytest.mark.parametrize("name", ["ngd", "kernel_regression", "ngd_amortised"])
def test_a_sample_is_rerouted_on_exact_and_on_fitted_losses(amortised, name):
    test = amortised(strategy=label(name), strategies=label(name))
    assert test.session_state["strategy"] == name
    assert any("answer**, and routing weights" in block.value for block in test.markdown)
    assert any("put aside for the exact one" in block.value for block in test.markdown)
    costs = next(frame.value for frame in test.dataframe if "exact" in frame.value)
    passes = costs.set_index("").loc["passes"]
    assert int(passes["exact"].split()[0]) > int(passes["amortised"].split()[0]) >= 2
    losses = next(frame.value for frame in test.dataframe if "fitted loss" in frame.value)
    assert len(losses) == PRESET.k
    assert losses["exact loss"].notna().all()


def test_a_strategy_without_losses_has_nothing_to_amortise(amortised):
    test = amortised(strategy=label("mode_finding"))
    assert any("nothing to read off" in block.value for block in test.markdown)


def test_without_a_fit_the_command_that_makes_it_is_told(app):
    engine.engine.clear()
    test = app("inspect", benchmark="reading", sample="3", view="Exact or amortised")
    assert any("reference fit --model mini-7" in block.value for block in test.text)
