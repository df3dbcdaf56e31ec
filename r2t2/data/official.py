"""Readers of datasets as they are published: a folder -> rows, and a `Skip` for each that is none.

Nothing is believed of the files: names of pictures never lead out of the folder, and what lacks
its answer is skipped and counted.
"""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from r2t2.data import cells
from r2t2.data.cells import Cells
from r2t2.data.rows import (
    NO_ANSWER,
    NO_PICTURE,
    Folder,
    Picture,
    Row,
    Skip,
    most_common,
    reader,
    text,
    under,
)
from r2t2.metrics import PERCEPTION

Item = TypeVar("Item")
Rows = Iterator[Row | Skip]


def each(items: Iterable[Item], make: Callable[[Item], Row]) -> Rows:
    """A row of every item, and the reason of every one that is none."""
    for item in items:
        try:
            yield make(item)
        except Skip as why:
            yield why


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}); download it again") from error


def _coco(folder: Folder, name: str) -> Callable[[str], Picture]:
    return folder.pictures(name, f"coco/{name}")


def read_mmbench(folder: Folder) -> Rows:
    """The official TSV: pictures in base64; a short one is the index of the row that has it."""
    path = folder.find("mmbench_dev_en.tsv", "MMBench_DEV_EN.tsv", "*.tsv")
    csv.field_size_limit(2**31 - 1)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    pictures = {text(row["index"]): row["image"] for row in rows}

    def make(row: dict[str, str]) -> Row:
        data = row["image"]
        data = pictures.get(data, data) if len(data) < 64 else data
        return cells.mmbench(row, lambda: base64.b64decode(data))

    return each(rows, make)


def read_mme(folder: Folder) -> Rows:
    """A folder per category: a text file per picture, in it two lines of question and answer."""
    # The release holds its categories in a folder of its own name.
    root = folder.find("MME_Benchmark_release_version", "existence").parent
    root = next(p for p in (root / "MME_Benchmark_release_version", root) if p.is_dir())

    def items() -> Iterator[tuple[str, Path, str]]:
        for category in PERCEPTION:
            for asked in sorted((root / category).rglob("*.txt")):
                for line in asked.read_text(encoding="utf-8").splitlines():
                    if line.strip():
                        yield category, asked, line

    def make(item: tuple[str, Path, str]) -> Row:
        category, asked, line = item
        question, _, answer = line.rpartition("\t")
        shown = [
            place / f"{asked.stem}{suffix}"
            for place in (asked.parent, asked.parent.parent / "images")
            for suffix in (".jpg", ".png", ".jpeg")
        ]
        found = next((path for path in shown if path.is_file()), None)
        if found is None:
            raise FileNotFoundError(f"there is no picture of {asked} beside it or in images/")
        row = {"question_id": f"{category}/{found.name}", "category": category}
        return cells.mme({**row, "question": question, "answer": answer}, found.read_bytes)

    return each(items(), make)


def read_cvbench(folder: Folder) -> Rows:
    """The two JSON lines files, 2D first, and the pictures that they name."""
    paths = [folder.find("test_2d.jsonl"), folder.find("test_3d.jsonl")]
    rows = [
        (path.parent, json.loads(line))
        for path in paths
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip()
    ]

    def make(item: tuple[Path, Cells]) -> Row:
        place, row = item
        shown = reader(place / "img" if (place / "img").is_dir() else place)
        return cells.cvbench(row, shown(text(row["filename"])))

    return each(rows, make)


def read_gqa(folder: Folder) -> Rows:
    """Questions by their ids, pictures by theirs."""
    asked = _json(
        folder.find("testdev_balanced_questions.json", "**/testdev_balanced_questions.json")
    )
    shown = folder.pictures("images")

    def make(item: tuple[str, Cells]) -> Row:
        id, row = item
        return cells.gqa({"id": id, **row}, shown(f"{row['imageId']}.jpg"))

    return each(asked.items(), make)


def read_scienceqa(folder: Folder) -> Rows:
    """The problems of the test split that have a picture."""
    path = folder.find("problems.json", "**/problems.json")
    problems, splits = _json(path), _json(path.parent / "pid_splits.json")
    places = (path.parent / "test", path.parent / "images" / "test")
    shown = reader(next((place for place in places if place.is_dir()), places[0]))

    def make(id: str) -> Row:
        row = problems[id]
        if not row.get("image"):
            raise Skip(NO_PICTURE)
        return cells.scienceqa({"id": id, **row}, shown(f"{id}/{row['image']}"))

    return each(map(str, splits["test"]), make)


def read_ai2d(folder: Folder) -> Rows:
    """A JSON file of questions per picture; the ids of the test pictures in a file of their own."""
    ids = folder.find("ai2d_test_ids.csv", "*/ai2d_test_ids.csv")
    root = next(p for p in (ids.parent, ids.parent / "ai2d") if (p / "questions").is_dir())
    plain, lettered = reader(root / "images"), reader(root / "abcLabels")

    def items() -> Iterator[tuple[str, str, Cells]]:
        for id in ids.read_text().split():
            path = root / "questions" / f"{Path(id).name}.png.json"
            if path.is_file():
                told = _json(path)
                for asked, row in told["questions"].items():
                    yield text(told["imageName"]), asked, row

    def make(item: tuple[str, str, Cells]) -> Row:
        name, asked, row = item
        told = {"question": asked, "options": row["answerTexts"], "answer": row["correctAnswer"]}
        picture = (lettered if row.get("abcLabel") else plain)(name)
        return cells.ai2d({"id": row["questionId"], **told}, picture)

    return each(items(), make)


def read_physbench(folder: Folder) -> Rows:
    """The questions about one picture; the options stand in the question, a line each."""
    path = folder.find("test.json", "val.json", "**/test.json")
    shown = folder.pictures("image", "*/image")
    apart = path.with_name(f"{path.stem}_answer.json")
    answers = _json(apart) if apart.is_file() else []
    by_id = {text(one["idx"]): one.get("answer") for one in answers}

    def make(row: Cells) -> Row:
        names = list(row.get("file_name") or ())
        if row.get("mode") != "image-only" or len(names) != 1:
            raise Skip("not about one picture alone")
        asked, choices = options(text(row["question"]).replace("<image>", "").strip())
        id = text(row["idx"])
        return Row(
            id=id,
            question=asked,
            picture=shown(text(names[0])),
            label=under(choices, row.get("answer") or by_id.get(id)),
            choices=choices,
            category=text(row.get("task_type")),
        )

    return each(_json(path), make)


def options(asked: str) -> tuple[str, tuple[str, ...]]:
    """A question with its options at its end, one a line, "A. ..." or "(A) ..." -> both apart."""
    lines = [line.strip() for line in asked.splitlines() if line.strip()]
    for start in range(1, len(lines)):
        found = []
        for letter, line in zip("ABCDEFGH", lines[start:], strict=False):
            head = next(
                (h for h in (f"{letter}.", f"({letter})", f"{letter})") if line[:3].startswith(h)),
                "",
            )
            if not head:
                break
            found.append(line[len(head) :].strip())
        if len(found) > 1 and len(found) == len(lines) - start:
            return "\n".join(lines[:start]), tuple(found)
    return asked, ()


def read_textvqa(folder: Folder) -> Rows:
    """The validation questions, with the words that Rosetta read where its file is there."""
    asked = _json(folder.find("TextVQA_0.5.1_val.json", "*/TextVQA_0.5.1_val.json"))["data"]
    shown = folder.pictures("train_images", "*/train_images", "train_val_images/train_images")
    try:
        read = _json(folder.find("TextVQA_Rosetta_OCR_v0.2_val.json"))["data"]
    except FileNotFoundError:
        read = []
    words = {text(one["image_id"]): one["ocr_tokens"] for one in read}

    def make(row: Cells) -> Row:
        id = text(row["image_id"])
        return cells.soft({**row, "ocr_tokens": words.get(id)}, shown(f"{id}.jpg"))

    return each(asked, make)


def read_vqav2(folder: Folder) -> Rows:
    """Questions and annotations in two files, pictures of COCO's val2014."""
    asked = _json(folder.find("v2_OpenEnded_mscoco_val2014_questions.json"))["questions"]
    said = _json(folder.find("v2_mscoco_val2014_annotations.json"))["annotations"]
    by_id = {one["question_id"]: one for one in said}
    shown = _coco(folder, "val2014")

    def make(row: Cells) -> Row:
        picture = shown(f"COCO_val2014_{row['image_id']:012d}.jpg")
        return cells.soft({**by_id.get(row["question_id"], {}), **row}, picture)

    return each(asked, make)


def read_visual7w(folder: Folder) -> Rows:
    """Questions by picture; of four choices the answer is one, at a place by the question's id."""
    told = _json(folder.find("dataset_v7w_telling.json", "dataset.json"))
    shown = folder.pictures("images", "visual7w_images")

    def items() -> Iterator[tuple[str, Cells]]:
        for image in told["images"]:
            for pair in image["qa_pairs"]:
                yield text(image["filename"]), pair

    def make(item: tuple[str, Cells]) -> Row:
        name, row = item
        answer = text(row.get("answer"))
        if not answer:
            raise Skip(NO_ANSWER)
        others = [text(one) for one in row.get("multiple_choices") or () if text(one) != answer]
        # The file lists the wrong ones alone; the right one's place must not tell it.
        place = int(row["qa_id"]) % (len(others) + 1)
        choices = (*others[:place], answer, *others[place:]) if others else ()
        return Row(
            id=text(row["qa_id"]),
            question=text(row["question"]),
            picture=shown(name),
            label=answer,
            choices=choices,
            category=text(row.get("type")),
        )

    return each(items(), make)


def read_cocoqa(folder: Folder) -> Rows:
    """Four text files, a line each per question; pictures of COCO by their numbers."""
    root = folder.find("test/questions.txt", "questions.txt").parent
    names = ("questions", "answers", "types", "img_ids")
    lines = [(root / f"{n}.txt").read_text(encoding="utf-8").splitlines() for n in names]
    if len({*map(len, lines)}) != 1:
        raise ValueError(
            f"the text files in {root} have {', '.join(map(str, map(len, lines)))} "
            "lines; each must have one per question: download them again"
        )
    shown = _coco(folder, "val2014")
    kinds = ("object", "number", "color", "location")

    def make(item: tuple[int, tuple[str, ...]]) -> Row:
        number, (asked, answer, kind, image) = item
        return Row(
            id=str(number),
            question=asked.strip(),
            picture=shown(f"COCO_val2014_{int(image):012d}.jpg"),
            label=answer.strip(),
            category=kinds[int(kind)] if kind.strip() in "0123" else kind,
        )

    return each(enumerate(zip(*lines, strict=True)), make)


def read_clevr(folder: Folder) -> Rows:
    """The validation questions, named by the last function of their programs."""
    path = folder.find("**/CLEVR_val_questions.json")
    images = path.parent.parent / "images" / "val"
    shown = reader(images if images.is_dir() else folder.find("**/images/val", "**/images"))

    def make(row: Cells) -> Row:
        last = (row.get("program") or [{}])[-1]
        return Row(
            id=text(row.get("question_index", "")),
            question=text(row["question"]),
            picture=shown(text(row["image_filename"])),
            label=most_common([text(row.get("answer"))]),
            category=text(last.get("function") or last.get("type")),
        )

    return each(_json(path)["questions"], make)


def read_aokvqa(folder: Folder) -> Rows:
    """The validation questions, pictures of COCO's val2017."""
    asked = _json(folder.find("aokvqa_v1p0_val.json"))
    shown = _coco(folder, "val2017")

    def make(row: Cells) -> Row:
        return cells.aokvqa(row, shown(f"{row['image_id']:012d}.jpg"))

    return each(asked, make)


def read_tqa(folder: Folder) -> Rows:
    """The questions about diagrams, of the training lessons where they are there."""
    path = folder.find("train/tqa_v1_train.json", "**/tqa_v1_train.json", "**/tqa_v1_val.json")
    shown = reader(path.parent)

    def items() -> Iterator[tuple[str, str, Cells]]:
        for lesson in _json(path):
            for id, row in lesson["questions"]["diagramQuestions"].items():
                yield text(lesson.get("lessonName")), id, row

    def make(item: tuple[str, str, Cells]) -> Row:
        lesson, id, row = item
        named = sorted(row["answerChoices"].items())
        choices = tuple(text(choice["processedText"]) for _, choice in named)
        letter = text(row["correctAnswer"]["processedText"])
        if not row.get("imagePath"):
            raise Skip(NO_PICTURE)
        return Row(
            id=id,
            question=text(row["beingAsked"]["processedText"]),
            picture=shown(text(row["imagePath"])),
            label=under(choices, letter),
            choices=choices,
            category=lesson,
        )

    return each(items(), make)


def read_mathvista(folder: Folder) -> Rows:
    """Problems by their numbers."""
    path = folder.find("testmini.json", "data/testmini.json")
    shown = reader(folder.find("images", "*/images").parent)

    def make(item: tuple[str, Cells]) -> Row:
        id, row = item
        return cells.mathvista({"pid": id, **row}, shown(text(row["image"])))

    return each(_json(path).items(), make)


def read_stvqa(folder: Folder) -> Rows:
    """The training questions, whose answers are public."""
    path = folder.find("train_task_3.json", "**/train_task_3.json")
    shown = reader(path.parent)

    def make(row: Cells) -> Row:
        return cells.soft(row, shown(text(row["file_path"])))

    return each(_json(path)["data"], make)


def read_docvqa(folder: Folder) -> Rows:
    """The validation questions about scanned pages."""
    path = folder.find("val_v1.0_withQT.json", "val_v1.0.json", "**/val_v1.0*.json")
    shown = reader(path.parent if (path.parent / "documents").is_dir() else path.parent / "val")

    def make(row: Cells) -> Row:
        return cells.soft(row, shown(text(row["image"])))

    return each(_json(path)["data"], make)
