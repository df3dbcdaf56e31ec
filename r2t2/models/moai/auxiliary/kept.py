"""What auxiliary models saw, kept on disk: one JSON file and, of segments, one PNG a picture."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

from PIL import Image

from r2t2.files import written
from r2t2.models.moai.auxiliary.finders import Seen

MOST_FILES = 100_000  # a few gigabytes at most; the oldest go first


class Kept:
    """A folder of results, by model and picture. A damaged one counts as not there.

    Parameters
    ----------
    folder : may be deleted at any time; all in it can be computed again.
    most : files that are kept.
    """

    def __init__(self, folder: Path, most: int = MOST_FILES) -> None:
        self._folder, self._most = folder, most
        self._count = sum(1 for _ in self._files())

    @staticmethod
    def key(image: Image.Image) -> str:
        """A hash of a picture's pixels."""
        return hashlib.sha256(f"{image.size} ".encode() + image.tobytes()).hexdigest()[:32]

    def get(self, model: str, key: str) -> Seen | None:
        """What a model saw in the picture of a key, if it is known."""
        path = self._folder / model / f"{key}.json"
        try:
            entry = json.loads(path.read_text())
            text, digest = entry["text"], entry["panoptic"]
            if not isinstance(text, str):
                return None
            return Seen(text, None if digest is None else _read(path.with_suffix(".png"), digest))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, model: str, key: str, seen: Seen) -> None:
        """Keep what a model saw in the picture of a key."""
        path = self._folder / model / f"{key}.json"
        digest = None
        if seen.panoptic:
            png = io.BytesIO()
            seen.panoptic.save(png, format="PNG")
            digest = hashlib.sha256(png.getvalue()).hexdigest()
            with written(path.with_suffix(".png")) as part:
                part.write_bytes(png.getvalue())
            self._count += 1
        with written(path) as part:
            part.write_text(json.dumps({"text": seen.text, "panoptic": digest}))
        self._count += 1
        if self._count > self._most:
            self._thin()

    def _files(self) -> list[Path]:
        return [*self._folder.glob("*/*.json"), *self._folder.glob("*/*.png")]

    def _thin(self) -> None:
        """Delete the oldest tenth, so that this is seldom called."""
        ages = {}
        for file in self._files():
            try:
                ages[file] = file.stat().st_mtime_ns
            except FileNotFoundError:  # another process was faster
                continue
        oldest = sorted(ages, key=lambda file: ages[file])
        drop = oldest[: len(oldest) - self._most * 9 // 10]
        for file in drop:
            file.unlink(missing_ok=True)
        self._count = len(oldest) - len(drop)


def _read(path: Path, digest: str) -> Image.Image:
    png = path.read_bytes()
    if hashlib.sha256(png).hexdigest() != digest:
        raise ValueError(f"{path.name} is not what was written")
    with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
        return image.copy()
