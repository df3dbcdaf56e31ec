"""The paper's datasets: from official files or the hub's to samples."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pyarrow as pa
import pytest

from r2t2 import metrics, studio
from r2t2.data import benchmarks, catalogue, stored
from r2t2.data.rows import draw
from r2t2.images import decode
from r2t2.paper import tables
from r2t2.prompts import ask
from tests.data import layouts

# Of the first sample of each layout: question, choices, label, metric, category, group.
_YES = "Is there a cat? Please answer yes or no."
FIRST = {
    "mmbench": ("Which?", ("cat", "dog"), "dog", "option", "animals", ""),
    "mme": (_YES, (), "Yes", "yes_no", "existence", "existence/1.jpg"),
    "cvbench": ("How many?", ("1", "2"), "2", "option:cv_bench", "Count", "COCO"),
    "gqa": ("What?", (), "sky", "exact", "query", ""),
    "scienceqa": ("Which?", ("hot", "cold"), "cold", "option:scienceqa", "weather", ""),
    "ai2d": ("How many stages?", ("2", "1"), "1", "option", "", ""),
    "physbench": (
        "Which is heavier?",
        ("the red ball", "the blue ball"),
        "the blue ball",
        "option",
        "",
        "",
    ),
    "textvqa": ("What brand?", (), "nokia", "textvqa", "", ""),
    "vqav2": ("Number 0?", (), "red", "vqa", "other", ""),
    "visual7w": (
        "Where?",
        ("outside", "inside", "on a roof", "in a car"),
        "outside",
        "option",
        "where",
        "",
    ),
    "cocoqa": ("what is on the bed", (), "cat", "exact", "object", ""),
    "clevr": ("What size is it?", (), "small", "exact", "query_size", ""),
    "aokvqa": ("What for?", ("fun", "work"), "fun", "option", "", ""),
    "tqa": ("Which layer is it?", ("crust", "mantle"), "mantle", "option", "the earth", ""),
    "mathvista": ("How long?", (), "1.2", "number:1", "geometry", ""),
    "stvqa": ("What is written?", (), "STOP", "anls", "coco-text", ""),
    "docvqa": ("What is the date?", (), "1 May", "anls", "form", ""),
}
SIZES = {"mmbench": 2, "mme": 4, "cvbench": 2, "vqav2": 3, "visual7w": 2, "cocoqa": 2}
SIZES |= {"mathvista": 3}
SKIPPED = {
    "mmbench": {"a rotation of another question (mmbench-circular makes them all)": 1},
    "scienceqa": {"without exactly one picture": 1},
    "physbench": {"not about one picture alone": 1, "without an answer": 1},
    "aokvqa": {"without an answer": 1},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache and an empty folder of official files."""
    monkeypatch.setenv("R2T2_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("R2T2_DATA", str(tmp_path / "official"))
    return tmp_path / "official"


def _same(image, data):
    assert np.abs(np.asarray(image, int) - np.asarray(decode(data), int)).max() < 2


@pytest.mark.parametrize("name", layouts.LAYOUTS)
def test_official_files_become_samples(folder, name):
    layouts.LAYOUTS[name](folder)
    kept = benchmarks.get(name)
    samples = studio.open_dataset(name)
    first = samples[0]
    assert len(samples) == SIZES.get(name, 1)
    assert kept.manifest["skipped"] == SKIPPED.get(name, {})
    told = first.question, first.choices, first.label, first.metric, first.category, first.group
    assert told == FIRST[name]
    assert first.dataset == name
    assert len({sample.id for sample in samples}) == len(samples)
    format = "JPEG" if name in _JPEGS else "PNG"
    _same(first.image, layouts.picture(1, format=format))


_JPEGS = ("mme", "gqa", "textvqa", "vqav2", "visual7w", "cocoqa", "aokvqa", "mathvista", "stvqa")


@pytest.mark.parametrize("name", layouts.HUB)
def test_a_copy_of_the_hubs_repository_becomes_samples(folder, name):
    layouts.hub(name, folder)
    source = benchmarks.get(name).manifest["source"]
    first = studio.open_dataset(name)[0]
    entry = catalogue.ENTRIES[name]
    assert f"({entry.hub.config}, {entry.hub.split})" in source
    assert first.label in {"dog", "Yes", "chair", "sky", "cold", "1", "nokia", "fun", "1.2"} | {
        "STOP",
        "1 May",
    }
    number = 2 if name == "gqa" else 0 if name in ("cvbench", "vqav2") else 1
    _same(first.image, layouts.picture(number))


def test_every_dataset_has_a_layout_and_every_one_on_the_hub_a_copy():
    assert set(layouts.LAYOUTS) == set(FIRST) == set(catalogue.ENTRIES)
    assert set(layouts.HUB) == {n for n, entry in catalogue.ENTRIES.items() if entry.hub}


def test_every_metric_is_one_that_there_is(folder):
    for name, layout in layouts.LAYOUTS.items():
        layout(folder)
        for sample in benchmarks.get(name).dataset():
            assert metrics.metric(sample.metric).score(sample.label, sample) >= 0.5, sample


def test_the_papers_sizes_are_those_of_its_table():
    paper = tables()[1].rows
    sizes = dict(zip(paper["benchmark"], paper["evaluation size"], strict=True))
    sizes |= dict(zip(paper["reference set"], paper["reference size"], strict=True))
    for entry in catalogue.ENTRIES.values():
        assert sizes[entry.title] == entry.paper


PROMPTS = {
    "mmbench": "See.\nWhich?\nA. cat\nB. dog\nPlease select the correct answer from the options "
    "above.",
    "mme": _YES,
    "cvbench": "How many? Select from the following choices.\n(A) 1\n(B) 2",
    "mathvista": "Hint: answer with one decimal.\nQuestion: How long?",
    "textvqa": "What brand?\nAnswer the question using a single word or phrase.",
}


@pytest.mark.parametrize("name", PROMPTS)
def test_a_question_is_put_as_its_benchmark_prescribes(folder, name):
    layouts.LAYOUTS[name](folder)
    assert ask(benchmarks.get(name).sample(0), "own").text == PROMPTS[name]


def test_choices_that_are_pictures_are_skipped_and_counted(folder):
    rows = layouts.HUB["ai2d"]["data/test-00000-of-00001.parquet"]
    blank = {**rows[0], "options": ["", ""], "answer": "0"}
    layouts.parquet(folder / "ai2d" / "data" / "test-0.parquet", [*rows, blank])
    skipped = benchmarks.get("ai2d").manifest["skipped"]
    assert skipped == {"with choices that are no texts, or too many of them": 1}


def test_all_that_annotators_said_and_an_ocr_system_read_is_kept(folder):
    layouts.textvqa(folder)
    sample = benchmarks.get("textvqa").sample(0)
    assert sample.answers.count("nokia") == 8
    assert sample.texts == ("NOKIA", "3310")


def test_a_picture_of_many_questions_is_kept_once(folder):
    layouts.vqav2(folder)
    kept = benchmarks.get("vqav2")
    assert kept.manifest["pictures"] == 1
    assert kept.table["bytes"].null_count == 2
    assert kept.sample(2).image.size == (48, 48)


def test_a_large_reference_dataset_is_drawn_from_with_a_fixed_seed(folder, monkeypatch):
    layouts.vqav2(folder)
    monkeypatch.setattr(catalogue, "MOST_REFERENCES", 2)
    kept = benchmarks.get("vqav2")
    asked = [sample.question for sample in kept.dataset()]
    assert asked == [f"Number {i}?" for i in draw(3, 2)]
    assert benchmarks.differs(kept) == "2 drawn from 3 with seed 0; the paper has 5,000"
    assert benchmarks.get("vqav2", again=True).manifest["fingerprint"] == kept.dataset().fingerprint


def test_the_hub_and_the_official_files_are_drawn_from_alike(folder, monkeypatch):
    layouts.hub("vqav2", folder)
    monkeypatch.setattr(catalogue, "MOST_REFERENCES", 2)
    ids = [sample.id for sample in benchmarks.get("vqav2").dataset()]
    assert ids == [f"vqav2-{i}" for i in draw(3, 2)]


class _Broken:
    """A source of which only so many rows come, until it is mended."""

    size = 0
    told = "test"

    def __init__(self, most):
        self.most, self.began = most, []

    def rows(self, pictures, state=None):
        start = 0 if state is None else state["next"]
        self.began.append(start)
        for i in range(start, 600):
            if i == self.most:
                raise OSError("the line is cut")
            self._next = i + 1
            data = layouts.picture(i)
            yield stored.Row(str(i), f"question {i}", lambda data=data: data, "yes")

    def state(self):
        return {"next": self._next}


def test_what_was_cut_off_goes_on_after_the_last_whole_part(folder):
    about = stored.About("cut", "Cut", "benchmark")
    broken, whole = _Broken(590), _Broken(10**6)
    with pytest.raises(OSError, match="cut"):
        stored.store(about, broken)
    assert "cut" not in stored.here()
    broken.most = 10**6
    kept = stored.store(about, broken)
    assert broken.began == [0, 512]
    direct = stored.store(dataclasses.replace(about, name="whole"), whole)
    assert kept.manifest["size"] == 600
    assert kept.manifest["fingerprint"] == direct.manifest["fingerprint"]


def test_what_was_cut_off_begins_anew_from_another_source(folder):
    about = stored.About("cut", "Cut", "benchmark")
    with pytest.raises(OSError, match="cut"):
        stored.store(about, _Broken(590))
    other = _Broken(10**6)
    other.told = "another test"
    assert stored.store(about, other).manifest["source"] == "another test"
    assert other.began == [0]


def test_a_hub_split_goes_on_from_the_row_that_it_was_left_at(folder, monkeypatch):
    rows = layouts.HUB["vqav2"]["data/validation-00000-of-00001.parquet"]
    many = [{**rows[0], "question_id": i} for i in range(20)]
    layouts.parquet(folder / "vqav2" / "data" / "validation-00000-of-00001.parquet", many)
    from r2t2.data.hub import HubSource

    entry = catalogue.ENTRIES["vqav2"]
    source = HubSource(entry, folder / "vqav2")
    read = source.rows(True)
    first = [next(read).id for _ in range(7)]
    rest = [row.id for row in HubSource(entry, folder / "vqav2").rows(True, source.state())]
    assert first + rest == [str(i) for i in range(20)]


def test_without_the_hub_the_error_says_which_files_go_where(folder, monkeypatch):
    away = dataclasses.replace(
        catalogue.ENTRIES["docvqa"],
        hub=dataclasses.replace(catalogue.ENTRIES["docvqa"].hub, ids=(str(folder / "nowhere"),)),
    )
    monkeypatch.setitem(catalogue.ENTRIES, "docvqa", away)
    with pytest.raises(ConnectionError, match=r"val_v1.0_withQT.json.*docvqa"):
        benchmarks.get("docvqa")
    with pytest.raises(FileNotFoundError, match=r"questions/CLEVR_val_questions.json.*clevr"):
        benchmarks.get("clevr")


def test_a_copy_without_its_readme_has_its_configs_as_folders(folder):
    layouts.hub("mmbench", folder)
    (folder / "mmbench" / "README.md").unlink()
    assert benchmarks.get("mmbench").sample(0).choices == ("cat", "dog")


def test_either_name_of_a_moved_dataset_is_tried(folder, monkeypatch):
    layouts.hub("docvqa", folder / "old")
    entry = catalogue.ENTRIES["docvqa"]
    ids = (str(folder / "new" / "docvqa"), str(folder / "old" / "docvqa"))
    hub = dataclasses.replace(entry.hub, ids=ids, config="default")
    monkeypatch.setitem(catalogue.ENTRIES, "docvqa", dataclasses.replace(entry, hub=hub))
    assert benchmarks.get("docvqa").manifest["size"] == 1


def test_what_another_evaluator_fetched_under_the_old_name_opens_without_the_hub(
    folder, monkeypatch
):
    import datasets

    layouts.hub("docvqa", folder / "repository")
    files = list(map(str, folder.glob("repository/**/*.parquet")))
    place = folder / "cache" / "lmms-lab___doc_vqa" / "DocVQA" / "0.0.0" / "abc"
    builder = datasets.load_dataset_builder("parquet", data_files={"validation": files})
    builder.download_and_prepare(str(place))
    (place / "parquet-validation.arrow").rename(place / "doc_vqa-validation.arrow")
    told = json.loads((place / "dataset_info.json").read_text())
    told |= {"config_name": "DocVQA", "dataset_name": "doc_vqa", "builder_name": "cache"}
    told["splits"]["validation"]["dataset_name"] = "doc_vqa"
    (place / "dataset_info.json").write_text(json.dumps(told))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
    kept = benchmarks.get("docvqa")
    assert kept.manifest["source"] == "lmms-lab/DocVQA (DocVQA, validation)"
    _same(kept.sample(0).image, layouts.picture(1))


def test_a_picture_that_is_missing_is_named(folder):
    layouts.clevr(folder)
    next(folder.glob("clevr/**/*.png")).unlink()
    with pytest.raises(FileNotFoundError, match=r"CLEVR_val_000000\.png"):
        benchmarks.get("clevr")


def test_a_picture_cannot_be_fetched_from_outside_of_the_folder(folder):
    layouts.clevr(folder)
    path = next(folder.glob("clevr/**/*.json"))
    path.write_text(path.read_text().replace("CLEVR_val_000000.png", "../../../../secret.png"))
    (folder / "secret.png").write_bytes(layouts.picture(1))
    with pytest.raises(ValueError, match="leads out"):
        benchmarks.get("clevr")


def test_a_damaged_picture_is_skipped_and_counted(folder):
    layouts.mme(folder)
    next(folder.glob("mme/**/1.jpg")).write_bytes(layouts.picture(1, format="JPEG")[:200])
    kept = benchmarks.get("mme")
    assert kept.manifest["size"] == 2
    ((why, count),) = kept.manifest["skipped"].items()
    assert (count, "damaged" in why) == (2, True)


def test_check_says_what_is_here_what_is_missing_and_how_to_get_it(folder):
    layouts.cvbench(folder)
    layouts.mme(folder)
    benchmarks.get("mme")
    rows = {row["name"]: row for row in benchmarks.checked(["mme", "cvbench", "tqa"])}
    assert rows["mme"]["state"], rows["mme"]["samples"] == ("here", 4)
    assert "the paper has 2,114" in rows["mme"]["note"]
    assert rows["cvbench"]["state"] == "files found"
    assert rows["tqa"]["state"] == "missing"
    assert "question_images" in rows["tqa"]["note"]


def test_check_finds_changed_bytes(folder):
    layouts.mme(folder)
    kept = benchmarks.get("mme")
    part = kept.folder / kept.manifest["parts"][0]
    data = bytearray(part.read_bytes())
    data[data.index(b"\xff\xd8\xff") + 40] ^= 1
    part.write_bytes(data)
    (row,) = benchmarks.checked(["mme"])
    assert row["state"] == "damaged"


def test_names_join_datasets_and_the_papers_set_is_the_union_of_nine(folder):
    layouts.clevr(folder)
    layouts.cocoqa(folder)
    for name in ("clevr", "cocoqa"):
        benchmarks.get(name)
    joined = studio.open_dataset("clevr+cocoqa")
    assert [sample.dataset for sample in joined] == ["clevr", "cocoqa", "cocoqa"]
    assert joined.fingerprint not in ("", studio.open_dataset("cocoqa+clevr").fingerprint)
    with pytest.raises(FileNotFoundError, match="VQA-V2 is not here"):
        studio.open_dataset("paper-reference")
    for name in set(catalogue.REFERENCES) - {"clevr", "cocoqa"}:
        layouts.LAYOUTS[name](folder)
        benchmarks.get(name)
    union = studio.open_dataset("paper-reference")
    assert len(union) == sum(SIZES.get(name, 1) for name in catalogue.REFERENCES)
    assert {sample.dataset for sample in union} == set(catalogue.REFERENCES)
    assert "paper-reference" in studio.benchmarks()


def test_circular_evaluation_asks_with_every_rotation_of_the_choices(folder):
    layouts.mmbench(folder)
    benchmarks.get("mmbench")
    turned = studio.open_dataset("mmbench-circular")
    assert [sample.choices for sample in turned][:2] == [("cat", "dog"), ("dog", "cat")]
    assert len(turned) == 2 + 4
    assert {sample.label for sample in turned[:2]} == {"dog"}
    assert turned[0].group == turned[1].group != turned[2].group
    assert turned[1].prompt.startswith("See.\nWhich?\nA. dog\nB. cat")


def test_pickers_list_what_is_here_beside_the_embedded_world(folder):
    before = studio.benchmarks()
    layouts.mme(folder)
    benchmarks.get("mme")
    assert set(studio.benchmarks()) - set(before) == {"mme"}


@pytest.mark.parametrize("name", ["../mme", "a/b", ".hidden", "UPPER", "reading+mme"])
def test_a_name_that_is_none_is_refused(folder, name):
    with pytest.raises((KeyError, FileNotFoundError)):
        studio.open_dataset(name)


def test_rows_are_mapped_and_not_read(folder):
    layouts.cvbench(folder)
    benchmarks.get("cvbench")
    before = pa.total_allocated_bytes()
    stored._find.cache_clear()
    table = stored.find("cvbench").table
    assert pa.total_allocated_bytes() - before < table.nbytes / 2
