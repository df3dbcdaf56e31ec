"""Samples: lazy images, and what counts as correct."""

import pytest
from PIL import Image

from r2t2.samples import Dataset, Sample


def _sample(label="A red ball.", load=lambda: Image.new("RGB", (2, 2))):
    return Sample("s", "what is it?", load, label)


def test_an_image_is_loaded_once_and_only_when_asked_for():
    loads = []
    sample = _sample(load=lambda: loads.append(1) or Image.new("RGB", (2, 2)))
    assert not loads
    assert sample.image is sample.image
    assert len(loads) == 1


@pytest.mark.parametrize("answer", ["red ball", "Red Ball", " the red ball!"])
def test_case_articles_and_punctuation_do_not_count(answer):
    assert _sample().is_correct(answer)


def test_another_answer_is_wrong():
    assert not _sample().is_correct("red cube")


def test_a_sample_without_a_label_cannot_be_scored():
    with pytest.raises(ValueError, match="no label"):
        _sample(label=None).is_correct("red")


def test_a_dataset_is_cut_and_indexed_like_a_sequence():
    dataset = Dataset("d", 5, lambda i: Sample(str(i), "q", lambda: Image.new("RGB", (1, 1))))
    assert [s.id for s in dataset[1:3]] == ["1", "2"]
    assert dataset[-1].id == "4"
    assert len(dataset.head(3)) == 3
    with pytest.raises(IndexError, match="5 samples"):
        dataset[5]
