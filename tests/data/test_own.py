"""Your own data: taken in as a whole, or refused with the row and the column."""

from __future__ import annotations

import csv
import json
import re
import zipfile

import numpy as np
import pandas as pd
import pytest

from r2t2 import apart, studio
from r2t2.data import own, stored
from r2t2.data.own import add
from tests.data.layouts import picture

ROWS = [
    {"image": "a.png", "question": "Which, of these?", "answer": "B", "choices": "cat|dog"},
    {"image": "sub/b.png", "question": "How many?", "answer": "2", "choices": ""},
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache, and a folder with two pictures."""
    monkeypatch.setenv("R2T2_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "mine"
    (place / "sub").mkdir(parents=True)
    (place / "a.png").write_bytes(picture(1))
    (place / "sub" / "b.png").write_bytes(picture(2))
    return place


def _csv(path, rows=ROWS):
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return path


def _jsonl(path, rows=ROWS):
    lines = [{**row, "choices": [c for c in row["choices"].split("|") if c]} for row in rows]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def _parquet(path, rows=ROWS):
    pd.DataFrame(rows).to_parquet(path)
    return path


def _zip(path, rows=ROWS, kind=zipfile.ZIP_DEFLATED, **files):
    inner = _csv(path.with_suffix(".csv"), rows)
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.write(inner, "data/table.csv")
        for name, data in {"a.png": picture(1), "sub/b.png": picture(2), **files}.items():
            archive.writestr(f"data/{name}", data)
    inner.unlink()
    return path


WRITERS = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet, ".zip": _zip}


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_table_with_pictures_becomes_a_benchmark(folder, suffix):
    kept = add(WRITERS[suffix](folder / f"mine{suffix}"), "mine")
    first, second = studio.open_dataset("mine")
    assert (first.label, first.choices, first.metric) == ("dog", ("cat", "dog"), "option")
    assert (second.label, second.choices, second.metric) == ("2", (), "match")
    assert np.asarray(first.image).shape == (48, 48, 3)
    assert kept.manifest["role"] == "benchmark"
    assert "mine" in studio.benchmarks()


def test_pictures_may_be_inside_a_parquet_file(folder):
    rows = [{"image": {"bytes": picture(1), "path": "/etc/passwd"}, **_but("image")}]
    add(_parquet(folder / "mine.parquet", rows), "mine", "reference")
    assert studio.open_dataset("mine")[0].image.size == (48, 48)


def _but(name, row=0):
    return {key: value for key, value in ROWS[row].items() if key != name}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"question": " "}, "row 2, column question: it is empty"),
        ({"answer": ""}, "row 2, column answer: empty"),
        ({"answer": "E", "choices": "x|y"}, "row 2, column answer: 'E' is none of the choices"),
        ({"choices": "x"}, "row 2, column choices: there must be two or more"),
        ({"choices": "x|x"}, "row 2, column choices"),
        ({"image": "c.png"}, "row 2, column image: there is no file 'c.png'"),
        ({"image": ""}, "row 2, column image: it is empty"),
        ({"image": "../secret.png"}, "row 2, column image: '../secret.png' leads out"),
        ({"image": "sub/../../secret.png"}, "row 2, column image"),
        ({"image": "/secret.png"}, "row 2, column image: '/secret.png' leads out"),
        ({"image": "text.png"}, "row 2, column image: the picture cannot be used"),
        ({"question": "x" * 20_001}, "row 2, column question: it is longer"),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_what_is_wrong_is_said_with_its_row_and_column(folder, suffix, change, says):
    (folder / "text.png").write_text("no picture")
    (folder.parent / "secret.png").write_bytes(picture(3))
    file = WRITERS[suffix](folder / f"mine{suffix}", [ROWS[0], {**ROWS[1], **change}])
    with pytest.raises(ValueError, match=re.escape(says)):
        add(file, "mine")
    assert stored.here() == {}
    assert list((folder.parent / "cache" / "data").glob("*")) == []


def test_choices_may_be_a_json_list_in_a_cell_and_a_broken_one_is_named(folder):
    rows = [{**ROWS[0], "choices": '["cat", "dog"]'}, {**ROWS[1], "choices": '["x"'}]
    assert add(_csv(folder / "one.csv", rows[:1]), "one").sample(0).choices == ("cat", "dog")
    with pytest.raises(ValueError, match="row 2, column choices: it is no JSON list"):
        add(_csv(folder / "two.csv", rows), "two")


def test_a_metric_that_there_is_not_is_refused_at_once(folder):
    with pytest.raises(ValueError, match="no metric 'bleu'"):
        add(_csv(folder / "mine.csv"), "mine", metric="bleu")
    assert add(_csv(folder / "mine.csv"), "mine", metric="exact").sample(0).metric == "exact"


def test_missing_columns_are_named(folder):
    file = _csv(folder / "mine.csv", [_but("question")])
    with pytest.raises(ValueError, match="no column question; there are answer, choices, image"):
        add(file, "mine")


def test_an_absolute_path_lies_in_the_folder_that_the_user_names(folder):
    rows = [{**ROWS[0], "image": str(folder / "a.png")}]
    file = _csv(folder.parent / "mine.csv", rows)
    with pytest.raises(ValueError, match="row 1, column image"):
        add(file, "mine")
    assert add(file, "mine", images=folder).manifest["size"] == 1
    with pytest.raises(ValueError, match="does not lie in"):
        add(file, "other", images=folder / "sub")


@pytest.mark.parametrize("name", ["reading", "mmbench", "paper-reference", "Mine", "a/b", "..", ""])
def test_a_name_that_is_taken_or_none_is_refused(folder, name):
    with pytest.raises(ValueError, match="name"):
        add(_csv(folder / "mine.csv"), name)


def test_another_one_of_the_same_name_is_replaced_only_when_asked(folder):
    first = add(_csv(folder / "mine.csv"), "mine")
    with pytest.raises(ValueError, match="already"):
        add(_csv(folder / "mine.csv", ROWS[:1]), "mine")
    second = add(_csv(folder / "mine.csv", ROWS[:1]), "mine", again=True)
    assert (first.manifest["size"], second.manifest["size"]) == (2, 1)
    assert len(studio.open_dataset("mine")) == 1


def test_what_cannot_replace_another_leaves_it_alone(folder):
    add(_csv(folder / "mine.csv"), "mine")
    with pytest.raises(ValueError, match="row 1"):
        add(_csv(folder / "mine.csv", [{**ROWS[0], "image": "none.png"}]), "mine", again=True)
    assert len(studio.open_dataset("mine")) == 2


def test_a_zip_bomb_is_refused(folder):
    file = _zip(folder / "mine.zip", **{"a.png": b"\x89PNG\r\n" + b"\0" * 10_000_000})
    with pytest.raises(ValueError, match="would be 10,000,006 bytes"):
        add(file, "mine")


def test_a_zip_with_a_picture_bomb_is_refused(folder):
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.new("L", (30_000, 30_000)).save(file, "PNG", compress_level=1)
    with pytest.raises(ValueError, match=r"row 1, column image.*million pixels"):
        add(
            _zip(folder / "mine.zip", kind=zipfile.ZIP_STORED, **{"a.png": file.getvalue()}), "mine"
        )


@pytest.mark.parametrize(
    ("names", "says"),
    [(("x.csv", "y.csv"), "2 tables"), ((), "0 tables")],
)
def test_a_zip_holds_one_table(folder, names, says):
    with zipfile.ZipFile(folder / "mine.zip", "w") as archive:
        for name in names:
            archive.writestr(name, "image,question,answer\n")
    with pytest.raises(ValueError, match=says):
        add(folder / "mine.zip", "mine")


def test_a_link_in_a_zip_is_refused(folder):
    file = _zip(folder / "mine.zip")
    with zipfile.ZipFile(file, "a") as archive:
        link = zipfile.ZipInfo("data/link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ValueError, match="no plain file"):
        add(file, "mine")


def test_a_zip_is_read_in_a_process_of_its_own(folder, monkeypatch):
    called = []
    monkeypatch.setattr(
        apart, "call", lambda *words: called.append(words) or own.unpack(*words[1:])
    )
    add(_zip(folder / "mine.zip"), "mine")
    assert called[0][0] == "r2t2.data.own"
