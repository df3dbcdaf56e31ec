"""MoAI's auxiliary inputs: what other models of vision see in a picture, in words and as a map."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from PIL import Image

from r2t2.models.batching import Batches
from r2t2.models.moai.auxiliary import finders, words
from r2t2.models.moai.auxiliary.finders import Finder, Missing, SceneGraph, Seen
from r2t2.models.moai.auxiliary.kept import Kept
from r2t2.models.moai.auxiliary.words import ORDER, Graph
from r2t2.paths import auxiliary_folder

__all__ = ["ORDER", "Auxiliary", "Found", "Graph", "SceneGraph", "squared"]
_AT_ONCE = 8
_NAMES = dict(zip(ORDER, ("segmentation", "detection", "scene graph", "OCR"), strict=True))


@dataclass(frozen=True)
class Found:
    """What the auxiliary models see in one picture.

    Parameters
    ----------
    text : in words, in the order and with the joins that MoAI was trained with.
    panoptic : the colour-coded panoptic map, RGB; None where segmentation did not run. All black
        where it ran and found nothing.
    ran : the models that looked, of `ORDER`.
    """

    text: str
    panoptic: Image.Image | None
    ran: tuple[str, ...]


class Auxiliary:
    """The auxiliary models that are switched on and here; results are kept on disk.

    Parameters
    ----------
    switches : which of `ORDER` may run; those that are not named may.
    device : for the models of transformers; OCR runs on the processor.
    cache : the folder of results; `auxiliary` in the cache if not given.
    sources : where the models of transformers lie, if not on the hub as `finders.MODELS` says.
    scene_graph : a scene graph model; if not given, what an installed package offers.

    Raises
    ------
    ValueError : a switch or source is of no auxiliary model.
    """

    def __init__(
        self,
        switches: Mapping[str, bool] | None = None,
        device: str = "cpu",
        cache: Path | None = None,
        sources: Mapping[str, str] | None = None,
        scene_graph: SceneGraph | None = None,
    ) -> None:
        switches, sources = switches or {}, sources or {}
        unknown = (set(switches) - set(ORDER)) | (set(sources) - set(finders.MODELS))
        if unknown:
            raise ValueError(
                f"there is no auxiliary model {', '.join(sorted(unknown))}; there are "
                f"{', '.join(ORDER)}, and a source is one of {', '.join(finders.MODELS)}"
            )
        paths = {**finders.MODELS, **sources}
        makers: dict[str, Callable[[], Finder]] = {
            "segmentation": lambda: finders.Segmentation(paths["segmentation"], device),
            "detection": lambda: finders.Detection(paths["detection"], device),
            "scene_graph": lambda: finders.Relations(scene_graph or finders.plugged(device)),
            "ocr": finders.Ocr,
        }
        self._finders: dict[str, Finder] = {}
        self._missing: dict[str, str] = {}
        self._off = [name for name in ORDER if not switches.get(name, True)]
        for name in ORDER:
            if name in self._off:
                continue
            try:
                self._finders[name] = makers[name]()
            except Missing as error:
                self._missing[name] = str(error)
        self._kept = Kept(cache or auxiliary_folder())
        self._batches = Batches(_AT_ONCE)
        self._running = threading.Lock()

    @property
    def ran(self) -> tuple[str, ...]:
        """The models that look at every picture, of `ORDER`."""
        return tuple(self._finders)

    @property
    def fingerprint(self) -> str:
        """A hash that changes when what is found may: with the models that look, and theirs."""
        parts = [f"{name} {finder.fingerprint}" for name, finder in self._finders.items()]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    @property
    def notice(self) -> str:
        """Which models look at a picture, which are off or missing, and how to get these."""
        runs = [f"{_NAMES[name]} ({finder.source})" for name, finder in self._finders.items()]
        said = [f"Auxiliary models that run: {', '.join(runs) or 'none'}."]
        if self._off:
            said.append(f"Switched off: {', '.join(_NAMES[name] for name in self._off)}.")
        if self._missing:
            lacks = "; ".join(f"{_NAMES[name]}: {why}" for name, why in self._missing.items())
            said.append(f"Missing, so MoAI is told nothing of it: {lacks}.")
        return " ".join(said)

    def __call__(self, images: Sequence[Image.Image]) -> list[Found]:
        """What the models see in pictures of any size; each looks at a picture once.

        Raises
        ------
        OSError, ValueError : a model's files are damaged.
        MemoryError : not even one picture fits.
        """
        pictures = [squared(image) for image in images]
        keys = [self._kept.key(picture) for picture in pictures]
        once = dict(zip(keys, pictures, strict=True))
        with self._running:  # models load when they are first called, and memory is for one batch
            seen = {name: self._look(name, once) for name in self._finders}
        return [
            Found(
                words.joined({name: each[key].text for name, each in seen.items()}),
                seen["segmentation"][key].panoptic if "segmentation" in seen else None,
                self.ran,
            )
            for key in keys
        ]

    def _look(self, name: str, pictures: Mapping[str, Image.Image]) -> dict[str, Seen]:
        """What a model sees in pictures, by their keys: kept, or looked at now."""
        finder = self._finders[name]
        model = f"{name}-{hashlib.sha256(finder.fingerprint.encode()).hexdigest()[:16]}"
        known = {key: self._kept.get(model, key) for key in pictures}
        unknown = [key for key, seen in known.items() if seen is None]

        def look(rows: slice) -> list[Seen]:
            return finder([pictures[key] for key in unknown[rows]])

        fresh = dict(zip(unknown, chain(*self._batches(len(unknown), look)), strict=True))
        for key, seen in fresh.items():
            self._kept.put(model, key, seen)
        return {key: seen or fresh[key] for key, seen in known.items()}


def squared(image: Image.Image) -> Image.Image:
    """The picture as MoAI and its auxiliary models look at it: RGB, stretched to a square."""
    return image.convert("RGB").resize((finders.SIDE, finders.SIDE), Image.Resampling.BILINEAR)
