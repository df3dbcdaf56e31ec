"""Datasets on the pages: listed, added, run and held against reference sets."""

import zipfile

import pytest

from r2t2 import reference
from r2t2.data import own, stored
from r2t2.data.questions import ANSWERS
from r2t2.models import load_model
from r2t2.studio import open_dataset
from r2t2.ui import data
from tests.app.conftest import open_page
from tests.data.layouts import picture


def _zip(path, numbers):
    answers = [ANSWERS[n % 2] for n in numbers]
    lines = [
        f"{n}.png,is there a ball {n}?,{a},yes|no" for n, a in zip(numbers, answers, strict=True)
    ]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("table.csv", "image,question,answer,choices\n" + "\n".join(lines))
        for n in numbers:
            archive.writestr(f"{n}.png", picture(n))
    return path


@pytest.fixture
def cache(small_cache, tmp_path, monkeypatch):
    """A cache with the small one's model, and nothing else."""
    monkeypatch.setenv("R2T2_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "checkpoints").symlink_to(small_cache / "checkpoints")
    return tmp_path


def test_a_dataset_that_is_added_can_be_picked_everywhere(cache, small_cache):
    (cache / "cache" / "references").symlink_to(small_cache / "references")
    own.add(_zip(cache / "mine.zip", range(4)), "mine")
    runs = open_page("runs", model="mini-7")
    table = next(one.value for one in runs.dataframe if "in the paper" in one.value)
    assert table.set_index("name")["here"]["mine"]
    assert len(table) == 18
    inspect = open_page("inspect", model="mini-7", benchmark="mine")
    assert any("mine" in box.options for box in inspect.selectbox)


def test_an_upload_is_added_or_refused_with_its_row(cache, monkeypatch):
    state = {}
    monkeypatch.setattr(data.st, "session_state", state)
    monkeypatch.setattr(data.st, "rerun", lambda: None)
    with _zip(cache / "mine.zip", range(3)).open("rb") as file:
        data._take_in(file, "mine", "benchmark")
    assert "mine has 3 samples" in state["data-added"]
    assert len(open_dataset("mine")) == 3
    with zipfile.ZipFile(cache / "bad.zip", "w") as archive:
        archive.writestr("table.csv", "image,question,answer\n../x.png,<b>what</b>?,yes\n")
    with (cache / "bad.zip").open("rb") as file:
        data._take_in(file, "bad", "benchmark")
    assert "row 1, column image" in str(state["data-added"])
    assert list(stored.here()) == ["mine"]


def test_the_reference_page_counts_the_overlap(cache):
    own.add(_zip(cache / "there.zip", range(40)), "there", "reference")
    own.add(_zip(cache / "mine.zip", range(38, 44)), "mine")
    samples = open_dataset("there")
    built = reference.build(load_model("mini-7", "cpu"), samples, 0)
    built.save(cache / "cache" / "references" / "mini-7-there-wordllama")
    page = open_page("references", model="mini-7", reference="mini-7-there-wordllama")
    table = next(one.value for one in page.dataframe if "same picture" in one.value)
    kept = built.table["correct"].to_numpy()
    assert table.iloc[0].to_dict() == {
        "benchmark": "mine",
        "samples": 6,
        "same picture": int(kept[38:].sum()),
        "same question and choices": int(kept[38:].sum()),
        "same words": int(kept[38:].sum()),
        "references left out": int(kept[38:].sum()),
    }
