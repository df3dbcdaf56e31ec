"""Small datasets in the layouts in which they are published, written into a folder."""

from __future__ import annotations

import base64
import csv
import io
import json
import zipfile
from pathlib import Path

import numpy as np
from datasets import Dataset, Features, Image, List, Value
from PIL import Image as Pillow


def picture(number: int, side: int = 48, format: str = "PNG") -> bytes:
    """A picture unlike that of any other number."""
    noise = np.random.default_rng(number).integers(0, 255, (6, 6, 3)).astype(np.uint8)
    file = io.BytesIO()
    Pillow.fromarray(noise).resize((side, side), Pillow.Resampling.BILINEAR).save(file, format)
    return file.getvalue()


def write(path: Path, content: object) -> None:
    """A file: bytes, text, or JSON; its folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))


def parquet(path: Path, rows: list[dict], **images: str) -> None:
    """Rows as the hub has them; columns that begin with "image" or "decoded" are pictures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds = {}
    for name, value in rows[0].items():
        if isinstance(value, bytes):
            kinds[name] = Image()
        elif isinstance(value, list):
            kinds[name] = List(Value("string"))
        else:
            kinds[name] = Value("int64" if isinstance(value, int) else "string")
    made = [
        {k: {"bytes": v, "path": None} if isinstance(v, bytes) else v for k, v in row.items()}
        for row in rows
    ]
    Dataset.from_list(made, features=Features(kinds)).to_parquet(path)


def mmbench(root: Path) -> None:
    rows = [
        ["7", base64.b64encode(picture(1)).decode(), "Which?", "See.", "cat", "dog", "", "", "B"],
        ["8", "7", "What now?", "nan", "x", "y", "z", "w", "D"],
        ["1000007", "7", "Which?", "See.", "dog", "cat", "", "", "A"],
    ]
    file = io.StringIO()
    table = csv.writer(file, delimiter="\t")
    table.writerow(["index", "image", "question", "hint", *"ABCD", "answer", "category"])
    table.writerows([*row, "animals"] for row in rows)
    write(root / "mmbench" / "mmbench_dev_en.tsv", file.getvalue())


def mme(root: Path) -> None:
    place = root / "mme" / "MME_Benchmark_release_version"
    lines = [
        f"Is there a {n}? Please answer yes or no.\t{a}" for n, a in (("cat", "Yes"), ("dog", "No"))
    ]
    asked = "\n".join(lines) + "\n"
    write(place / "existence" / "1.txt", asked)
    write(place / "existence" / "1.jpg", picture(1, format="JPEG"))
    write(place / "landmark" / "questions_answers_YN" / "2.txt", asked)
    write(place / "landmark" / "images" / "2.png", picture(2))
    write(place / "code_reasoning" / "3.txt", asked)


def cvbench(root: Path) -> None:
    for kind, source in (("2d", "COCO"), ("3d", "Omni3D")):
        row = {
            "idx": 1 if kind == "2d" else 2,
            "type": kind.upper(),
            "task": "Count",
            "filename": f"{kind}.png",
            "question": "How many?",
            "choices": ["1", "2"],
            "answer": "(B)",
            "prompt": "How many? Select from the following choices.\n(A) 1\n(B) 2",
            "source": source,
        }
        write(root / "cvbench" / f"test_{kind}.jsonl", json.dumps(row) + "\n")
        write(root / "cvbench" / "img" / f"{kind}.png", picture(1))


def gqa(root: Path) -> None:
    types = {"structural": "query"}
    asked = {"q1": {"imageId": "n1", "question": "What?", "answer": "sky", "types": types}}
    write(root / "gqa" / "testdev_balanced_questions.json", asked)
    with zipfile.ZipFile(root / "gqa" / "images.zip", "w") as archive:
        archive.writestr("images/n1.jpg", picture(1, format="JPEG"))


def scienceqa(root: Path) -> None:
    row = {"question": "Which?", "choices": ["hot", "cold"], "answer": 1, "hint": "It is winter."}
    problems = {"4": {**row, "image": "image.png", "topic": "weather"}, "5": {**row, "image": None}}
    write(root / "scienceqa" / "problems.json", problems)
    write(root / "scienceqa" / "pid_splits.json", {"test": ["4", "5"], "train": []})
    write(root / "scienceqa" / "test" / "4" / "image.png", picture(1))


def ai2d(root: Path) -> None:
    row = {"questionId": "0.png-1", "answerTexts": ["2", "1"], "correctAnswer": 1}
    told = {"imageName": "0.png", "questions": {"How many stages?": {**row, "abcLabel": True}}}
    write(root / "ai2d" / "ai2d_test_ids.csv", "0\n9\n")
    write(root / "ai2d" / "questions" / "0.png.json", told)
    write(root / "ai2d" / "images" / "0.png", picture(2))
    write(root / "ai2d" / "abcLabels" / "0.png", picture(1))


def physbench(root: Path) -> None:
    asked = "<image>\nWhich is heavier?\nA. the red ball\nB. the blue ball"
    row = {"idx": 1, "question": asked, "answer": "B", "file_name": ["1.png"], "mode": "image-only"}
    film = {**row, "idx": 2, "mode": "image&video", "file_name": ["1.png", "2.mp4"]}
    write(root / "physbench" / "test.json", [row, film, {**row, "idx": 3, "answer": None}])
    write(root / "physbench" / "image" / "1.png", picture(1))


def textvqa(root: Path) -> None:
    row = {"question_id": 3, "image_id": "a", "question": "What brand?"}
    answers = ["nokia"] * 7 + ["nok", "phone", "nokia"]
    write(root / "textvqa" / "TextVQA_0.5.1_val.json", {"data": [{**row, "answers": answers}]})
    words = {"data": [{"image_id": "a", "ocr_tokens": ["NOKIA", "3310"]}]}
    write(root / "textvqa" / "TextVQA_Rosetta_OCR_v0.2_val.json", words)
    write(root / "textvqa" / "train_images" / "a.jpg", picture(1, format="JPEG"))


def vqav2(root: Path) -> None:
    asked = [{"question_id": 42 + i, "image_id": 42, "question": f"Number {i}?"} for i in range(3)]
    said = [
        {
            "question_id": 42 + i,
            "multiple_choice_answer": "red",
            "answer_type": "other",
            "answers": [{"answer": "red"}] * 9 + [{"answer": "pink"}],
        }
        for i in range(3)
    ]
    place = root / "vqav2"
    write(place / "v2_OpenEnded_mscoco_val2014_questions.json", {"questions": asked})
    write(place / "v2_mscoco_val2014_annotations.json", {"annotations": said})
    write(root / "coco" / "val2014" / f"COCO_val2014_{42:012d}.jpg", picture(1, format="JPEG"))


def visual7w(root: Path) -> None:
    pairs = [
        {
            "qa_id": number,
            "question": "Where?",
            "answer": "outside",
            "multiple_choices": ["inside", "on a roof", "in a car"],
            "type": "where",
        }
        for number in (100, 101)
    ]
    told = {"images": [{"filename": "v7w_1.jpg", "qa_pairs": pairs}]}
    write(root / "visual7w" / "dataset_v7w_telling.json", told)
    write(root / "visual7w" / "images" / "v7w_1.jpg", picture(1, format="JPEG"))


def cocoqa(root: Path) -> None:
    for name, lines in {
        "questions": "what is on the bed\nhow many dogs\n",
        "answers": "cat\ntwo\n",
        "types": "0\n1\n",
        "img_ids": "42\n42\n",
    }.items():
        write(root / "cocoqa" / "test" / f"{name}.txt", lines)
    write(root / "val2014" / f"COCO_val2014_{42:012d}.jpg", picture(1, format="JPEG"))


def clevr(root: Path) -> None:
    row = {
        "question_index": 0,
        "question": "What size is it?",
        "answer": "small",
        "image_filename": "CLEVR_val_000000.png",
        "program": [{"function": "scene"}, {"function": "query_size"}],
    }
    place = root / "clevr" / "CLEVR_v1.0"
    write(place / "questions" / "CLEVR_val_questions.json", {"questions": [row]})
    write(place / "images" / "val" / "CLEVR_val_000000.png", picture(1))


def aokvqa(root: Path) -> None:
    row = {
        "question_id": "q",
        "image_id": 42,
        "question": "What for?",
        "choices": ["fun", "work"],
        "correct_choice_idx": 0,
        "direct_answers": ["fun"] * 6 + ["play"] * 4,
    }
    write(root / "aokvqa" / "aokvqa_v1p0_val.json", [row, {**row, "correct_choice_idx": None}])
    with zipfile.ZipFile(root / "val2017.zip", "w") as archive:
        archive.writestr("val2017/000000000042.jpg", picture(1, format="JPEG"))


def tqa(root: Path) -> None:
    row = {
        "beingAsked": {"processedText": "Which layer is it?"},
        "answerChoices": {
            "b": {"processedText": "mantle"},
            "a": {"processedText": "crust"},
        },
        "correctAnswer": {"processedText": "b"},
        "imagePath": "question_images/earth.png",
    }
    lesson = {"lessonName": "the earth", "questions": {"diagramQuestions": {"DQ_1": row}}}
    write(root / "tqa" / "train" / "tqa_v1_train.json", [lesson])
    write(root / "tqa" / "train" / "question_images" / "earth.png", picture(1))


def mathvista(root: Path) -> None:
    row = {
        "question": "How long?",
        "image": "images/1.jpg",
        "choices": None,
        "answer": "1.2",
        "answer_type": "float",
        "precision": 1.0,
        "query": "Hint: answer with one decimal.\nQuestion: How long?",
        "metadata": {"task": "geometry"},
    }
    option = {**row, "choices": ["yes", "no"], "answer": "no", "answer_type": "text"}
    whole = {**row, "answer": "3", "answer_type": "integer", "precision": None}
    write(root / "mathvista" / "testmini.json", {"1": row, "2": option, "3": whole})
    write(root / "mathvista" / "images" / "1.jpg", picture(1, format="JPEG"))


def stvqa(root: Path) -> None:
    row = {
        "question_id": 1,
        "question": "What is written?",
        "answers": ["STOP", "stop"],
        "file_path": "coco-text/a.jpg",
        "dataset": "coco-text",
    }
    write(root / "stvqa" / "train_task_3.json", {"data": [row]})
    write(root / "stvqa" / "coco-text" / "a.jpg", picture(1, format="JPEG"))


def docvqa(root: Path) -> None:
    row = {
        "questionId": 9,
        "question": "What is the date?",
        "answers": ["1 May", "May 1"],
        "image": "documents/a.png",
        "question_types": ["form"],
    }
    write(root / "docvqa" / "val_v1.0_withQT.json", {"data": [row]})
    write(root / "docvqa" / "documents" / "a.png", picture(1))


LAYOUTS = {
    made.__name__: made
    for made in (
        mmbench,
        mme,
        cvbench,
        gqa,
        scienceqa,
        ai2d,
        physbench,
        textvqa,
        vqav2,
        visual7w,
        cocoqa,
        clevr,
        aokvqa,
        tqa,
        mathvista,
        stvqa,
        docvqa,
    )
}

# Copies of the hub's repositories: path in the repository -> rows.
_VQA = ["nokia"] * 9 + ["phone"]
HUB: dict[str, dict[str, list[dict]]] = {
    "mmbench": {
        "en/dev-00000-of-00001.parquet": [
            {
                "index": 7,
                "image": picture(1),
                "question": "Which?",
                "hint": "nan",
                "A": "cat",
                "B": "dog",
                "C": "nan",
                "D": "nan",
                "answer": "B",
                "category": "animals",
            }
        ],
        "en/test-00000-of-00001.parquet": [{"index": 1, "image": picture(1), "question": "no"}],
        "cn/dev-00000-of-00001.parquet": [{"index": 1, "image": picture(1), "question": "no"}],
    },
    "mme": {
        "data/test-00000-of-00001.parquet": [
            {
                "question_id": "existence/1.png",
                "image": picture(1),
                "question": f"Is there {what}? Please answer yes or no.",
                "answer": "Yes",
                "category": category,
            }
            for what, category in (("a cat", "existence"), ("a dog", "existence"), ("2", "text"))
        ]
    },
    "cvbench": {
        f"test_{kind}.parquet": [
            {
                "idx": number,
                "type": kind.upper(),
                "task": "Depth",
                "image": picture(number),
                "question": "Which is closer?",
                "choices": ["chair", "lamp"],
                "answer": "(A)",
                "prompt": "Which is closer?\n(A) chair\n(B) lamp",
                "source": source,
            }
        ]
        for number, (kind, source) in enumerate((("2d", "ADE20K"), ("3d", "Omni3D")))
    },
    "gqa": {
        "testdev_balanced_instructions/testdev-00000-of-00001.parquet": [
            {"id": "1", "imageId": "n2", "question": "What?", "answer": "sky"},
            {"id": "2", "imageId": "n9", "question": "Lost?", "answer": "sky"},
        ],
        "testdev_balanced_images/testdev-00000-of-00001.parquet": [
            {"id": f"n{i}", "image": picture(i)} for i in range(3)
        ],
    },
    "scienceqa": {
        "ScienceQA-IMG/test-00000-of-00001.parquet": [
            {
                "image": picture(1),
                "question": "Which?",
                "choices": ["hot", "cold"],
                "answer": 1,
                "hint": "It is winter.",
                "topic": "weather",
            }
        ]
    },
    "ai2d": {
        "data/test-00000-of-00001.parquet": [
            {"question": "How many?", "options": ["2", "1"], "answer": "1", "image": picture(1)}
        ]
    },
    "textvqa": {
        "data/validation-00000-of-00001.parquet": [
            {
                "question_id": 3,
                "image": picture(1),
                "question": "What brand?",
                "answers": _VQA,
                "ocr_tokens": ["NOKIA"],
            }
        ]
    },
    "vqav2": {
        "data/validation-00000-of-00001.parquet": [
            {
                "question_id": number,
                "image": picture(number),
                "question": "What brand?",
                "answers": _VQA,
                "multiple_choice_answer": "nokia",
                "answer_type": "other",
            }
            for number in range(3)
        ]
    },
    "aokvqa": {
        "data/validation-00000-of-00001.parquet": [
            {
                "image": picture(1),
                "question_id": "q",
                "question": "What for?",
                "choices": ["fun", "work"],
                "correct_choice_idx": 0,
                "direct_answers": "['fun', 'play']",
            }
        ]
    },
    "mathvista": {
        "data/testmini-00000-of-00001.parquet": [
            {
                "pid": "1",
                "decoded_image": picture(1),
                "image": "images/1.jpg",
                "question": "How long?",
                "choices": [],
                "answer": "1.2",
                "answer_type": "float",
                "precision": "1.0",
                "query": "Hint: answer with one decimal.\nQuestion: How long?",
            }
        ]
    },
    "stvqa": {
        "data/test-00000-of-00001.parquet": [
            {"question_id": 1, "image": picture(1), "question": "What?", "answers": ["STOP"]},
            {"question_id": 2, "image": picture(1), "question": "What?", "answers": []},
        ]
    },
    "docvqa": {
        "DocVQA/validation-00000-of-00001.parquet": [
            {"questionId": "9", "image": picture(1), "question": "When?", "answers": ["1 May"]}
        ]
    },
}


# What tells the configs of a repository apart.
README = {
    "mmbench": """---
configs:
- config_name: cn
  data_files:
  - {split: dev, path: cn/dev-*}
- config_name: en
  data_files:
  - {split: dev, path: en/dev-*}
  - {split: test, path: en/test-*}
---
"""
}


def hub(name: str, root: Path) -> None:
    """A copy of a dataset's repository on the hub."""
    for path, rows in HUB[name].items():
        parquet(root / name / path, rows)
    if name in README:
        write(root / name / "README.md", README[name])
