"""The embedded world: deterministic, answerable, and its splits apart."""

import itertools

import numpy as np
import pytest

from r2t2.data import scenes, world
from r2t2.data.questions import ANSWERS, PHRASINGS, REFERENCES, TYPES
from r2t2.data.scenes import Scene, Sign, Thing, render

ALL = {**world.SPLITS, **world.BENCHMARKS}


def test_a_scene_renders_to_the_same_pixels_every_time():
    scene, _ = world.draw(0, world.SPLITS["dev"], 3)
    again, _ = world.draw(0, world.SPLITS["dev"], 3)
    assert scene == again
    assert np.array_equal(np.asarray(render(scene)), np.asarray(render(again)))


def test_a_scene_is_256_pixels_wide_and_not_blank():
    pixels = np.asarray(render(world.draw(0, world.SPLITS["dev"], 0)[0]))
    assert pixels.shape == (256, 256, 3)
    assert pixels.std() > 5


def test_a_thing_is_painted_in_its_colour_in_its_cell():
    scene = Scene((Thing(5, "ball", "red"),))
    pixels = np.asarray(render(scene)).astype(int)
    red, green, blue = pixels[64 + 32, 64 + 32]
    assert red > 2 * max(green, blue)
    assert np.ptp(pixels[200, 200]) < 40


def test_different_words_look_different():
    images = [
        np.asarray(render(Scene((), (Sign(0, "red", word),)))).astype(int)[:64, :64]
        for word in scenes.WORDS
    ]
    for a, b in itertools.combinations(images, 2):
        assert (abs(a - b) > 60).mean() > 0.02


def test_no_two_splits_or_benchmarks_share_a_scene():
    drawn = {
        name: {world.draw(seed, split, i)[0] for i in range(40) for seed in (0, 1)}
        for name, split in ALL.items()
    }
    assert len({split.number for split in ALL.values()}) == len(ALL)
    for (_, a), (_, b) in itertools.combinations(drawn.items(), 2):
        assert not a & b


def test_evaluation_shares_no_phrasing_with_the_router_or_the_references():
    evaluation = set(world.SPLITS["dev"].wording.phrasings)
    for name in ("router", "reference"):
        assert not evaluation & set(world.SPLITS[name].wording.phrasings)
    assert set(world.SPLITS["training"].wording.phrasings) == set(range(PHRASINGS))


def test_the_router_never_sees_the_types_it_is_weak_at():
    hidden = {"texture", "size", "spatial", "reading", "knowledge"}
    asked = {world.draw(0, world.SPLITS["router"], i)[1][0].type for i in range(300)}
    assert not asked & hidden


@pytest.mark.parametrize("name", world.BENCHMARKS)
def test_a_benchmark_has_its_own_types_and_800_answerable_samples(name):
    dataset = world.dataset(name)
    assert len(dataset) >= 800
    for sample in dataset[:60]:
        assert sample.category in world.BENCHMARKS[name].mix
        assert sample.label in ANSWERS
        assert not sample.choices or sample.label in sample.choices


def test_the_dev_benchmark_has_at_least_1000_samples():
    assert len(world.dataset("dev")) >= 1000


@pytest.mark.parametrize("type", TYPES)
def test_answers_are_right_by_the_scene(type):
    """Recomputed from the scene for what can be told from the question's parts alone."""
    split = world.Split(
        99, {type: 1.0}, world.Wording(tuple(range(7)), "training"), scenes.Statistics(), {}
    )
    for i in range(30):
        scene, (question,) = world.draw(0, split, i)
        assert question.type == type
        assert question.reference in REFERENCES[type]
        if type == "counting" and question.reference == "all":
            assert question.answer == str(len(scene.things))
        if type == "reading":
            (word,) = [s.word for s in scene.signs if s.colour in question.text]
            assert question.answer == word
        if type in ("colour", "texture", "size", "shape"):
            assert question.answer in {getattr(thing, type) for thing in scene.things}


def test_an_unknown_benchmark_is_refused_with_those_there_are():
    with pytest.raises(KeyError, match="knowledge"):
        world.dataset("mmbench")
