"""What auxiliary models see, in the words and colours that MoAI was trained with.

The strings, thresholds and forms are part of the checkpoint's interface: none may be improved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from PIL import Image

ORDER = ("segmentation", "detection", "scene_graph", "ocr")
JOINED_BY = " "
OBJECTS = "The image includes bounding box coordinates and their objects: "
RELATIONS = "The image includes relationships between objects: "
TEXTS = "The image includes text descriptions: "
JOIN, END = ", and ", "."
ENDINGS = ("-merged", "-other", "-stuff")  # of COCO's panoptic labels, left out in this order
SEGMENT_SCORE, MASK_SCORE = 0.5, 0.95
CANDIDATE_SCORE, DETECTION_SCORE = 0.1, 0.5
RELATION_SCORE, MOST_RELATIONS = 0.8, 10
TEXT_SCORE = 0.85
_COLOURS = 256


@dataclass(frozen=True)
class Graph:
    """The scene graph of a picture.

    Parameters
    ----------
    objects : the label of each object, COCO's panoptic ones as a rule.
    relations : (subject, predicate, object, score); subject and object are places in `objects`.
    """

    objects: Sequence[str]
    relations: Sequence[tuple[int, str, int, float]]


def joined(parts: Mapping[str, str]) -> str:
    """What all models said of a picture; of one that did not run or saw nothing stays its space."""
    return JOINED_BY.join(parts.get(name, "") for name in ORDER)


def verbalise_boxes(
    labels: Sequence[str], boxes: Sequence[Sequence[float]], size: tuple[int, int]
) -> str:
    """Objects and where they are: "[x1, y1, x2, y2] label", the corners as fractions.

    Parameters
    ----------
    boxes : left, top, right and bottom of each, in pixels.
    size : width and height of the picture, in pixels.
    """
    sides = (*size, *size)
    fractions = [[c / side for c, side in zip(box, sides, strict=True)] for box in boxes]
    corners = [", ".join(f"{fraction:.2f}" for fraction in box) for box in fractions]
    pairs = zip(corners, labels, strict=True)
    return _listed(OBJECTS, [f"[{corner}] {label}" for corner, label in pairs])


def verbalise_graph(graph: Graph) -> str:
    """The surest relations, "subject is predicate object", the surest first.

    The original's order among them is none in particular (numpy's partition).
    """
    names = numbered([clean(label) for label in graph.objects])
    surest = sorted(graph.relations, key=lambda relation: -relation[3])[:MOST_RELATIONS]
    return _listed(
        RELATIONS,
        [
            f"{names[subject]} is {predicate} {names[object]}"
            for subject, predicate, object, score in surest
            if score >= RELATION_SCORE
        ],
    )


def verbalise_texts(texts: Sequence[str], scores: Sequence[float]) -> str:
    """The lines that were read with enough certainty."""
    return _listed(
        TEXTS,
        [text for text, score in zip(texts, scores, strict=True) if score >= TEXT_SCORE],
    )


def clean(label: str) -> str:
    """A COCO panoptic label as MoAI knows it: "wall-other-merged" is a wall."""
    for ending in ENDINGS:
        label = label.replace(ending, "")
    return label


def numbered(labels: Sequence[str]) -> list[str]:
    """Labels that occur more than once are told apart by " (#n)"."""
    occurrences, so_far = Counter(labels), Counter[str]()
    names = []
    for label in labels:
        so_far[label] += 1
        names.append(label if occurrences[label] == 1 else f"{label} (#{so_far[label]})")
    return names


def coloured(segments: Int[np.ndarray, "height width"]) -> Image.Image:
    """A panoptic map, segment 0 being none, in the colours of PASCAL VOC's label maps."""
    return Image.fromarray(_colour_map()[segments])


def boxes_of(
    segments: Int[np.ndarray, "height width"], ids: Sequence[int]
) -> list[tuple[int, int, int, int]]:
    """Left, top, right and bottom of segments in pixels; the latter two lie just outside."""
    boxes = []
    for id in ids:
        rows, columns = np.nonzero(segments == id)
        boxes.append(
            (
                int(columns.min()),
                int(rows.min()),
                int(columns.max()) + 1,
                int(rows.max()) + 1,
            )
        )
    return boxes


def _colour_map() -> Int[np.ndarray, "colours 3"]:
    """Bit 3k + c of a label is bit 7 - k of its channel c."""
    labels = np.arange(_COLOURS)[:, None]
    channels = np.arange(3)
    bits = sum(((labels >> (3 * k + channels)) & 1) << (7 - k) for k in range(8))
    return np.asarray(bits, np.uint8)


def _listed(head: str, items: Sequence[str]) -> str:
    return f"{head}{JOIN.join(items)}{END}" if items else ""
