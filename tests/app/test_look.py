"""Colours that everybody can tell apart, texts that show as typed, words that follow the data."""

import io
import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from r2t2 import cards
from r2t2.cards import Card
from r2t2.data.scenes import render
from r2t2.figures import routing, style, trajectory
from r2t2.figures.style import PALETTE, expert_colours
from r2t2.ui import scenes, show

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


def card(answer: str, correct: bool | None, changed: bool = True) -> Card:
    return Card("NGD", answer, 0.5, correct, changed, "A", "#000000", (2, 1), 3.0, False)


def test_html_in_an_answer_shows_as_typed():
    text = card("<script>alert(1)</script> **bold** $x$", None).html(None)
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; **bold** $x$" in text


@pytest.mark.parametrize(("correct", "glyph"), [(True, "✓ correct"), (False, "✗ wrong")])
def test_right_and_wrong_are_told_by_more_than_colour(correct, glyph):
    assert glyph in card("yes", correct).html(None)


@pytest.mark.parametrize(
    ("base", "correct", "changed", "said"),
    [
        (False, True, True, "✓ wrong to right</span></div>"),
        (True, False, True, "✗ right to wrong</span></div>"),
        (True, True, False, "✓ stayed right</span></div>"),
        (False, False, False, "✗ stayed wrong</span> · as base</div>"),
        (False, False, True, "✗ stayed wrong</span> · changed</div>"),
        (None, None, True, ">changed</div>"),
        (None, None, False, ">as base</div>"),
    ],
)
def test_a_card_says_what_became_of_the_bases_answer(base, correct, changed, said):
    assert said in card("yes", correct, changed).html(card("no", base))


@pytest.mark.parametrize("text", ["<b>x</b>", "**x** [y](z) $x^2$", "`code` :red[a] #1", "a|b~c~"])
def test_a_label_shows_as_typed(text):
    literal = show.literal(text)
    assert literal.replace("\\", "") == text
    assert not re.search(r"(?<!\\)[*_`$\[\]<>|~:#]", literal)


def test_the_bar_of_an_experts_mix_tells_its_numbers():
    bar = cards.mix({"A": 0.25, "<B>": 0.75}, {"A": "#000000", "<B>": "#ffffff"})
    assert 'aria-label="&lt;B&gt; 0.75, A 0.25"' in bar


def test_html_in_an_answer_is_not_read_by_plotly():
    answers = pd.DataFrame({"step": [0, 1], "answer": ["<b>x</b>"] * 2, "probability": [0.1, 0.2]})
    assert routing.answer_lines(answers, None).data[0].name == "&lt;b&gt;x&lt;/b&gt;"


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
    [note] = routing.expert_lines(weights(), ["A", "B"]).layout.annotations
    assert (note.x, note.text) == (1, "top-1: B")


def test_the_heat_map_marks_the_top_1_expert_and_the_bases():
    pale, dark = routing.routing_heatmap(weights(), ["A", "B"], 1).data[1:]
    texts = dict(zip([*pale.x, *dark.x], [*pale.text, *dark.text], strict=True))
    assert texts == {"A": "○ 0.20", "B": "● 0.80"}


def test_a_change_at_one_site_is_named_there():
    changed = weights()
    changed.loc[(changed["site"] == "two") & (changed["step"] == 1), "weight"] = [0.9, 0.1]
    named = routing.site_changes(changed, ["A", "B"]).data[1]
    assert list(zip(named.y, named.text, strict=True)) == [("one", "A"), ("one", "B"), ("two", "A")]


def test_the_mark_of_a_step_is_moved_and_not_added():
    figure = routing.expert_lines(weights(), ["A", "B"])
    for step in (0, 1):
        [line] = routing.mark_step(figure, step).layout.shapes
        assert (line.x0, line.x1) == (step, step)


def test_of_very_many_experts_the_weightiest_are_drawn():
    experts = [f"E{i}" for i in range(64)]
    many = pd.DataFrame(
        {"step": 0, "site": "one", "expert": experts, "weight": np.arange(64) / 2016}
    )
    drawn = routing.expert_lines(many, experts).data
    assert [line.name for line in drawn] == experts[-routing.MOST :]


def test_every_figure_takes_sites_with_different_experts():
    uneven = weights()[lambda rows: ~((rows["site"] == "two") & (rows["expert"] == "B"))]
    for draw in (routing.routing_heatmap, routing.routing_bars):
        draw(uneven, ["A", "B"], 1)
    for draw in (routing.expert_lines, routing.site_changes):
        draw(uneven, ["A", "B"])


def test_what_is_typed_is_not_read_by_plotly_in_any_figure():
    typed = "<i>x</i>"
    bars = pd.DataFrame({"routing": ["base"], "answer": [typed], "probability": [0.5]})
    near = pd.DataFrame({"x": [0.0], "y": [0.0], "expert": ["A"], "text": [typed]})
    path = pd.DataFrame({"step": [0, 1], "x": [0.0, 1.0], "y": [0.0, 1.0]})
    ends = pd.DataFrame({"strategy": ["oracle"], "x": [1.0], "y": [0.0]})
    where = trajectory.routing_map(near, near, path, ends, ["A"])
    for figure in (routing.answer_bars(bars, typed), where):
        assert typed not in json.dumps(figure.to_dict(), default=list)


def test_the_ring_is_where_the_path_is_at_the_step():
    points = pd.DataFrame({"x": [0.0], "y": [0.0], "expert": ["A"], "text": [""]})
    path = pd.DataFrame({"step": [0, 1, 2], "x": [0.0, 1.0, 2.0], "y": [0.0, 5.0, 6.0]})
    ends = pd.DataFrame({"strategy": [], "x": [], "y": []})
    figure = trajectory.routing_map(points, points, path, ends, ["A"])
    ring = trajectory.mark_step(figure, path, 1).data[-1]
    assert (list(ring.x), list(ring.y)) == ([1.0], [5.0])


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
