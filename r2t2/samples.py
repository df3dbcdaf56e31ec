"""What a dataset gives and a model takes: one question about one image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from PIL import Image

from r2t2 import metrics


@dataclass(frozen=True)
class Sample:
    """One visual question; the image is loaded when first asked for.

    Parameters
    ----------
    id : unique within its dataset.
    question : as a person would type it.
    load_image : returns the RGB image.
    label : the accepted answer, or None where it is not known. Only the oracle, the
        building of a reference set and the scoring read it.
    choices : the options of a multiple-choice question; empty for an open one.
    dataset, category : where it comes from and its kind, for tables and filters.
    answers : all that annotators gave, for metrics that weigh them; empty where the label is all.
    hint : text that belongs to the question, put before it; mostly empty.
    metric : how an answer is scored, a name that `r2t2.metrics.metric` knows.
    group : of samples that are scored together: an image of MME with its two questions, a
        question of MMBench with its rotations, a source of CV-Bench ("ADE20K").
    texts : words that an OCR system read in the image, where the dataset has them.
    prompt : the question as its benchmark itself puts it, choices and all; mostly empty.
    picture : what is the same for the same image in whatever file (`r2t2.overlap`); empty where
        it is not known.
    """

    id: str
    question: str
    load_image: Callable[[], Image.Image] = field(repr=False, compare=False)
    label: str | None = None
    choices: tuple[str, ...] = ()
    dataset: str = ""
    category: str = ""
    answers: tuple[str, ...] = ()
    hint: str = ""
    metric: str = "match"
    group: str = ""
    texts: tuple[str, ...] = ()
    prompt: str = ""
    picture: str = ""

    @cached_property
    def image(self) -> Image.Image:
        """The RGB image, loaded once."""
        return self.load_image()

    def score(self, answer: str) -> float:
        """What `answer` is worth under the sample's metric, from 0 to 1.

        Raises
        ------
        ValueError : the sample has no label, or its metric is none of `r2t2.metrics`.
        """
        if self.label is None:
            raise ValueError(f"sample {self.id} has no label, so no answer to it can be scored")
        return metrics.metric(self.metric).score(answer, self)

    def is_correct(self, answer: str) -> bool:
        """Whether `answer` counts as correct under the sample's metric.

        Raises
        ------
        ValueError : as `score` says.
        """
        return metrics.is_correct(self.score(answer))


class Dataset(Sequence[Sample]):
    """A named sequence of samples, each made when it is asked for.

    Parameters
    ----------
    name : as it is shown and stored.
    size : number of samples.
    make : the sample at a position.
    fingerprint : a hash that changes when the samples do; empty for the embedded world, whose
        samples follow from their name and seed.
    """

    def __init__(
        self, name: str, size: int, make: Callable[[int], Sample], fingerprint: str = ""
    ) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self._size = size
        self._make = make

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if isinstance(index, slice):
            return [self._make(i) for i in range(*index.indices(self._size))]
        if not -self._size <= index < self._size:
            raise IndexError(f"{self.name} has {self._size} samples; there is none at {index}")
        return self._make(index % self._size)

    def __iter__(self) -> Iterator[Sample]:
        return (self._make(i) for i in range(self._size))

    def head(self, n: int | None) -> Dataset:
        """The first n samples under the same name (all of them for None)."""
        if n is None:
            return self
        return Dataset(self.name, min(n, self._size), self._make, self.fingerprint)
