"""How a question is put to a model that reads text, and what it is to reply."""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import Literal

from r2t2.samples import Sample

LETTERS = string.ascii_uppercase
Form = Literal["llava", "own", "plain"]


@dataclass(frozen=True)
class Asked:
    """A question in words, and what a model is to say for each of its choices.

    Parameters
    ----------
    text : the hint, the question, the choices, and how to answer.
    replies : one for each of the sample's choices: their letters, as the text writes them, or
        where it has none the choices themselves; empty for an open question.
    """

    text: str
    replies: tuple[str, ...]

    def reply(self, sample: Sample, answer: str) -> str:
        """What the model is to say to give an answer: a choice's letter, or the answer itself."""
        for choice, letter in zip(sample.choices, self.replies, strict=True):
            if choice == answer:
                return letter
        return answer


def ask(sample: Sample, form: Form = "llava", texts: bool = False) -> Asked:
    """A sample in words.

    Parameters
    ----------
    form : "llava" is the one that LLaVA introduced and most benchmarks are run with; "own" the
        one that the sample's benchmark prescribes (MMBench, MME, CV-Bench, MathVista), and of
        others the same; "plain" names the choices without letters.
    texts : whether the words that an OCR system read in the image are added, as TextVQA is run.

    Raises
    ------
    ValueError : there are more choices than letters.
    """
    read = f"Reference OCR token: {', '.join(sample.texts)}" if texts and sample.texts else ""
    if form == "plain":
        named = ", ".join(sample.choices)
        last = f"Answer with one of: {named}." if named else "Answer with a word or a short phrase."
        return Asked(_lines(sample.hint, sample.question, read, last), sample.choices)
    if len(sample.choices) > len(LETTERS):
        raise ValueError(f"sample {sample.id} has more than {len(LETTERS)} choices")
    letters = tuple(LETTERS[: len(sample.choices)])
    if form == "own" and sample.prompt:
        # CV-Bench writes its letters in brackets, and its answers too.
        bracketed = bool(letters) and f"({letters[-1]})" in sample.prompt
        replies = tuple(f"({letter})" for letter in letters) if bracketed else letters
        return Asked(_lines(sample.prompt, read), replies)
    pairs = zip(letters, sample.choices, strict=True)
    options = [f"{letter}. {choice}" for letter, choice in pairs]
    last = (
        "Answer with the option's letter from the given choices directly."
        if options
        else "Answer the question using a single word or phrase."
    )
    return Asked(_lines(sample.hint, sample.question, read, *options, last), letters)


def _lines(*lines: str) -> str:
    return "\n".join(line for line in lines if line)
