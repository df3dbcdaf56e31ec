"""How a question is put to a model that reads text, and what it is to reply."""

from __future__ import annotations

import string
from dataclasses import dataclass

from r2t2.samples import Sample

LETTERS = string.ascii_uppercase


@dataclass(frozen=True)
class Asked:
    """A question in words, and what a model is to say for each of its choices.

    Parameters
    ----------
    text : the hint, the question, the choices under their letters, and how to answer.
    replies : one for each of the sample's choices: their letters; empty for an open question.
    """

    text: str
    replies: tuple[str, ...]

    def reply(self, sample: Sample, answer: str) -> str:
        """What the model is to say to give an answer: a choice's letter, or the answer itself."""
        for choice, letter in zip(sample.choices, self.replies, strict=True):
            if choice == answer:
                return letter
        return answer


def ask(sample: Sample) -> Asked:
    """A sample in the form that LLaVA introduced and most benchmarks are run with.

    Raises
    ------
    ValueError : there are more choices than letters.
    """
    if len(sample.choices) > len(LETTERS):
        raise ValueError(f"sample {sample.id} has more than {len(LETTERS)} choices")
    letters = tuple(LETTERS[: len(sample.choices)])
    pairs = zip(letters, sample.choices, strict=True)
    options = [f"{letter}. {choice}" for letter, choice in pairs]
    last = (
        "Answer with the option's letter from the given choices directly."
        if options
        else "Answer the question using a single word or phrase."
    )
    lines = [sample.hint, sample.question, *options, last]
    return Asked("\n".join(line for line in lines if line), letters)
