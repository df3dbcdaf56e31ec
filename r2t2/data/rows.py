"""What a reader of a dataset gives: one row per question, its picture not read yet."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

Picture = Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Row:
    """One question; the parameters that `Sample` has too are what they are there."""

    id: str
    question: str
    picture: Picture
    label: str
    choices: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    category: str = ""
    group: str = ""
    hint: str = ""
    texts: tuple[str, ...] = ()
    prompt: str = ""
    metric: str = ""

    def __post_init__(self) -> None:
        """Refuse choices that cannot be put in words.

        Raises
        ------
        Skip : one of them is empty, as a picture is, or there are more than letters.
        """
        if not all(self.choices) or len(self.choices) > MOST_CHOICES:
            raise Skip(NO_CHOICES)


class Skip(Exception):
    """A row that no sample can be made of; the message is the reason, the same for all alike."""


NO_ANSWER = "without an answer"
NO_CHOICES = "with choices that are no texts, or too many of them"
MOST_CHOICES = 26
NO_PICTURE = "without exactly one picture"


def draw(total: int, most: int, seed: int = 0) -> list[int]:
    """Positions of `most` of `total` rows at random, in their order; all where there are fewer."""
    if total <= most:
        return list(range(total))
    return np.sort(np.random.default_rng(seed).choice(total, most, replace=False)).tolist()


def text(value: object) -> str:
    """A cell as text, without blanks around; empty for what is missing or no text."""
    if (
        value is None
        or isinstance(value, (dict, bytes, list))
        or (isinstance(value, float) and np.isnan(value))
    ):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def most_common(answers: Iterable[str]) -> str:
    """What most annotators say; the first of several.

    Raises
    ------
    Skip : none says anything.
    """
    said = [answer for answer in answers if answer]
    if not said:
        raise Skip(NO_ANSWER)
    return Counter(said).most_common(1)[0][0]


def at(choices: Sequence[str], place: object) -> str:
    """The choice at a place, counted from 0.

    Raises
    ------
    Skip : there is none.
    """
    said = text(place)
    if said.isdigit() and int(said) < len(choices):
        return choices[int(said)]
    raise Skip(NO_ANSWER)


def under(choices: Sequence[str], letter: object) -> str:
    """The choice under a letter, in whatever brackets it stands.

    Raises
    ------
    Skip : there is none.
    """
    said = text(letter).strip("().: ").upper()
    if len(said) == 1 and 0 <= ord(said) - ord("A") < len(choices):
        return choices[ord(said) - ord("A")]
    raise Skip(NO_ANSWER)


def of_cell(cell: Any) -> Picture:
    """The picture of a cell as `datasets` has it undecoded: bytes, a path, or both.

    Raises
    ------
    Skip : there is none.
    """
    if isinstance(cell, list):
        if len(cell) != 1:
            raise Skip(NO_PICTURE)
        cell = cell[0]
    if isinstance(cell, (bytes, bytearray)):
        data = bytes(cell)
        return lambda: data
    if isinstance(cell, dict):
        inside, path = cell.get("bytes"), cell.get("path")
        if inside:
            return lambda: inside
        if path:
            return Path(path).read_bytes
    raise Skip(NO_PICTURE)


def later() -> bytes:
    """Stands for a picture in a pass that reads none."""
    raise AssertionError("pictures are not read in this pass")


@dataclass(frozen=True)
class Folder:
    """A dataset's files as they are published.

    Parameters
    ----------
    root : the folder of all datasets.
    name : of the dataset; its files lie in the folder of this name, or in `root` itself.
    """

    root: Path
    name: str

    @property
    def places(self) -> tuple[Path, Path]:
        """Where its files are looked for."""
        return self.root / self.name, self.root

    def find(self, *patterns: str) -> Path:
        """The first file or folder that one of the patterns names.

        Raises
        ------
        FileNotFoundError : there is none; the message names the first pattern.
        """
        for place in self.places:
            for pattern in patterns:
                if found := sorted(place.glob(pattern)):
                    return found[0]
        raise FileNotFoundError(
            f"there is no {patterns[0]} in {self.places[0]} (nor in {self.root} itself)"
        )

    def pictures(self, *patterns: str) -> Callable[[str], Picture]:
        """Reads pictures by their names from a folder, or from a .zip file as it was downloaded.

        Raises
        ------
        FileNotFoundError : there is neither.
        """
        return reader(self.find(*patterns, *(f"{pattern}.zip" for pattern in patterns)))


def reader(place: Path) -> Callable[[str], Picture]:
    """Reads pictures by their names inside a folder or a .zip file; none outside of it."""
    if place.suffix == ".zip":
        return lambda name: lambda: _from_archive(place, name)
    return lambda name: lambda: inside(place, name).read_bytes()


def inside(folder: Path, name: str) -> Path:
    """A file in a folder or below, by a name that may be from anybody.

    Raises
    ------
    ValueError : it leads out of the folder.
    FileNotFoundError : there is no such file.
    """
    path = PurePosixPath(name.replace("\\", "/") or ".")
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(f"{name[:80]!r} leads out of the folder {folder.name}")
    found = folder / path
    if not found.is_file():
        raise FileNotFoundError(f"there is no file {name[:200]!r} in {folder}")
    return found


def _from_archive(place: Path, name: str) -> bytes:
    from r2t2.images import MAX_BYTES

    archive, names = _archive(place)
    entry = names.get(name) or names.get(PurePosixPath(name).name)
    if entry is None:
        raise FileNotFoundError(f"there is no {name[:200]!r} in {place}")
    if archive.getinfo(entry).file_size > MAX_BYTES:
        raise ValueError(f"{entry[:80]!r} in {place.name} is larger than any picture may be")
    return archive.read(entry)


@cache
def _archive(place: Path) -> tuple[zipfile.ZipFile, dict[str, str]]:
    archive = zipfile.ZipFile(place)
    by_name = {PurePosixPath(name).name: name for name in archive.namelist()}
    return archive, by_name | {name: name for name in archive.namelist()}
