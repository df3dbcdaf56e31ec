"""The paper's eight benchmarks and nine reference datasets (its table 1), each as an entry.

What the hub has as a table is read row by row (`r2t2.data.cells`); what is published as other
files has a reader of them (`r2t2.data.official`). Columns and files are those of the datasets'
own pages; docs/data.md lists them for users.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from r2t2.data import cells, official
from r2t2.data.rows import Folder, Picture, Row, Skip

Role = Literal["benchmark", "reference"]
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
    image : the column of the pictures.
    large : read as it comes instead of being downloaded as a whole.
    """

    ids: tuple[str, ...]
    config: str
    split: str
    pictures: str = ""
    image: str = "image"
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
    hub, cells : where the hub has it, and what makes a `Row` of one there.
    """

    name: str
    title: str
    role: Role
    paper: int
    metric: str
    files: str
    read: Callable[[Folder], Iterator[Row | Skip]]
    hub: Hub | None = None
    cells: Callable[[dict[str, Any], Picture], Row] | None = None

    @property
    def most(self) -> int | None:
        """So many are drawn where there are more; None for all."""
        return MOST_REFERENCES if self.role == "reference" else None


def _ours(name: str) -> tuple[str, str]:
    """Both names of a dataset that moved in 2026; caches hold either."""
    return f"lmms-lab-encoder/{name}", f"lmms-lab/{name}"


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
            cells.mmbench,
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
            cells.mme,
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
            cells.cvbench,
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
            cells.gqa,
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
            cells.scienceqa,
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
            cells.ai2d,
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
            cells.soft,
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
            cells.soft,
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
            cells.aokvqa,
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
            Hub(("AI4Math/MathVista",), "default", "testmini", image="decoded_image"),
            cells.mathvista,
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
            cells.soft,
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
            cells.soft,
        ),
    )
}
BENCHMARKS = tuple(name for name, entry in ENTRIES.items() if entry.role == "benchmark")
REFERENCES = tuple(name for name, entry in ENTRIES.items() if entry.role == "reference")
# The union of the nine, as the paper uses them.
PAPER_REFERENCE = "paper-reference"
# MMBench with every rotation of its choices, scored as its authors do: all must be right.
CIRCULAR = "mmbench-circular"
