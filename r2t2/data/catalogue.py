"""The paper's eight benchmarks and nine reference datasets (its table 1), each as an entry.

What is published as a table has a function from one of its rows to a `Row`, which the hub and
local files in the hub's layout share; what is published as other files has a reader of them.
Columns and files are those of the datasets' own pages; docs/data.md lists them for users.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from r2t2.data import official
from r2t2.data.rows import (
    NO_ANSWER,
    Folder,
    Row,
    Skip,
    at,
    most_common,
    of_cell,
    text,
    under,
)

Role = Literal["benchmark", "reference"]
Cells = dict[str, Any]
# The paper draws so many where a reference dataset is larger (its table 1).
MOST_REFERENCES = 5000


@dataclass(frozen=True)
class Hub:
    """A split of a dataset on the Hugging Face hub.

    Parameters
    ----------
    ids : under each of its names, the present one first.
    config, split : as the hub has them.
    pictures : the config that has the pictures, where it is another one, by their `id`.
    large : read as it comes instead of being downloaded as a whole.
    """

    ids: tuple[str, ...]
    config: str
    split: str
    pictures: str = ""
    large: bool = False


@dataclass(frozen=True)
class Entry:
    """A dataset of the paper.

    Parameters
    ----------
    name : as it is typed.
    title : as the paper writes it.
    role : what the paper uses it for; either can be used for both.
    paper : the number of samples that the paper states.
    metric : a name in `r2t2.metrics`; a row may have one of its own.
    files : the official files, for people: what goes into the folder of this name.
    read : the rows of those files.
    hub, cells : where the hub has it, and one of its rows -> `Row`.
    """

    name: str
    title: str
    role: Role
    paper: int
    metric: str
    files: str
    read: Callable[[Folder], Iterator[Row | Skip]]
    hub: Hub | None = None
    cells: Callable[[Cells], Row] | None = None

    @property
    def most(self) -> int | None:
        """So many are drawn where there are more; None for all."""
        return MOST_REFERENCES if self.role == "reference" else None


def _ours(name: str) -> tuple[str, str]:
    """Both names of a dataset that moved in 2026; caches hold either."""
    return f"lmms-lab-encoder/{name}", f"lmms-lab/{name}"


def _mmbench(row: Cells) -> Row:
    named = [(letter, text(row.get(letter))) for letter in "ABCD"]
    choices = tuple(choice for _, choice in named if choice and choice.lower() != "nan")
    return official.mmbench(
        text(row["index"]),
        text(row["question"]),
        text(row.get("hint")),
        choices,
        under(choices, row.get("answer")),
        text(row.get("category")),
        of_cell(row.get("image")),
    )


def _mme(row: Cells) -> Row:
    category = text(row["category"])
    if category not in official.MME_PERCEPTION:
        raise Skip("of a cognition category")
    return official.mme(
        text(row["question_id"]),
        text(row["question"]),
        text(row["answer"]),
        category,
        of_cell(row.get("image")),
    )


def _cvbench(row: Cells) -> Row:
    choices = tuple(map(text, row["choices"]))
    return Row(
        id=text(row["idx"]),
        question=text(row["question"]),
        picture=of_cell(row.get("image")),
        label=under(choices, row["answer"]),
        choices=choices,
        category=text(row["task"]),
        group=text(row.get("source")),
        prompt=text(row.get("prompt")),
    )


def _gqa(row: Cells) -> Row:
    return Row(
        id=text(row["id"]),
        question=text(row["question"]),
        picture=of_cell(row.get("image")),
        label=text(row.get("answer")) or _unanswered(),
        category=_structural(row.get("types")),
    )


def _structural(types: Any) -> str:
    return text(types.get("structural")) if isinstance(types, dict) else ""


def _scienceqa(row: Cells) -> Row:
    choices = tuple(map(text, row["choices"]))
    return Row(
        id=text(row.get("id") or row.get("question_id") or ""),
        question=text(row["question"]),
        picture=of_cell(row.get("image")),
        label=at(choices, row["answer"]),
        choices=choices,
        category=text(row.get("topic") or row.get("subject")),
        hint=text(row.get("hint")),
    )


def _ai2d(row: Cells) -> Row:
    choices = tuple(map(text, row["options"]))
    return Row(
        id=text(row.get("id") or ""),
        question=text(row["question"]),
        picture=of_cell(row.get("image")),
        label=at(choices, row["answer"]),
        choices=choices,
    )


def _textvqa(row: Cells) -> Row:
    answers = tuple(map(text, row.get("answers") or ()))
    return Row(
        id=text(row["question_id"]),
        question=text(row["question"]),
        picture=of_cell(row.get("image")),
        label=most_common(answers),
        answers=answers,
        texts=tuple(map(text, row.get("ocr_tokens") or ())),
    )


def _vqav2(row: Cells) -> Row:
    answers = row.get("answers") or ()
    said = tuple(text(one["answer"] if isinstance(one, dict) else one) for one in answers)
    return Row(
        id=text(row["question_id"]),
        question=text(row["question"]),
        picture=of_cell(row.get("image")),
        label=text(row.get("multiple_choice_answer")) or most_common(said),
        answers=said,
        category=text(row.get("answer_type")),
    )


def _aokvqa(row: Cells) -> Row:
    answers = row.get("direct_answers") or ()
    if isinstance(answers, str):
        answers = ast.literal_eval(answers)  # the hub has the list written out
    choices = tuple(map(text, row["choices"]))
    return Row(
        id=text(row["question_id"]),
        question=text(row["question"]),
        picture=of_cell(row.get("image")),
        label=at(choices, row.get("correct_choice_idx")),
        choices=choices,
        answers=tuple(map(text, answers)),
    )


def _mathvista(row: Cells) -> Row:
    return official.mathvista(row, of_cell(row.get("decoded_image")))


def _stvqa(row: Cells) -> Row:
    answers = tuple(map(text, row.get("answers") or ()))
    return Row(
        id=text(row["question_id"]),
        question=text(row["question"]),
        picture=of_cell(row.get("image")),
        label=most_common(answers),
        answers=answers,
    )


def _docvqa(row: Cells) -> Row:
    answers = tuple(map(text, row.get("answers") or ()))
    kinds = row.get("question_types") or ("",)
    return Row(
        id=text(row["questionId"]),
        question=text(row["question"]),
        picture=of_cell(row.get("image")),
        label=most_common(answers),
        answers=answers,
        category=text(kinds[0]),
    )


def _unanswered() -> str:
    raise Skip(NO_ANSWER)


_COCO = "COCO's {0} folder (or {0}.zip) in it, in coco/ beside it, or beside it"
ENTRIES = {
    entry.name: entry
    for entry in (
        Entry(
            "mmbench",
            "MMBench",
            "benchmark",
            2374,
            "option",
            "mmbench_dev_en.tsv",
            official.read_mmbench,
            Hub(_ours("MMBench"), "en", "dev"),
            _mmbench,
        ),
        Entry(
            "mme",
            "MME-P",
            "benchmark",
            2114,
            "yes_no",
            "MME_Benchmark_release_version with a folder per category",
            official.read_mme,
            Hub(_ours("MME"), "default", "test"),
            _mme,
        ),
        Entry(
            "cvbench",
            "CVBench 2D/3D",
            "benchmark",
            2638,
            "option:cv_bench",
            "test_2d.jsonl and test_3d.jsonl with img/, or test_2d.parquet and test_3d.parquet",
            official.read_cvbench,
            Hub(("nyu-visionx/CV-Bench",), "default", "test"),
            _cvbench,
        ),
        Entry(
            "gqa",
            "GQA",
            "benchmark",
            1590,
            "exact",
            "testdev_balanced_questions.json and images/ (or images.zip)",
            official.read_gqa,
            Hub(
                _ours("GQA"), "testdev_balanced_instructions", "testdev", "testdev_balanced_images"
            ),
            _gqa,
        ),
        Entry(
            "scienceqa",
            "SQA-IMG",
            "benchmark",
            2017,
            "option:scienceqa",
            "problems.json, pid_splits.json and test/ with a folder per problem",
            official.read_scienceqa,
            Hub(_ours("ScienceQA"), "ScienceQA-IMG", "test"),
            _scienceqa,
        ),
        Entry(
            "ai2d",
            "AI2D",
            "benchmark",
            3087,
            "option",
            "ai2d_test_ids.csv, questions/ and images/",
            official.read_ai2d,
            Hub(_ours("ai2d"), "default", "test"),
            _ai2d,
        ),
        Entry(
            "physbench",
            "PhysBench",
            "benchmark",
            2093,
            "option",
            "test.json (or val.json) with its answers, and image/ (or image.zip), as "
            "'hf download USC-GVL/PhysBench --repo-type dataset' puts them",
            official.read_physbench,
        ),
        Entry(
            "textvqa",
            "TextVQA",
            "benchmark",
            5734,
            "textvqa",
            "TextVQA_0.5.1_val.json and train_images/; TextVQA_Rosetta_OCR_v0.2_val.json if wanted",
            official.read_textvqa,
            Hub(_ours("textvqa"), "default", "validation"),
            _textvqa,
        ),
        Entry(
            "vqav2",
            "VQA-V2",
            "reference",
            5000,
            "vqa",
            "v2_OpenEnded_mscoco_val2014_questions.json and v2_mscoco_val2014_annotations.json; "
            + _COCO.format("val2014"),
            official.read_vqav2,
            Hub(_ours("VQAv2"), "default", "validation", large=True),
            _vqav2,
        ),
        Entry(
            "visual7w",
            "Visual7W",
            "reference",
            5000,
            "option",
            "dataset_v7w_telling.json and images/ (or visual7w_images.zip)",
            official.read_visual7w,
        ),
        Entry(
            "cocoqa",
            "COCO-QA",
            "reference",
            5000,
            "exact",
            "test/ with questions.txt, answers.txt, types.txt and img_ids.txt; "
            + _COCO.format("val2014"),
            official.read_cocoqa,
        ),
        Entry(
            "clevr",
            "CLEVR",
            "reference",
            5000,
            "exact",
            "CLEVR_v1.0 with questions/CLEVR_val_questions.json and images/val/",
            official.read_clevr,
        ),
        Entry(
            "aokvqa",
            "A-OKVQA",
            "reference",
            5000,
            "option",
            "aokvqa_v1p0_val.json; " + _COCO.format("val2017"),
            official.read_aokvqa,
            Hub(("HuggingFaceM4/A-OKVQA",), "default", "validation"),
            _aokvqa,
        ),
        Entry(
            "tqa",
            "TQA",
            "reference",
            5000,
            "option",
            "train/tqa_v1_train.json with train/question_images/ (or val/tqa_v1_val.json with its)",
            official.read_tqa,
        ),
        Entry(
            "mathvista",
            "MathVista",
            "reference",
            5000,
            "match",
            "testmini.json and images/",
            official.read_mathvista,
            Hub(("AI4Math/MathVista",), "default", "testmini"),
            _mathvista,
        ),
        Entry(
            "stvqa",
            "ST-VQA",
            "reference",
            5000,
            "anls",
            "train_task_3.json and the folders that its file_path names",
            official.read_stvqa,
            Hub(_ours("ST-VQA"), "default", "test"),
            _stvqa,
        ),
        Entry(
            "docvqa",
            "DocVQA",
            "reference",
            5000,
            "anls",
            "val_v1.0_withQT.json (or val_v1.0.json) and documents/",
            official.read_docvqa,
            Hub(_ours("DocVQA"), "DocVQA", "validation"),
            _docvqa,
        ),
    )
}
BENCHMARKS = tuple(name for name, entry in ENTRIES.items() if entry.role == "benchmark")
REFERENCES = tuple(name for name, entry in ENTRIES.items() if entry.role == "reference")
# The union of the nine, as the paper uses them.
PAPER_REFERENCE = "paper-reference"
# MMBench with every rotation of its choices, scored as its authors do: all must be right.
CIRCULAR = "mmbench-circular"
