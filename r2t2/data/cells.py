"""What a row of each dataset says, in the hub's tables and in official files alike."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from r2t2.data.rows import NO_ANSWER, Picture, Row, Skip, at, most_common, text, under
from r2t2.metrics import PERCEPTION

Cells = dict[str, Any]
# MMBench numbers the rotations of a question by this much above the question itself.
_ROTATION = 1_000_000


def mmbench(row: Cells, picture: Picture) -> Row:
    """A row of MMBench; a rotation of another row's choices is none of its own."""
    index = text(row["index"])
    if int(index) >= _ROTATION:
        raise Skip("a rotation of another question (mmbench-circular makes them all)")
    hint, *options = (
        "" if text(row.get(name)).lower() == "nan" else text(row.get(name))
        for name in ("hint", *"ABCD")
    )
    choices = tuple(filter(None, options))
    question = text(row["question"])
    return Row(
        id=index,
        question=question,
        picture=picture,
        label=under(choices, row.get("answer")),
        choices=choices,
        category=text(row.get("category")),
        hint=hint,
        prompt=mmbench_prompt(hint, question, choices),
    )


def mmbench_prompt(hint: str, question: str, choices: Sequence[str]) -> str:
    """How MMBench puts a question."""
    options = [f"{letter}. {choice}" for letter, choice in zip("ABCD", choices, strict=False)]
    last = "Please select the correct answer from the options above."
    return "\n".join(line for line in (hint, question, *options, last) if line)


def mme(row: Cells, picture: Picture) -> Row:
    """A row of MME; the two questions of a picture form a group, and say how to answer."""
    if row["category"] not in PERCEPTION:
        raise Skip("of a cognition category")
    id, question = text(row["question_id"]), text(row["question"])
    return Row(
        id=id,
        question=question,
        picture=picture,
        label=most_common([text(row.get("answer"))]),
        category=row["category"],
        group=id,
        prompt=question,
    )


def cvbench(row: Cells, picture: Picture) -> Row:
    """A row of CV-Bench; its score is of sources, so they are the groups."""
    choices = tuple(map(text, row["choices"]))
    return Row(
        id=text(row["idx"]),
        question=text(row["question"]),
        picture=picture,
        label=under(choices, row["answer"]),
        choices=choices,
        category=text(row["task"]),
        group=text(row.get("source")),
        prompt=text(row.get("prompt")),
    )


def gqa(row: Cells, picture: Picture) -> Row:
    """A row of GQA."""
    types = row.get("types")
    return Row(
        id=text(row["id"]),
        question=text(row["question"]),
        picture=picture,
        label=most_common([text(row.get("answer"))]),
        category=text(types.get("structural")) if isinstance(types, dict) else "",
    )


def scienceqa(row: Cells, picture: Picture) -> Row:
    """A row of ScienceQA; the hub's have no id."""
    choices = tuple(map(text, row["choices"]))
    return Row(
        id=text(row.get("id")),
        question=text(row["question"]),
        picture=picture,
        label=at(choices, row["answer"]),
        choices=choices,
        category=text(row.get("topic")),
        hint=text(row.get("hint")),
    )


def ai2d(row: Cells, picture: Picture) -> Row:
    """A row of AI2D; the answer is a place, also where the choices are numbers."""
    choices = tuple(map(text, row["options"]))
    return Row(
        id=text(row.get("id")),
        question=text(row["question"]),
        picture=picture,
        label=at(choices, row["answer"]),
        choices=choices,
    )


def soft(row: Cells, picture: Picture) -> Row:
    """A row of TextVQA, VQA-V2, ST-VQA or DocVQA: what several people answered."""
    said = row.get("answers") or ()
    answers = tuple(text(one["answer"] if isinstance(one, dict) else one) for one in said)
    kinds = row.get("question_types") or ("",)
    return Row(
        id=text(row["questionId"] if "questionId" in row else row["question_id"]),
        question=text(row["question"]),
        picture=picture,
        label=text(row.get("multiple_choice_answer")) or most_common(answers),
        answers=answers,
        category=text(row.get("answer_type") or row.get("dataset") or kinds[0]),
        texts=tuple(map(text, row.get("ocr_tokens") or ())),
    )


def aokvqa(row: Cells, picture: Picture) -> Row:
    """A row of A-OKVQA."""
    answers = row.get("direct_answers") or ()
    if isinstance(answers, str):
        answers = ast.literal_eval(answers)  # the hub has the list written out
    choices = tuple(map(text, row["choices"]))
    return Row(
        id=text(row["question_id"]),
        question=text(row["question"]),
        picture=picture,
        label=at(choices, row.get("correct_choice_idx")),
        choices=choices,
        answers=tuple(map(text, answers)),
    )


def mathvista(row: Cells, picture: Picture) -> Row:
    """A row of MathVista; its `query` is the question as it is to be put."""
    choices = tuple(map(text, row.get("choices") or ()))
    label, kind = text(row.get("answer")), text(row.get("answer_type"))
    if not label or (choices and label not in choices):
        raise Skip(NO_ANSWER)
    precision = text(row.get("precision"))
    metric = {"integer": "number", "float": f"number:{int(float(precision or 1))}"}
    return Row(
        id=text(row["pid"]),
        question=text(row["question"]),
        picture=picture,
        label=label,
        choices=choices,
        category=text((row.get("metadata") or {}).get("task")),
        prompt=text(row.get("query")),
        metric="option:mathvista" if choices else metric.get(kind, "match"),
    )
