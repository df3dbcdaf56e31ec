"""Questions about scenes: nine types, seven phrasings each, several ways to refer to a thing.

A question asks for an attribute of a thing and refers to that thing by its other attributes
("what shape is the striped object?"), so that two questions of one type can need different
experts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from r2t2.data.scenes import COLOURS, GRID, SHAPES, SIZES, TEXTURES, WORDS, Scene, Thing

PHRASINGS = 7
COUNTS = tuple(str(n) for n in range(8))
SIDES = ("left", "right", "top", "bottom")
ANSWERS = ("yes", "no", *COLOURS, *SHAPES, *TEXTURES, *SIZES, *COUNTS, *WORDS, *SIDES)

# The fact table of the knowledge questions: what the embedded world knows of its shapes.
FACTS = {
    "cube": ("has six square faces", "is used like a die"),
    "ball": ("has no corners and can roll", "can be kicked in football"),
    "cone": ("narrows to a tip", "holds ice cream"),
    "star": ("shines in the night sky", "has five points"),
    "cross": ("marks a hospital", "looks like a plus sign"),
    "ring": ("is worn on a finger", "has a hole in the middle"),
}

# Seven phrasings each, so that splits can share question types and not their wording.
_PHRASES: dict[str, tuple[str, ...]] = {
    "existence": (
        "is there a {x}?",
        "are there any {x}s?",
        "does the image contain a {x}?",
        "can you see a {x}?",
        "do you see any {x} here?",
        "tell me whether a {x} is present.",
        "would you say that a {x} appears in this scene?",
    ),
    "colour": (
        "what color is the {x}?",
        "what is the color of the {x}?",
        "which color does the {x} have?",
        "name the color of the {x}.",
        "the {x} is painted in which color?",
        "identify the hue of the {x} shown.",
        "tell me the color you see on the {x}.",
    ),
    "shape": (
        "what shape is the {x}?",
        "what is the shape of the {x}?",
        "which shape does the {x} have?",
        "name the shape of the {x}.",
        "the {x} is of what shape?",
        "identify the form of the {x}.",
        "what kind of shape is the {x} shown?",
    ),
    "texture": (
        "what pattern does the {x} have?",
        "what is the pattern of the {x}?",
        "which texture does the {x} show?",
        "name the texture of the {x}.",
        "the surface of the {x} is of which pattern?",
        "describe the surface pattern of the {x}.",
        "how is the surface of the {x} decorated?",
    ),
    "size": (
        "is the {x} small or large?",
        "what is the size of the {x}?",
        "how big is the {x}?",
        "tell me the size of the {x}.",
        "would you call the {x} small or large?",
        "is the {x} a large or a small one?",
        "of what size is the {x}?",
    ),
    "counting": (
        "how many {x}s are there?",
        "how many {x}s are in the image?",
        "what number of {x}s are visible?",
        "count the {x}s.",
        "give the number of {x}s in the picture.",
        "what is the total count of {x}s here?",
        "tell me how many {x}s you can find.",
    ),
    "across": (
        "in which part of the image is the {x}, left or right?",
        "is the {x} on the left or right side?",
        "which side is the {x} on, left or right?",
        "where is the {x}, left or right?",
        "where can the {x} be found, left or right?",
        "on what side is the {x} located, left or right?",
        "tell me if the {x} is at the left or the right.",
    ),
    "up": (
        "in which part of the image is the {x}, top or bottom?",
        "is the {x} on the top or bottom side?",
        "which half holds the {x}, top or bottom?",
        "where is the {x}, top or bottom?",
        "where can the {x} be found, top or bottom?",
        "on what half is the {x} located, top or bottom?",
        "tell me if the {x} is at the top or the bottom.",
    ),
    "knowledge": (
        "what color is the object that {x}?",
        "what is the color of the thing that {x}?",
        "which color does the object that {x} have?",
        "name the color of the thing that {x}.",
        "give the color of the item that {x}.",
        "consider the item that {x}; what is its color?",
        "tell me the color of whatever {x}.",
    ),
    "reading": (
        "what does the {x} sign say?",
        "what is written on the {x} sign?",
        "which word is on the {x} sign?",
        "read the {x} sign.",
        "what text appears on the {x} board?",
        "tell me the word printed on the {x} plate.",
        "what can be read on the sign with the {x} frame?",
    ),
}
_NOUNS = ("object", "object", "thing", "thing", "item")
_FORMS = {
    "router": ("{q}", "{q}", "please answer: {q}"),
    "training": (
        "{q}",
        "{q}",
        "please answer: {q}",
        "in this picture, {q}",
        "looking at the image, {q}",
        "based on the photo, {q}",
        "i wonder, {q}",
    ),
    "reference": ("{q}", "looking at the image, {q}", "please answer: {q}"),
    "evaluation": ("{q}", "based on the photo, {q}", "i wonder, {q}"),
}


@dataclass(frozen=True)
class Question:
    """A question about a scene with its answer.

    Parameters
    ----------
    text, answer : as a person would type them.
    type : one of `TYPES`.
    reference : the attributes that the question names its thing by, such as "colour+shape".
    choices : four options, or none for an open question.
    """

    text: str
    answer: str
    type: str
    reference: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wording:
    """Which phrasings and which sentence forms a split uses."""

    phrasings: tuple[int, ...]
    form: str


def ask(
    rng: np.random.Generator,
    scene: Scene,
    type: str,
    wording: Wording,
    references: Sequence[str] | None = None,
    multiple_choice: float = 0.0,
) -> Question | None:
    """A random question of a type, or None where the scene does not admit the one drawn.

    Parameters
    ----------
    references : the ways of referring to draw from, all of the type's by default.
    multiple_choice : the share of questions that offer four choices.
    """
    reference = str(rng.choice(list(references or REFERENCES[type])))
    asked = _ASK[type](rng, scene, reference)
    if asked is None:
        return None
    key, phrase, answer = asked
    sentence = _PHRASES[key][rng.choice(wording.phrasings)].format(x=phrase)
    form = str(rng.choice(_FORMS[wording.form]))
    choices: tuple[str, ...] = ()
    options = _options(answer)
    if rng.random() < multiple_choice and len(options) >= 4:
        others = [o for o in options if o != answer]
        shown = [answer, *rng.choice(others, 3, replace=False).tolist()]
        choices = tuple(shown[i] for i in rng.permutation(4))
    text = re.sub(r"\ba (?=[aeiou])", "an ", form.format(q=sentence))
    return Question(text, answer, type, reference, choices)


def _options(answer: str) -> tuple[str, ...]:
    kinds: tuple[tuple[str, ...], ...] = (COLOURS, SHAPES, COUNTS, WORDS)
    return next((kind for kind in kinds if answer in kind), ())


def _refer(rng: np.random.Generator, thing: Thing, reference: str) -> str:
    """The noun phrase that names a thing by the attributes in `reference`."""
    names = reference.split("+")
    noun = thing.shape if "shape" in names else str(rng.choice(_NOUNS))
    return " ".join(
        [*(getattr(thing, name) for name in ("size", "texture", "colour") if name in names), noun]
    )


def _same(a: Thing, b: Thing, reference: str) -> bool:
    return all(getattr(a, name) == getattr(b, name) for name in reference.split("+"))


def _unique(rng: np.random.Generator, scene: Scene, reference: str) -> Thing | None:
    """A random thing that its reference names without doubt."""
    things = [t for t in scene.things if sum(_same(t, o, reference) for o in scene.things) == 1]
    return things[rng.integers(len(things))] if things else None


Asked = tuple[str, str, str] | None


def _attribute(attribute: str) -> Callable[[np.random.Generator, Scene, str], Asked]:
    def asked(rng: np.random.Generator, scene: Scene, reference: str) -> Asked:
        thing = _unique(rng, scene, reference)
        if thing is None:
            return None
        return attribute, _refer(rng, thing, reference), getattr(thing, attribute)

    return asked


def _existence(rng: np.random.Generator, scene: Scene, reference: str) -> Asked:
    present = scene.things[rng.integers(len(scene.things))]
    if rng.random() < 0.5:
        return "existence", _refer(rng, present, reference), "yes"
    # A hard negative: its attributes are likely to be in the scene, only not together.
    absent = Thing(
        0,
        str(rng.choice(SHAPES)),
        present.colour if rng.random() < 0.7 else str(rng.choice(COLOURS)),
        str(rng.choice(TEXTURES)),
        present.size,
    )
    if any(_same(absent, t, reference) for t in scene.things):
        return None
    return "existence", _refer(rng, absent, reference), "no"


def _counting(rng: np.random.Generator, scene: Scene, reference: str) -> Asked:
    if reference == "all":
        return "counting", "object", str(len(scene.things))
    thing = scene.things[rng.integers(len(scene.things))]
    if rng.random() < 0.15:
        thing = Thing(0, str(rng.choice(SHAPES)), str(rng.choice(COLOURS)))
    count = sum(_same(thing, t, reference) for t in scene.things)
    return "counting", _refer(rng, thing, reference), str(count)


def _spatial(rng: np.random.Generator, scene: Scene, reference: str) -> Asked:
    thing = _unique(rng, scene, reference)
    if thing is None:
        return None
    row, column = divmod(thing.cell, GRID)
    if rng.random() < 0.5:
        side = "left" if column < GRID / 2 else "right"
        return "across", _refer(rng, thing, reference), side
    return "up", _refer(rng, thing, reference), "top" if row < GRID / 2 else "bottom"


def _knowledge(rng: np.random.Generator, scene: Scene, reference: str) -> Asked:
    thing = _unique(rng, scene, "shape")
    if thing is None:
        return None
    return "knowledge", str(rng.choice(FACTS[thing.shape])), thing.colour


def _reading(rng: np.random.Generator, scene: Scene, reference: str) -> Asked:
    if not scene.signs:
        return None
    sign = scene.signs[rng.integers(len(scene.signs))]
    return "reading", sign.colour, sign.word


_ASK: dict[str, Callable[[np.random.Generator, Scene, str], Asked]] = {
    "existence": _existence,
    "colour": _attribute("colour"),
    "shape": _attribute("shape"),
    "texture": _attribute("texture"),
    "size": _attribute("size"),
    "counting": _counting,
    "spatial": _spatial,
    "knowledge": _knowledge,
    "reading": _reading,
}
TYPES: tuple[str, ...] = tuple(_ASK)
REFERENCES: dict[str, tuple[str, ...]] = {
    "existence": ("shape", "colour+shape", "texture+shape"),
    "colour": ("shape", "texture", "size"),
    "shape": ("colour", "texture", "size"),
    "texture": ("shape", "colour", "colour+shape"),
    "size": ("shape", "colour", "colour+shape"),
    "counting": ("shape", "colour", "texture", "all"),
    "spatial": ("shape", "colour", "colour+shape"),
    "knowledge": ("fact",),
    "reading": ("colour",),
}
