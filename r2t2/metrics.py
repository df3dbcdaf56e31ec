"""How the field scores an answer, and how a benchmark sums its scores up.

A rule that differs between a benchmark's public code and common sense is kept as the code has
it: a score is worth something where it can be set beside others. docs/metrics.md names sources.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, mean
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
from jaxtyping import Float
from rapidfuzz.distance import Levenshtein

if TYPE_CHECKING:
    from r2t2.samples import Sample

Value = TypeVar("Value", float, Float[np.ndarray, " draws"])
Aggregation = Literal["mean", "mme", "cv_bench", "circular"]

# The categories of MME that its perception score sums.
PERCEPTION = (
    "existence",
    "count",
    "position",
    "color",
    "posters",
    "celebrity",
    "scene",
    "landmark",
    "artwork",
    "OCR",
)
# The sources of CV-Bench's images: two of 2D questions, one of 3D ones.
SOURCES = ("ADE20K", "COCO", "Omni3D")
_ANNOTATORS = 10


@dataclass(frozen=True)
class Metric:
    """One way to score an answer.

    Parameters
    ----------
    name : as `Sample.metric` names it.
    score : of a reply to a sample with a label, from 0 to 1.
    correct : what makes a reply count as correct, in a sentence.
    graded : whether there are scores between 0 and 1; correct is then one of 0.5 or more.
    aggregation : how a benchmark that is scored so sums its samples up.
    """

    name: str
    score: Callable[[str, Sample], float]
    correct: str
    graded: bool = False
    aggregation: Aggregation = "mean"


def is_correct(score: float) -> bool:
    """Whether a score counts as correct, for flips, reference sets and McNemar's test."""
    return score >= 0.5


# --- Replies that are compared with one text


def plain(text: str) -> str:
    """A text without case, articles and punctuation."""
    words = re.sub(r"[^\w\s]", " ", text.lower()).split()
    return " ".join(word for word in words if word not in ("a", "an", "the"))


def bare(text: str) -> str:
    """A text without case and punctuation, as lmms-eval's exact match compares it (GQA)."""
    return text.strip().lower().translate(str.maketrans("", "", string.punctuation))


def yes_no(reply: str) -> Literal["yes", "no", "other"]:
    """What a reply to a question of MME says: its first four letters decide."""
    text = reply.lower().strip().replace(".", "")
    if text in ("y", "n"):
        return "yes" if text == "y" else "no"
    if len(text) == 1:
        return "other"
    return "yes" if "yes" in text[:4] else "no" if "no" in text[:4] else "other"


# --- Replies to multiple-choice questions


def leading_letter(reply: str) -> str:
    """The letter that a reply begins with, brackets aside, in capitals (CV-Bench); "" if none.

    It need not stand alone: "left" begins with L.
    """
    found = re.match(r"[(\s]*([A-Z])", reply.strip(), re.IGNORECASE)
    return found[1].upper() if found else ""


def sole_letter(reply: str) -> str:
    """The letter that is all of a reply, in capitals (ScienceQA); "" if there is more."""
    text = reply.strip().lower()
    return text.upper() if len(text) == 1 and text in string.ascii_lowercase else ""


def inferred_letter(reply: str, choices: Sequence[str]) -> str:
    """The option that a reply means, as VLMEvalKit tells it without a language model.

    One option letter among the last five words or, failing that, one choice whose text is in
    the reply.
    """
    words = re.sub(r"[.()\[\],:;!*#{}]", " ", reply).split()
    letters = string.ascii_uppercase[: len(choices) or None]
    named = [letter for letter in letters if letter in words]
    if len(named) == 1 and words.index(named[0]) > len(words) - 5:
        return named[0]
    text = reply.lower()
    if len(text) > 2 * sum(map(len, choices)):
        return ""
    inside = [
        letter
        for letter, choice in zip(letters, choices, strict=False)
        if choice and choice.lower() in text
    ]
    return inside[0] if len(inside) == 1 else ""


def nearest_letter(reply: str, choices: Sequence[str]) -> str:
    """The option that a reply means in MathVista: a letter, or the most similar choice."""
    text = reply.strip()
    if bracketed := re.search(r"\(([a-zA-Z])\)", text):
        text = bracketed[1].upper()
    letters = string.ascii_uppercase[: len(choices) or None]
    if len(text) == 1 and text in letters:
        return text
    distances = [Levenshtein.distance(text, choice) for choice in choices]
    return letters[distances.index(min(distances))] if distances else ""


def place(text: str, choices: Sequence[str]) -> int | None:
    """Where a text is among the choices; None if nowhere."""
    # A choice may be no more than an article: "A", of the letters in a diagram.
    texts = [plain(choice) or choice.strip().lower() for choice in choices]
    wanted = plain(text) or text.strip().lower()
    return texts.index(wanted) if wanted in texts else None


# --- Replies that are compared with what ten people said


# Contractions that annotators wrote without some apostrophe. Those with two are known without
# either one; the table's few odd entries are as it has them.
_ONE = """
ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd
how'll how's isn't it'd it'll ma'am mightn't might've mustn't must've needn't not've o'clock
oughtn't shan't should've shouldn't somebody'll somebody's someone'd someone'll someone's
something'd something'll that's there'd there're there's they'd they'll they're they've 'twas
wasn't we've weren't what'll what're what's what've when's where'd where's where've who'd who'll
who's who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've
"""
_TWO = """
couldn't've hadn't've he'd've it'd've mightn't've she'd've shouldn't've somebody'd've someone'd've
something'd've there'd've they'd've we'd've who'd've wouldn't've y'all'll you'd've
"""
_CONTRACTIONS = {
    **{word.replace("'", ""): word for word in _ONE.split()},
    **{word.replace("'", "", 1): word for word in _TWO.split()},
    **{"".join(word.rsplit("'", 1)): word for word in _TWO.split()},
    "ow's'at": "'ow's'at",
    "'ows'at": "'ow's'at",
    "'ow'sat": "'ow's'at",
    "yall'd've": "y'all'd've",
    "y'alld've": "y'all'd've",
    "y'all'dve": "y'all'd've",
    "somebody'd": "somebodyd",
}
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {"none": "0", **{word: str(number) for number, word in enumerate(_NUMBERS)}}
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_THOUSANDS = re.compile(r"(?<=\d),+(?=\d)")
# A period goes unless a digit follows, whatever is before it; of one text at most 32 do.
_PERIOD, _MOST_PERIODS = re.compile(r"\.(?!\d)"), 32


@lru_cache(maxsize=100_000)
def vqa_text(text: str) -> str:
    """An answer as VQA-V2's evaluation compares it."""
    text = text.replace("\n", " ").replace("\t", " ").strip()
    joined = text
    # Beside a space, or where there is a number like 1,000, a mark vanishes; else it parts words.
    everywhere = _THOUSANDS.search(text) is not None
    for mark in _PUNCTUATION:
        vanishes = everywhere or f"{mark} " in text or f" {mark}" in text
        joined = joined.replace(mark, "" if vanishes else " ")
    words = _PERIOD.sub("", joined, count=_MOST_PERIODS).lower().split()
    words = [_DIGITS.get(word, word) for word in words]
    kept = (word for word in words if word not in ("a", "an", "the"))
    return " ".join(_CONTRACTIONS.get(word, word) for word in kept)


@lru_cache(maxsize=100_000)
def textvqa_text(text: str) -> str:
    """An answer as TextVQA's evaluation compares it: first without commas and "?", 's apart."""
    return vqa_text(text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip())


def soft_accuracy(reply: str, answers: Sequence[str], text: Callable[[str], str]) -> float:
    """Soft accuracy: a reply is right by as many thirds as annotators gave it, at most three.

    It is the mean over all choices of all annotators but one.

    Parameters
    ----------
    text : `vqa_text` or `textvqa_text`.
    """
    given, normal = [text(answer) for answer in answers], text(reply)
    same = given.count(normal)
    thirds = [min(1.0, (same - (answer == normal)) / 3) for answer in given]
    return float(mean(thirds))


def anls(reply: str, answers: Iterable[str], threshold: float = 0.5) -> float:
    """Normalised Levenshtein similarity to the nearest answer; 0 if below the threshold.

    Case and runs of spaces make no difference, but count as length (DocVQA, ST-VQA).
    """
    distances = []
    for answer in answers:
        edits = Levenshtein.distance(_squeezed(answer), _squeezed(reply))
        length = max(len(answer.upper()), len(reply.upper()))
        distances.append(edits / length if length else 0.0)
    similarity = 1 - min(distances)
    return similarity if similarity >= threshold else 0.0


def _squeezed(text: str) -> str:
    return " ".join(text.lower().split())


# --- Replies that are numbers


def number(reply: str, precision: int | None = None) -> str | None:
    """The number that a reply gives, as MathVista writes it; None if it gives none.

    Parameters
    ----------
    precision : decimals that it is rounded to; None for a whole number, towards zero.
    """
    value = _stated(reply)
    if not math.isfinite(value):
        return None
    return str(int(value) if precision is None else round(value, precision))


def _stated(reply: str) -> float:
    """A reply that is a number, or the last number in it; nan without one."""
    try:
        return float(reply)
    except ValueError:
        found = re.findall(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?", reply.replace(",", ""))
        return float(found[-1]) if found else math.nan


# --- Metrics by name


def metric(name: str) -> Metric:
    """The metric of a name: one of `METRICS`, or "number:N" with N decimals.

    Raises
    ------
    ValueError : there is none.
    """
    if name in METRICS:
        return METRICS[name]
    kind, _, precision = name.partition(":")
    if kind == "number" and re.fullmatch(r"\d", precision):
        return _number(int(precision))
    raise ValueError(f"there is no metric {name!r}; there are {', '.join(METRICS)} and number:N")


def _match(reply: str, sample: Sample) -> float:
    return float(plain(reply) == plain(_label(sample)))


def _exact(reply: str, sample: Sample) -> float:
    return float(bare(reply) == bare(_label(sample)))


def _yes_no(reply: str, sample: Sample) -> float:
    return float(yes_no(reply) == _label(sample).lower().strip().replace(".", ""))


def _option(
    letter: Callable[[str, Sequence[str]], str],
) -> Callable[[str, Sample], float]:
    """Score by a rule for letters; before it, a reply that is a choice's text is that choice."""

    def score(reply: str, sample: Sample) -> float:
        label, choices = _label(sample), sample.choices
        right, chosen = place(label, choices), place(reply, choices)
        if right is None:
            right = _position(sole_letter(label.strip(" ().")))
        if chosen is None:
            chosen = _position(letter(reply, choices))
        return float(chosen is not None and chosen == right)

    return score


def _position(letter: str) -> int | None:
    return string.ascii_uppercase.index(letter) if letter else None


def _soft(text: Callable[[str], str]) -> Callable[[str, Sample], float]:
    def score(reply: str, sample: Sample) -> float:
        return soft_accuracy(reply, sample.answers or (_label(sample),) * _ANNOTATORS, text)

    return score


def _anls(reply: str, sample: Sample) -> float:
    return anls(reply, sample.answers or (_label(sample),))


def _number(precision: int | None) -> Metric:
    name = "number" if precision is None else f"number:{precision}"
    said = "as a whole number" if precision is None else f"rounded to {precision} decimals"

    def score(reply: str, sample: Sample) -> float:
        return float(number(reply, precision) == _label(sample).strip())

    return Metric(name, score, f"the number in the reply, {said}, is the label")


def _label(sample: Sample) -> str:
    assert sample.label is not None, "Sample.score has seen to it"
    return sample.label


_CHOICE = "the reply is the right choice's text or names its letter"
_SOFT = "the soft accuracy is 0.5 or more: two or more of ten annotators gave the reply"
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("match", _match, "the reply is the label; case, articles, punctuation aside"),
        Metric("exact", _exact, "the reply is the label; case and punctuation aside"),
        Metric(
            "yes_no",
            _yes_no,
            'the first four letters of the reply say the label, "yes" or "no"',
            aggregation="mme",
        ),
        Metric("option", _option(inferred_letter), _CHOICE),
        Metric("option:circular", _option(inferred_letter), _CHOICE, aggregation="circular"),
        Metric(
            "option:cv_bench",
            _option(lambda reply, _: leading_letter(reply)),
            "the reply is the right choice's text or begins with its letter",
            aggregation="cv_bench",
        ),
        Metric(
            "option:scienceqa",
            _option(lambda reply, _: sole_letter(reply)),
            "the reply is the right choice's text or its letter alone",
        ),
        Metric(
            "option:mathvista",
            _option(nearest_letter),
            "the reply names the right choice's letter or is most similar to its text",
        ),
        Metric("vqa", _soft(vqa_text), _SOFT, graded=True),
        Metric("textvqa", _soft(textvqa_text), _SOFT, graded=True),
        Metric("anls", _anls, "the similarity to an answer (ANLS) is 0.5 or more", graded=True),
        _number(None),
    )
}


# --- Benchmarks


def aggregation(names: Collection[str], groups: Iterable[str] = ()) -> Aggregation:
    """How a benchmark whose samples have these metrics and groups sums them up."""
    kinds = {metric(name).aggregation for name in names}
    return kinds.pop() if len(kinds) == 1 and any(groups) else "mean"


def units(
    how: Aggregation, scores: Sequence[float], categories: Sequence[str], groups: Sequence[str]
) -> dict[str, Float[np.ndarray, " units"]]:
    """What a benchmark's score is made of: by part, the values whose means it combines.

    Parameters
    ----------
    how : "mean": the scores, in one part. "mme": of each category, an image's accuracy and
        accuracy+ in points, 200 at most; its two questions are one group. "cv_bench": the scores
        by source, which is the group. "circular": whether all rotations of a question, which are
        one group, are right.
    """
    if how == "mean":
        return {"": np.array(scores, float)}
    if how == "cv_bench":
        parts: dict[str, list[float]] = {}
        for score, group in zip(scores, groups, strict=True):
            parts.setdefault(group, []).append(float(score))
        return {name: np.array(values) for name, values in parts.items()}
    of_group: dict[tuple[str, str], list[float]] = {}
    for score, category, group in zip(scores, categories, groups, strict=True):
        key = (category if how == "mme" else "", group)
        of_group.setdefault(key, []).append(float(score))
    of_part: dict[str, list[float]] = {}
    for (part, _), together in of_group.items():
        right = all(map(is_correct, together))
        if how == "circular":
            of_part.setdefault(part, []).append(float(right))
        elif len(together) == 2:  # of an image cut in two by a limit there is no accuracy+
            of_part.setdefault(part, []).append(50 * sum(together) + 100 * right)
    return {name: np.array(values) for name, values in of_part.items()}


def combined(how: Aggregation, means: Mapping[str, Value]) -> Value:
    """A benchmark's score from the means of its parts: a fraction, or MME's points."""
    if how == "mme":
        return sum(means[name] for name in _summed(means))  # type: ignore[return-value]
    return cv_bench(means) if how == "cv_bench" else next(iter(means.values()))


def maximum(how: Aggregation, parts: Collection[str]) -> float:
    """The highest score: 1, or 200 points for each category of MME that there is."""
    return 200.0 * len(_summed(parts)) if how == "mme" else 1.0


def _summed(categories: Collection[str]) -> list[str]:
    """The categories of MME that are summed: those of perception, or others without any."""
    return [name for name in categories if name in PERCEPTION] or list(categories)


def benchmark_score(
    how: Aggregation, scores: Sequence[float], categories: Sequence[str], groups: Sequence[str]
) -> tuple[float, float]:
    """A benchmark's own score (`combined`), and the highest there could be (`maximum`).

    Where a limit left no image of MME both its questions, the mean of the scores.
    """
    parts = units(how, scores, categories, groups)
    if not parts:
        return fmean(scores), 1.0
    means = {name: fmean(values) for name, values in parts.items()}
    return float(combined(how, means)), maximum(how, parts)


def mme(
    scores: Sequence[float], categories: Sequence[str], images: Sequence[str]
) -> dict[str, float]:
    """Accuracy + accuracy+ of each category of MME, in points; an image has two questions."""
    parts = units("mme", scores, categories, images)
    return {name: fmean(values) for name, values in parts.items()}


def cv_bench(of_source: Mapping[str, Value]) -> Value:
    """CV-Bench's overall score from the accuracy of each source (`SOURCES`).

    The mean of 2D, which is (ADE20K + COCO) / 2, and 3D, which is Omni3D; of what there is.
    """
    flat = [of_source[name] for name in SOURCES[:2] if name in of_source]
    deep = [of_source[name] for name in SOURCES[2:] if name in of_source]
    sides = [sum(side) / len(side) for side in (flat, deep) if side]
    if not sides:
        raise ValueError(f"CV-Bench is scored by source: {', '.join(SOURCES)}, as a sample's group")
    return sum(sides) / len(sides)  # type: ignore[return-value]
