"""The same picture or question in benchmark and reference set is found and left out."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from r2t2 import reference
from r2t2.data import world
from r2t2.engine import Engine
from r2t2.images import picture_hash
from r2t2.overlap import Known, counts, traces
from r2t2.reference import ReferenceSet
from r2t2.rerouting.settings import Setting
from r2t2.runs.identity import RunSpec
from r2t2.samples import Dataset
from tests.runs import toy


@pytest.fixture(scope="module")
def scenes():
    return [world.dataset("dev")[i].image for i in range(40)]


def _bits(hashes):
    return np.array([[int(c, 16) >> i & 1 for c in hash for i in range(4)] for hash in hashes])


def _saved(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return Image.open(file)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: _saved(image, "JPEG", quality=60),
        lambda image: image.resize((128, 128)),
        lambda image: _saved(image.resize((384, 384)), "WEBP"),
        lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    ],
    ids=["jpeg", "half", "larger webp", "brighter"],
)
def test_the_same_picture_in_another_file_is_known_again(scenes, change):
    samples = [replace(_plain(i), picture=picture_hash(s)) for i, s in enumerate(scenes)]
    known = Known(traces(samples))
    changed = [
        replace(s, picture=picture_hash(change(i))) for s, i in zip(samples, scenes, strict=True)
    ]
    found = known(changed)
    assert [set(one.picture) for one in found] == [{i} for i in range(len(scenes))]


def _plain(i):
    return replace(toy.dataset()[i % toy.SIZE], question=f"question {i}?", choices=())


def test_a_picture_of_one_colour_is_nobodys_copy():
    assert picture_hash(Image.new("RGB", (64, 64), "white")) == ""
    blank = replace(_plain(0), picture="")
    assert Known(traces([blank]))([blank])[0].picture == frozenset()


def test_a_question_overlaps_with_its_choices_in_whatever_order_and_words_alone_count_apart():
    there = [
        replace(_plain(0), question="Which is the LARGER one?", choices=("a cat", "Dog")),
        replace(_plain(1), question="which is larger one", choices=("cat", "horse")),
        replace(_plain(2), question="Which is larger one?"),
    ]
    asked = replace(_plain(3), question="which is larger one?", choices=("dog", "Cat."))
    (found,) = Known(traces(there))([asked])
    assert (found.question, found.words) == ({0}, {0, 1, 2})
    assert found.left_out("samples") == {0}
    assert found.left_out("questions") == {0, 1, 2}
    assert found.left_out("off") == frozenset()


def test_overlaps_are_counted_by_kind():
    there = [replace(_plain(i), picture="f" * 64 if i else "0" * 64) for i in range(3)]
    found = Known(traces(there))([replace(_plain(7), picture="f" * 64), _plain(0), _plain(9)])
    assert counts(found) == {
        "samples": 3,
        "same picture": 1,
        "same question and choices": 0,
        "same words": 1,
        "references left out": 2,
    }


def _real(name, size, shift=0):
    """The toy's samples as if from outside: with a fingerprint and their pictures' hashes."""
    plain = toy.dataset("shared", 60)

    def make(i):
        hash = f"{(i + shift) * 2654435761 % 2**64:016x}" * 4
        return replace(plain[(i + shift) % 60], id=f"{name}-{i}", picture=hash)

    return Dataset(name, size, make, fingerprint=f"of {name}")


@pytest.fixture(scope="module")
def engine():
    references = _real("reference", 60)
    return Engine(toy.Toy(), reference.build(toy.Toy(), references, 0), references)


@pytest.mark.parametrize("neighbourhood", ["nearest", "ball", "random", "same_type"])
def test_neighbours_with_the_samples_picture_are_left_out(engine, neighbourhood):
    setting = replace(toy.NGD, neighbourhood=neighbourhood, k=6, epsilon=2.0, references="all")
    samples = list(_real("benchmark", 8, shift=10))
    prepared = engine.prepare(samples)
    guarded = engine.run(prepared, setting).neighbours
    free = engine.run(prepared, replace(setting, guard="off")).neighbours
    own = [i + 10 for i in range(8)]
    for i, position in enumerate(own):
        assert position not in guarded.index[i][guarded.present[i]].tolist()
    if neighbourhood in ("nearest", "ball"):
        assert all(p in free.index[i][free.present[i]].tolist() for i, p in enumerate(own))
    assert (guarded.present.sum(1) == free.present.sum(1)).all() or neighbourhood == "ball"


def test_mode_finding_leaves_them_out_too(engine):
    samples = list(_real("benchmark", 8, shift=10))
    setting = Setting("mode_finding", k=5, references="all")
    found = engine.run(engine.prepare(samples), setting).neighbours
    assert all(i + 10 not in found.index[i].tolist() for i in range(8))


def test_what_is_left_out_is_kept_beside_the_set(engine, tmp_path):
    engine.reference.save(tmp_path)
    loaded = ReferenceSet.load(tmp_path, toy.Toy())
    samples = list(_real("benchmark", 8, shift=10))
    assert loaded.overlaps(samples) == engine.reference.overlaps(samples)
    assert loaded.fingerprint == engine.reference.fingerprint
    (tmp_path / "traces.parquet").unlink()
    with pytest.raises(ValueError, match="fit together"):
        ReferenceSet.load(tmp_path, toy.Toy())


def test_sets_of_the_embedded_world_have_no_traces_and_leave_nothing_out():
    built = toy.engine().reference
    assert built.traces is None
    assert built.left_out(list(toy.dataset()), "questions") == [frozenset()] * toy.SIZE
    assert "data" not in built.manifest


def test_the_guard_as_it_usually_is_goes_without_saying():
    assert "guard" not in toy.NGD.options
    assert replace(toy.NGD, guard="off").options["guard"] == "off"
    assert "guard" not in Setting("base", guard="off").options


def test_a_run_is_identified_by_its_data_too(engine):
    specs = [
        RunSpec.of(engine, dataset, 0, "ngd", toy.NGD, "all", 4)
        for dataset in (
            _real("benchmark", 8),
            Dataset("benchmark", 8, toy.dataset()._make, "other data"),
            Dataset("benchmark", 8, toy.dataset()._make),
        )
    ]
    assert len({spec.id for spec in specs}) == 3
    assert specs[2].data == ""
