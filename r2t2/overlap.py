"""Whether a sample is in a reference set already: the same picture, or the same question.

A reference that shows the sample's own picture, or asks the very question with the very choices,
would tell its answer, so that re-routing does not listen to it (`Setting.guard`; docs/data.md).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, UInt64

from r2t2.metrics import plain
from r2t2.rerouting.settings import Guard
from r2t2.samples import Sample

# So many of a hash's 256 bits may differ. The same picture, half as large or as a JPEG of quality
# 60, differs in 14 at most, rendered scenes of one generator in 72 at least (docs/data.md).
NEAR = 20


def traces(samples: Iterable[Sample]) -> pd.DataFrame:
    """What samples are known again by.

    Returns
    -------
    A row per sample: picture (its hash), question and choices, both normalised; choices in the
    order of the alphabet, empty where there are fewer than two.
    """
    rows = [
        (sample.picture, plain(sample.question), _choices(sample.choices)) for sample in samples
    ]
    return pd.DataFrame(rows, columns=["picture", "question", "choices"], dtype=object)


def _choices(choices: Sequence[str]) -> str:
    return "\n".join(sorted(map(plain, choices))) if len(choices) > 1 else ""


@dataclass(frozen=True)
class Overlap:
    """The references that overlap with one sample, by their positions.

    Parameters
    ----------
    picture : those with its picture.
    question : those with its question and its choices, about whatever picture.
    words : those with its question.
    """

    picture: frozenset[int]
    question: frozenset[int]
    words: frozenset[int]

    def left_out(self, guard: Guard) -> frozenset[int]:
        """Those that are not listened to."""
        if guard == "off":
            return frozenset()
        both = self.picture | self.question
        return both | self.words if guard == "questions" else both


class Known:
    """The traces of a reference set, to look samples up in.

    Parameters
    ----------
    table : of `traces`, in the order of the references.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        pictures = table["picture"].tolist()
        shown = [i for i, hash in enumerate(pictures) if hash]
        self._shown = np.array(shown, np.int64)
        self._bits = _bits([pictures[i] for i in shown])
        self._asked: dict[str, set[int]] = defaultdict(set)
        self._choices = table["choices"].tolist()
        for i, question in enumerate(table["question"]):
            self._asked[question].add(i)

    def __call__(self, samples: Sequence[Sample]) -> list[Overlap]:
        """What overlaps with each sample; with one of the references themselves, also itself."""
        return [self._overlap(sample, near) for sample, near in self._near(samples)]

    def _near(self, samples: Sequence[Sample]) -> Iterable[tuple[Sample, frozenset[int]]]:
        # Many samples ask of one picture.
        found: dict[str, frozenset[int]] = {"": frozenset()}
        for sample in samples:
            if sample.picture not in found:
                near = self._same(_bits([sample.picture]))
                found[sample.picture] = frozenset(self._shown[near].tolist())
            yield sample, found[sample.picture]

    def _same(self, bits: UInt64[np.ndarray, "1 4"]) -> Bool[np.ndarray, " shown"]:
        return np.bitwise_count(self._bits ^ bits).sum(1) <= NEAR

    def _overlap(self, sample: Sample, picture: frozenset[int]) -> Overlap:
        asked = self._asked.get(plain(sample.question), set())
        own = _choices(sample.choices)
        same = (i for i in asked if own and self._choices[i] == own)
        return Overlap(picture, frozenset(same), frozenset(asked))


def _bits(hashes: Sequence[str]) -> UInt64[np.ndarray, "hashes 4"]:
    return np.frombuffer(bytes.fromhex("".join(hashes)), np.uint64).reshape(-1, 4)


def counts(overlaps: Iterable[Overlap], guard: Guard = "samples") -> dict[str, int]:
    """How many samples have an overlap of each kind, and how many are affected by the guard."""
    found = list(overlaps)
    return {
        "samples": len(found),
        "same picture": sum(bool(one.picture) for one in found),
        "same question and choices": sum(bool(one.question) for one in found),
        "same words": sum(bool(one.words) for one in found),
        "references left out": len(set().union(*(one.left_out(guard) for one in found))),
    }
