"""Colours that everybody can tell apart, texts that show as typed, words that follow the data."""

import io
import itertools

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from r2t2.data.scenes import render
from r2t2.figures import results, routing, style
from r2t2.figures.style import PALETTE, expert_colours
from r2t2.ui import scenes, show, verdict

# Machado, Oliveira and Fernandes (2009), table 1, severity 1.
DEFICIENCIES = {
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def linear(colour: str) -> np.ndarray:
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def oklab(rgb: np.ndarray) -> np.ndarray:
    to_lms = np.array(
        [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
    )
    to_lab = np.array(
        [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
    )
    return to_lab @ np.cbrt(to_lms @ rgb.clip(0, 1))


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_experts_stay_apart_under_colour_blindness(deficiency):
    matrix = np.array(DEFICIENCIES[deficiency])
    seen = [oklab(matrix @ linear(colour)) for colour in PALETTE[:8]]
    nearest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))
    assert nearest > 0.07  # Okabe and Ito's own eight with grey: 0.025


@pytest.mark.parametrize("background", ["#ffffff", "#0f1217"])
@pytest.mark.parametrize("colour", [*PALETTE, style.CORRECT, style.WRONG])
def test_colours_stand_out_on_light_and_dark_pages(colour, background):
    luminances = [linear(c) @ [0.2126, 0.7152, 0.0722] + 0.05 for c in (colour, background)]
    assert max(luminances) / min(luminances) > 2.25


def test_an_expert_keeps_its_colour_when_others_are_added():
    assert expert_colours(["A", "B"])["B"] == expert_colours(["A", "B", "C"])["B"]


def test_more_experts_than_colours_all_get_one():
    assert len(expert_colours([f"E{i}" for i in range(30)])) == 30


def card(answer: str, correct: bool | None) -> show.Card:
    return show.Card("NGD", answer, 0.5, correct, True, "A", "#000000", (2, 1), 3.0, False)


def test_html_in_an_answer_shows_as_typed():
    text = card("<script>alert(1)</script> **bold** $x$", None).html(None)
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; **bold** $x$" in text


@pytest.mark.parametrize(("correct", "glyph"), [(True, "✓ correct"), (False, "✗ wrong")])
def test_right_and_wrong_are_told_by_more_than_colour(correct, glyph):
    assert glyph in card("yes", correct).html(None)


def test_html_in_an_answer_is_not_read_by_plotly():
    answers = pd.DataFrame({"step": [0, 1], "answer": ["<b>x</b>"] * 2, "probability": [0.1, 0.2]})
    assert routing.answer_lines(answers, None, 0).data[0].name == "&lt;b&gt;x&lt;/b&gt;"


def table(**accuracy: float) -> pd.DataFrame:
    rows = [
        {
            "benchmark": "mean",
            "strategy": name,
            "accuracy": value,
            "low": value - 1,
            "high": value + 1,
            "gain": value - accuracy["base"],
            "wrong_to_right": 0.0,
            "right_to_wrong": 0.0,
        }
        for name, value in accuracy.items()
    ]
    return pd.DataFrame(rows)


def test_a_gain_that_a_control_has_too_is_not_called_re_routing():
    text = " ".join(verdict.sentences(table(base=50, ngd=60, uniform=60)))
    assert "none of NGD's gain is re-routing" in text
    assert "not clearly ahead of Uniform r" in text


def test_what_no_control_reaches_is_called_re_routing():
    text = " ".join(verdict.sentences(table(base=50, ngd=60, uniform=54)))
    assert "NGD beats Uniform r (+6.0 points)" in text
    assert "The remaining 6.0 points are." in text


def test_a_gain_without_controls_is_not_praised():
    assert "may not be re-routing" in " ".join(verdict.sentences(table(base=50, ngd=60)))


def weights() -> pd.DataFrame:
    rows = [
        (step, site, expert, weight)
        for step, r in enumerate([(0.9, 0.1), (0.2, 0.8)])
        for site in ("one", "two")
        for expert, weight in zip("AB", r, strict=True)
    ]
    return pd.DataFrame(rows, columns=["step", "site", "expert", "weight"])


def test_the_bars_show_base_beside_the_step():
    base, step = routing.routing_bars(weights(), ["A", "B"], 1).data
    assert list(base.y) == pytest.approx([0.9, 0.1])
    assert list(step.y) == pytest.approx([0.2, 0.8])


def test_a_change_of_the_top_1_expert_is_named_where_it_happens():
    [note] = routing.expert_lines(weights(), ["A", "B"], 0).layout.annotations
    assert (note.x, note.text) == (1, "top-1: B")


def test_the_oracle_is_marked_in_the_results_figure():
    figure = results.results_dots(table(base=50, oracle=90))
    assert "reads the label" in figure.data[1].name


def row(**changes) -> dict:
    cube = {
        "row": 1,
        "column": 1,
        "what": "cube",
        "colour": "red",
        "texture": "plain",
        "size": "large",
        "word": "",
    }
    return cube | changes


def test_a_built_scene_shows_what_its_table_says():
    table = pd.DataFrame([row(), row(column=4, what="sign", colour="blue", word="zoo")])
    scene = scenes.from_table(table, "wall", 0)
    assert (scene.things[0].shape, scene.signs[0].cell, scene.signs[0].word) == ("cube", 3, "zoo")
    assert Image.open(io.BytesIO(scenes.png(render(scene)))).size == (256, 256)


def test_two_things_in_one_cell_are_refused():
    with pytest.raises(ValueError, match="line 2 stands where another thing does"):
        scenes.from_table(pd.DataFrame([row(), row()]), "wall", 0)


def test_a_line_that_is_not_finished_is_refused():
    with pytest.raises(ValueError, match="line 1 has no word"):
        scenes.from_table(pd.DataFrame([row(what="sign")]), "wall", 0)
