"""The embedded world's splits and benchmarks: who is asked what, about which scenes.

Every scene is drawn from (seed, split, position), so that no two splits share one. What
shifts between the splits is all in `SPLITS` and `BENCHMARKS`; `docs/world.md` shows it as a
table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from r2t2.data import scenes
from r2t2.data.questions import REFERENCES, TYPES, Question, Wording, ask
from r2t2.data.scenes import Scene, Statistics
from r2t2.samples import Dataset, Sample

Mix = dict[str, float]
_ALL: Mix = dict.fromkeys(TYPES, 1.0)
# How the router's narrow mix refers to things: by colour and shape only.
_PLAIN = {
    "existence": ("shape", "colour+shape"),
    "colour": ("shape",),
    "shape": ("colour",),
    "counting": ("shape", "colour"),
}


@dataclass(frozen=True)
class Split:
    """Where questions come from.

    Parameters
    ----------
    number : keeps the split's random numbers apart from every other's; never reused.
    mix : how often each question type is asked.
    wording : phrasings and sentence forms.
    statistics : how scenes are drawn.
    references : ways of referring, by type, where they are fewer than all.
    multiple_choice : share of questions with four choices, where the type admits them.
    """

    number: int
    mix: Mix
    wording: Wording
    statistics: Statistics
    references: dict[str, tuple[str, ...]]
    multiple_choice: float = 0.0


_EVALUATION = Wording((5, 6), "evaluation")
_CROWDED = Statistics(things=(3, 6), tint=0.2)

SPLITS: dict[str, Split] = {
    "training": Split(
        0,
        {
            "existence": 1.0,
            "colour": 1.2,
            "shape": 1.2,
            "texture": 1.2,
            "size": 1.2,
            "counting": 1.3,
            "spatial": 1.4,
            "knowledge": 0.8,
            "reading": 1.0,
        },
        Wording(tuple(range(7)), "training"),
        Statistics(tint=0.25),
        {},
    ),
    "router": Split(
        1,
        {"existence": 0.47, "colour": 0.31, "shape": 0.17, "counting": 0.05},
        Wording((0, 1), "router"),
        Statistics(signs=0.15, backdrops=("wall", "floor")),
        _PLAIN,
    ),
    "reference": Split(2, _ALL, Wording((2, 3, 4), "reference"), Statistics(), {}, 0.3),
    "dev": Split(3, _ALL, _EVALUATION, _CROWDED, {}, 0.3),
}


def _benchmark(
    number: int,
    mix: Mix,
    references: dict[str, tuple[str, ...]] | None = None,
    multiple_choice: float = 0.0,
) -> Split:
    return Split(number, mix, _EVALUATION, _CROWDED, references or {}, multiple_choice)


BENCHMARKS: dict[str, Split] = {
    "general": _benchmark(10, _ALL, multiple_choice=1.0),
    "knowledge": _benchmark(11, {"knowledge": 1.0}, multiple_choice=0.5),
    "reading": _benchmark(12, {"reading": 1.0}),
    "texture": _benchmark(13, {"texture": 1.0}),
    "size": _benchmark(14, {"size": 1.0}),
    "counting": _benchmark(15, {"counting": 1.0}),
    "spatial": _benchmark(16, {"spatial": 1.0}),
    "referring": _benchmark(
        17,
        {"colour": 1.0, "shape": 1.0},
        {"colour": ("texture", "size"), "shape": ("texture", "size")},
    ),
    "colour": _benchmark(18, {"colour": 1.0}, _PLAIN),
    "objects": _benchmark(19, {"existence": 0.6, "shape": 0.4}, _PLAIN),
}
# The router's own question types, newly worded: re-routing must not harm them.
NO_HARM = ("colour", "objects")
BENCHMARK_SIZE = 800
SIZES = {"reference": 4000, "dev": 1200}


def draw(
    seed: int, split: Split, position: int, per_scene: int = 1
) -> tuple[Scene, list[Question]]:
    """The scene at a position of a split with up to `per_scene` different questions about it."""
    rng = np.random.default_rng([seed, split.number, position])
    types = list(split.mix)
    weights = np.array(list(split.mix.values()))
    weights /= weights.sum()
    while True:
        type = str(rng.choice(types, p=weights))
        # The type is drawn before the scene: a scene that does not admit it is drawn again,
        # so that rare questions are as frequent as the mix says.
        for _ in range(50):
            scene = scenes.draw(rng, split.statistics, needs_sign=type == "reading")
            first = _ask(rng, split, scene, type)
            if first is not None:
                break
        else:
            continue
        questions = [first]
        for _ in range(3 * per_scene):
            if len(questions) == per_scene:
                break
            more = _ask(rng, split, scene, str(rng.choice(types, p=weights)))
            if more is not None and more not in questions:
                questions.append(more)
        return scene, questions


def _ask(rng: np.random.Generator, split: Split, scene: Scene, type: str) -> Question | None:
    references = split.references.get(type, REFERENCES[type])
    return ask(rng, scene, type, split.wording, references, split.multiple_choice)


def dataset(name: str, seed: int = 0) -> Dataset:
    """A benchmark, the reference samples or the dev benchmark by name.

    Raises
    ------
    KeyError : there is no such benchmark; the message lists those that there are.
    """
    known = {**BENCHMARKS, **{split: SPLITS[split] for split in SIZES}}
    if name not in known:
        raise KeyError(
            f"there is no benchmark called {name!r}; there are {', '.join(known)}, and those that "
            "'python -m r2t2 data list' names"
        )
    split = known[name]

    def make(position: int) -> Sample:
        scene, (question,) = draw(seed, split, position)
        return Sample(
            id=f"{name}-{seed}-{position}",
            question=question.text,
            load_image=lambda: scenes.render(scene),
            label=question.answer,
            choices=question.choices,
            dataset=name,
            category=question.type,
        )

    return Dataset(name, SIZES.get(name, BENCHMARK_SIZE), make)
