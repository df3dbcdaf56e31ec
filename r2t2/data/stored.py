"""Datasets as they are kept here: Arrow files that are mapped, not read, and a manifest.

A part holds some rows and the bytes of their pictures, each picture once. Parts are whole or not
there, so that what is cut off goes on after the last of them; the manifest, written last, vouches
for all.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from filelock import FileLock
from PIL import Image

from r2t2.data.rows import Row, Skip, draw
from r2t2.files import written
from r2t2.images import decode, picture_hash
from r2t2.paths import data_folder
from r2t2.samples import Dataset, Sample

FORMAT = 1
# One component of a path; "+" joins names.
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,49}")
_MANIFEST = "manifest.json"
# What a dataset that is not whole yet is taken from.
_SOURCE = "source.txt"
_TEXTS = ("id", "question", "label", "category", "group", "hint", "prompt", "metric")
_LISTS = ("choices", "answers", "texts")
# holder: the position of the row that has the picture's bytes; its own for the first of them.
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in _TEXTS),
        *((name, pa.list_(pa.string())) for name in _LISTS),
        ("digest", pa.string()),
        ("picture", pa.string()),
        ("holder", pa.int32()),
        ("bytes", pa.large_binary()),
    ]
)
_ROWS_OF_PART = 256
_BYTES_OF_PART = 2**27
Report = Callable[[int, int], None]


class Source(Protocol):
    """Where rows come from."""

    @property
    def told(self) -> str:
        """Where they are from, for people."""

    @property
    def size(self) -> int:
        """How many there are; 0 if that is not known."""

    def rows(self, pictures: bool, state: dict[str, Any] | None = None) -> Iterator[Row | Skip]:
        """The rows; with the state that `state` returned, those after it."""

    def state(self) -> dict[str, Any] | None:
        """Where it is, as JSON; None if it can only begin anew."""


@dataclass(frozen=True)
class Files:
    """Rows that are read from files, from their beginning."""

    told: str
    read: Callable[[], Iterator[Row | Skip]]
    size: int = 0

    def rows(self, pictures: bool, state: dict[str, Any] | None = None) -> Iterator[Row | Skip]:
        """The rows; their pictures are read when they are asked for."""
        return self.read()

    def state(self) -> None:
        """It begins anew."""


@dataclass(frozen=True)
class About:
    """What a dataset is, before its rows are read.

    Parameters
    ----------
    name, title, role : role is "benchmark" or "reference".
    metric : of the rows that name none.
    most, seed : so many are drawn, from this seed, where there are more; None for all.
    strict : whether a row of which no sample can be made is an error, not skipped and counted.
    """

    name: str
    title: str
    role: str
    metric: str = "match"
    most: int | None = None
    seed: int = 0
    strict: bool = False


@dataclass(frozen=True)
class Stored:
    """A dataset that is here.

    Parameters
    ----------
    folder : where it lies.
    manifest : format, name, title, role, metric, source, seed and rows (what it was drawn from),
        size, pictures, skipped (reason -> rows), parts, bytes, fingerprint and created.
    """

    folder: Path
    manifest: dict[str, Any]

    @property
    def name(self) -> str:
        """As it is typed."""
        return self.manifest["name"]

    @cached_property
    def table(self) -> pa.Table:
        """Its rows, mapped into memory.

        Raises
        ------
        ValueError : a part is missing or damaged.
        """
        try:
            parts = [_read(self.folder / part) for part in self.manifest["parts"]]
            whole = pa.concat_tables(parts) if parts else SCHEMA.empty_table()
            if len(whole) != self.manifest["size"]:
                raise ValueError("it has not as many rows as its manifest says")
        except (OSError, ValueError, pa.ArrowException) as error:
            raise ValueError(
                f"{self.name} in {self.folder} is damaged ({error}); make it again with "
                f"'python -m r2t2 data get {self.name} --again'"
            ) from error
        return whole

    @cached_property
    def _told(self) -> pa.Table:
        return self.table.drop_columns(["bytes", "digest"])

    def sample(self, position: int) -> Sample:
        """The sample at a position."""
        row: dict[str, Any] = self._told.slice(position, 1).to_pylist()[0]
        id, holder = row.pop("id"), row.pop("holder")
        cells: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in row.items()
        }
        return Sample(
            id=f"{self.name}-{id}",
            load_image=partial(self._image, holder),
            dataset=self.name,
            **cells,
        )

    def _image(self, holder: int) -> Image.Image:
        return decode(self.table["bytes"][holder].as_py())

    def dataset(self) -> Dataset:
        """All its samples."""
        return Dataset(self.name, len(self.table), self.sample, self.manifest["fingerprint"])


def here() -> dict[str, Stored]:
    """The datasets that are here, by name."""
    found = {}
    for path in sorted(data_folder().glob(f"*/{_MANIFEST}")):
        with suppress(FileNotFoundError, ValueError):
            found[path.parent.name] = find(path.parent.name)
    return found


def stamp() -> int:
    """A number that changes when any dataset that is here does."""
    times = (path.stat().st_mtime_ns for path in data_folder().glob(f"*/{_MANIFEST}"))
    return hash(tuple(sorted(times)))


def find(name: str) -> Stored:
    """A dataset that is here.

    Raises
    ------
    FileNotFoundError : it is not.
    ValueError : its manifest is damaged.
    """
    path = data_folder() / name / _MANIFEST
    if not NAME.fullmatch(name) or not path.is_file():
        raise FileNotFoundError(f"{name} is not here; get it with 'python -m r2t2 data get {name}'")
    return _find(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _find(path: Path, stamp: int) -> Stored:
    try:
        manifest = json.loads(path.read_text())
        if manifest["format"] != FORMAT or manifest["name"] != path.parent.name:
            raise ValueError("it is of another version")
        if not all(Path(part).name == part for part in manifest["parts"]):
            raise ValueError("its parts lie elsewhere")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}); delete its folder") from error
    return Stored(path.parent, manifest)


def store(
    about: About,
    source: Source,
    again: bool = False,
    report: Report = lambda done, total: None,
    folder: Path | None = None,
) -> Stored:
    """Take a dataset in; what is there already, whole or in part, is not made again.

    Parameters
    ----------
    again : make it anew all the same.
    report : called with rows done and in total (0 while that is unknown).
    folder : where to; the dataset's own by default.

    Raises
    ------
    ValueError : nothing in it can be made a sample of, or, of a `strict` one, something cannot.
    FileNotFoundError : a picture that it names is not there.
    """
    folder = folder or data_folder() / about.name
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        begun = folder / _SOURCE
        # Parts of one source do not go on with another's rows.
        other = begun.exists() and begun.read_text() != source.told
        if again or other:
            for path in folder.glob("[!.]*"):
                path.unlink()
        if not (folder / _MANIFEST).exists():
            begun.write_text(source.told)
            _Writing(folder, about, source, report).all()
    return Stored(folder, json.loads((folder / _MANIFEST).read_text()))


def remove(name: str) -> None:
    """Delete a dataset that is here.

    Raises
    ------
    FileNotFoundError, ValueError : as `find` says.
    """
    folder = find(name).folder
    (folder / _MANIFEST).unlink()
    shutil.rmtree(folder)


class _Writing:
    """A dataset that is being taken in, part after part."""

    def __init__(self, folder: Path, about: About, source: Source, report: Report) -> None:
        self._folder, self._about, self._source, self._report = folder, about, source, report
        self._parts: list[Path] = []
        self._size = 0
        self._skipped: Counter[str] = Counter()
        # Of pictures: the row that has the bytes, and the perceptual hash.
        self._held: dict[str, tuple[int, str]] = {}
        self._ids: set[str] = set()

    def all(self) -> None:
        """Read the source to its end, from where it was left."""
        drawn = self._plan()
        seen, state = self._resume()
        rows: list[dict[str, Any]] = []
        read = self._source.rows(True, state)
        for number, row in enumerate(read, seen if state is not None else 0):
            if number < seen or (drawn is not None and number not in drawn):
                continue
            try:
                if isinstance(row, Skip):
                    raise row
                rows.append(self._cells(row, self._size + len(rows), number))
            except Skip as why:
                if self._about.strict:
                    raise ValueError(f"row {number + 1}, column image: {why}") from why
                self._skipped[str(why)] += 1
                continue
            size = sum(len(row["bytes"] or b"") for row in rows)
            self._report(self._size + len(rows), len(drawn or ()) or self._source.size)
            if len(rows) == _ROWS_OF_PART or size > _BYTES_OF_PART:
                self._write(rows, number + 1)
                rows = []
        if rows:
            self._write(rows, 0)
        self._finish(None if drawn is None else json.loads(self._drawn.read_text())["rows"])

    @property
    def _drawn(self) -> Path:
        return self._folder / "drawn.json"

    def _plan(self) -> set[int] | None:
        """The numbers of the rows that are wanted, drawn once; None where all are."""
        about = self._about
        if about.most is None:
            return None
        if not self._drawn.exists():
            skipped: Counter[str] = Counter()
            usable = []
            for number, row in enumerate(self._source.rows(False)):
                if isinstance(row, Skip):
                    skipped[str(row)] += 1
                else:
                    usable.append(number)
            chosen = [usable[place] for place in draw(len(usable), about.most, about.seed)]
            plan = {"rows": len(usable), "chosen": chosen, "skipped": skipped}
            with written(self._drawn) as part:
                part.write_text(json.dumps(plan))
        plan = json.loads(self._drawn.read_text())
        self._skipped = Counter(plan["skipped"])
        return set(plan["chosen"])

    def _resume(self) -> tuple[int, dict[str, Any] | None]:
        """Take note of the parts that are there: the rows that were read, the source's state."""
        seen, state = 0, None
        for path in sorted(self._folder.glob("part-*.arrow")):
            table = _read(path)
            told = json.loads(table.schema.metadata[b"r2t2"])
            seen, state, self._skipped = told["seen"], told["state"], Counter(told["skipped"])
            for row in table.select(["id", "digest", "holder", "picture"]).to_pylist():
                self._held[row["digest"]] = row["holder"], row["picture"]
                self._ids.add(row["id"])
            self._parts.append(path)
            self._size += len(table)
        return seen, state

    def _cells(self, row: Row, position: int, number: int) -> dict[str, Any]:
        """A row with the bytes of its picture, unless another row has them."""
        data = row.picture()
        digest = hashlib.sha256(data).hexdigest()[:32]
        new = digest not in self._held
        if new:
            try:
                self._held[digest] = position, picture_hash(decode(data))
            except ValueError as error:
                raise Skip(f"the picture cannot be used: {error}") from error
        id = row.id or str(number)
        id = f"{id}/{number}" if id in self._ids else id
        self._ids.add(id)
        holder, picture = self._held[digest]
        return {
            **{name: getattr(row, name) for name in (*_TEXTS, *_LISTS)},
            "id": id,
            "metric": row.metric or self._about.metric,
            "digest": digest,
            "picture": picture,
            "holder": holder,
            "bytes": data if new else None,
        }

    def _write(self, rows: list[dict[str, Any]], seen: int) -> None:
        told = {"seen": seen, "state": self._source.state(), "skipped": self._skipped}
        schema = SCHEMA.with_metadata({b"r2t2": json.dumps(told).encode()})
        path = self._folder / f"part-{len(self._parts):05d}.arrow"
        with written(path) as part, pa.ipc.new_file(str(part), schema) as writer:
            writer.write_table(pa.Table.from_pylist(rows, schema))
        self._parts.append(path)
        self._size += len(rows)

    def _finish(self, rows: int | None) -> None:
        about = self._about
        if not self._size:
            why = "; ".join(f"{count} {reason}" for reason, count in self._skipped.items())
            raise ValueError(f"{about.title} gives no sample: {why or 'it holds no row'}")
        table = pa.concat_tables([_read(path) for path in self._parts])
        manifest = {
            "format": FORMAT,
            "name": about.name,
            "title": about.title,
            "role": about.role,
            "metric": about.metric,
            "source": self._source.told,
            "seed": None if about.most is None else about.seed,
            "rows": self._size if rows is None else rows,
            "size": self._size,
            "pictures": len(self._held),
            "skipped": dict(self._skipped),
            "parts": [path.name for path in self._parts],
            "bytes": sum(path.stat().st_size for path in self._parts),
            "fingerprint": fingerprint(table),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with written(self._folder / _MANIFEST) as part:
            part.write_text(json.dumps(manifest, indent=1) + "\n")
        for done in (self._drawn, self._folder / _SOURCE):
            done.unlink(missing_ok=True)


def fingerprint(table: pa.Table) -> str:
    """A hash of all that samples are made of; that of pictures is computed from their bytes."""
    texts, pictures = hashlib.sha256(), hashlib.sha256()
    for row in table.select([*_TEXTS, *_LISTS, "holder"]).to_pylist():
        texts.update(json.dumps(row).encode())
    for data in table["bytes"]:
        if data.is_valid:
            pictures.update(hashlib.sha256(data.as_buffer()).digest())
    return hashlib.sha256(texts.digest() + pictures.digest()).hexdigest()[:16]


def _read(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
