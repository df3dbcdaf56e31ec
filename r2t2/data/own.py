"""Your own data: a table with pictures beside it becomes a benchmark or a reference dataset.

The table is a CSV, TSV, JSON lines or Parquet file; or it lies with its pictures in a .zip, which
may be from anybody and is read in a process of its own. Errors name the row, counted from 1
without the header, and the column.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import stat
import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from r2t2 import apart
from r2t2.data import stored
from r2t2.data.catalogue import CIRCULAR, ENTRIES, PAPER_REFERENCE
from r2t2.data.rows import (
    MOST_CHOICES,
    Picture,
    Row,
    Skip,
    inside,
    most_common,
    of_cell,
    text,
    under,
)
from r2t2.data.stored import NAME, About, Files, Report, Stored
from r2t2.data.world import BENCHMARKS, SIZES
from r2t2.files import sound
from r2t2.images import MAX_BYTES
from r2t2.metrics import metric as metric_of
from r2t2.paths import data_folder

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet", ".zip")
COLUMNS = (
    "image",
    "question",
    "answer",
    "answers",
    "choices",
    "category",
    "group",
    "hint",
    "id",
)
ROLES = ("benchmark", "reference")
MOST_BYTES_OF_TABLE = 2**28
MOST_BYTES_IN_ALL = 2**32
MOST_FILES = 200_000
MOST_LETTERS = 20_000
_TAKEN = {*BENCHMARKS, *SIZES, *ENTRIES, PAPER_REFERENCE, CIRCULAR}
# The cells of one row, and where its picture is.
Opened = tuple[Iterator[dict[str, Any]], Callable[[Any], Picture]]


def add(
    file: Path,
    name: str,
    role: str = "benchmark",
    images: Path | None = None,
    metric: str | None = None,
    again: bool = False,
    report: Report = lambda done, total: None,
) -> Stored:
    """Take your own data in, all of it or, where anything is wrong, nothing.

    Parameters
    ----------
    file : with one of `SUFFIXES`; its columns are among `COLUMNS`.
    images : the folder that the pictures' paths begin in; the file's own by default. Only where it
        is given may they be absolute, and lie in it all the same.
    metric : how answers are scored; by default "option" where there are choices, else "match".
    again : whether it may take the place of another one of this name.
    report : as `stored.store` says.

    Raises
    ------
    FileNotFoundError : there is no such file.
    ValueError : the file or the name cannot be used; the message says why.
    """
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    _check(file, name, role)
    if not again and name in stored.here():
        raise ValueError(f"there is a dataset {name} already; choose another name, or replace it")
    scratch = data_folder() / f".{name}.adding"
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        if file.suffix.lower() == ".zip":
            scratch.mkdir(parents=True)
            words = (str(file.resolve()), str(scratch.resolve()), name, role, metric or "")
            apart.call(__name__, *words)
        else:
            _take(_open(file, images), file.name, scratch, name, role, metric or "", report)
        place = data_folder() / name
        if place.exists():
            shutil.rmtree(place)
        scratch.rename(place)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return stored.find(name)


def _check(file: Path, name: str, role: str) -> None:
    if file.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{file.name} ends in none of {', '.join(SUFFIXES)}")
    if not NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is no name of a dataset: small letters, digits, '.', '_' and '-', 50 at most"
        )
    if name in _TAKEN:
        raise ValueError(f"{name} is the name of another dataset; choose another one")
    if role not in ROLES:
        raise ValueError(f"role is {role!r}; it must be one of {', '.join(ROLES)}")


def unpack(file: str, folder: str, name: str, role: str, metric: str) -> None:
    """Take the table and the pictures of a zip file in.

    Raises
    ------
    ValueError : it cannot be used; the message says why.
    """
    if not zipfile.is_zipfile(file):
        raise ValueError("it is no zip file")
    with zipfile.ZipFile(file) as archive:
        opened = _open_archive(archive)
        _take(opened, Path(file).name, Path(folder), name, role, metric)


def _take(
    opened: Opened,
    title: str,
    folder: Path,
    name: str,
    role: str,
    metric: str,
    report: Report = lambda done, total: None,
) -> None:
    cells, shown = opened
    # All texts are read before the first picture is.
    rows = [_row(number, row, shown, metric) for number, row in enumerate(cells, 1)]
    ids = [row.id for row in rows if row.id]
    if len(set(ids)) < len(ids):
        twice = next(id for id in ids if ids.count(id) > 1)
        raise ValueError(f"column id: {twice[:80]!r} is there twice")
    if metric:
        # A metric that there is not is refused here and not in the middle of a run.
        metric_of(metric)
    about = About(name, title, role, metric or "match", strict=True)
    stored.store(about, Files(title, lambda: iter(rows), len(rows)), False, report, folder)


def _row(number: int, cells: dict[str, Any], shown: Callable[[Any], Picture], metric: str) -> Row:
    def cell(column: str) -> str:
        value = cells.get(column)
        if isinstance(value, (list, dict, bytes)):
            raise _wrong(number, column, "it must be a text")
        said = text(value)
        if len(said) > MOST_LETTERS:
            raise _wrong(number, column, f"it is longer than {MOST_LETTERS:,} letters")
        return said

    choices, answers = (_list(number, name, cells.get(name)) for name in ("choices", "answers"))
    question, label = cell("question"), cell("answer")
    if not question:
        raise _wrong(number, "question", "it is empty")
    if len(choices) == 1 or len(set(choices)) < len(choices):
        raise _wrong(number, "choices", "there must be two or more, and no two alike")
    if len(choices) > MOST_CHOICES:
        raise _wrong(number, "choices", f"there are more than {MOST_CHOICES}")
    try:
        label = label or most_common(answers)
        if choices and label not in choices:
            label = under(choices, label)
    except Skip:
        why = f"{label[:80]!r} is none of the choices, nor the letter of one" if label else "empty"
        raise _wrong(number, "answer", why) from None
    return Row(
        id=cell("id"),
        question=question,
        picture=partial(_picture, number, shown, cells.get("image")),
        label=label,
        choices=choices,
        answers=answers,
        category=cell("category"),
        group=cell("group"),
        hint=cell("hint"),
        metric=metric or ("option" if choices else ""),
    )


def _list(number: int, column: str, value: Any) -> tuple[str, ...]:
    """Several texts: a list, a JSON list, or texts with "|" between them."""
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise _wrong(number, column, f"it is no JSON list ({error})") from None
    if isinstance(value, str):
        value = value.split("|") if value.strip() else []
    if value is None or (isinstance(value, float) and value != value):
        return ()
    if not isinstance(value, list) or any(isinstance(one, (list, dict)) for one in value):
        raise _wrong(number, column, "it must be a list of texts")
    texts = tuple(map(text, value))
    if not all(texts) or sum(map(len, texts)) > MOST_LETTERS:
        raise _wrong(
            number, column, f"one is empty, or all have more than {MOST_LETTERS:,} letters"
        )
    return texts


def _picture(number: int, shown: Callable[[Any], Picture], cell: Any) -> bytes:
    try:
        return shown(cell)()
    except (OSError, ValueError) as error:
        raise _wrong(number, "image", str(error)) from error
    except Skip:
        raise _wrong(number, "image", "it is empty") from None


def _wrong(number: int, column: str, why: str) -> ValueError:
    return ValueError(f"row {number}, column {column}: {why}")


def _open(file: Path, images: Path | None) -> Opened:
    if file.stat().st_size > 16 * MOST_BYTES_OF_TABLE:
        raise ValueError(f"{file.name} is larger than any table of questions")
    place = images or file.resolve().parent

    def named(name: str) -> Picture:
        if images is not None and Path(name).is_absolute():
            try:
                name = str(Path(name).relative_to(images.resolve()))
            except ValueError:
                raise ValueError(f"{name[:200]!r} does not lie in {images}") from None
        return inside(place, name).read_bytes

    return _cells(file.suffix.lower(), lambda: file.open("rb")), _shown(named)


def _shown(named: Callable[[str], Picture]) -> Callable[[Any], Picture]:
    """The picture of a cell: a name, or in a Parquet file the picture itself."""

    def shown(cell: Any) -> Picture:
        if not isinstance(cell, str):
            # A path beside the bytes is nobody's business.
            return of_cell({"bytes": cell.get("bytes")} if isinstance(cell, dict) else cell)
        if not cell.strip():
            raise Skip("empty")
        return named(cell.strip())

    return shown


def _open_archive(archive: zipfile.ZipFile) -> Opened:
    entries = archive.infolist()
    if len(entries) > MOST_FILES or sum(one.file_size for one in entries) > MOST_BYTES_IN_ALL:
        raise ValueError(f"it holds more than {MOST_FILES:,} files or {MOST_BYTES_IN_ALL:,} bytes")
    # What a Mac packs beside the files is none of them.
    files = [one for one in entries if not one.is_dir() and "__MACOSX" not in one.filename]
    tables = [one for one in files if PurePosixPath(one.filename).suffix.lower() in SUFFIXES[:-1]]
    if len(tables) != 1:
        raise ValueError(
            f"it holds {len(tables)} tables ({', '.join(SUFFIXES[:-1])}); there must be one"
        )
    for one in files:
        if stat.S_IFMT(one.external_attr >> 16) not in (0, stat.S_IFREG):
            raise ValueError(f"{one.filename[:80]!r} in it is no plain file")
    table = sound(tables[0], MOST_BYTES_OF_TABLE)
    above = PurePosixPath(table.filename).parent
    by_name = {PurePosixPath(one.filename): one for one in files}

    def named(name: str) -> Picture:
        entry = by_name.get(above / PurePosixPath(name.replace("\\", "/")))
        if entry is None:
            raise FileNotFoundError(f"there is no {name[:200]!r} beside the table in the zip file")
        return partial(archive.read, sound(entry, MAX_BYTES))

    data = archive.read(table)
    return _cells(PurePosixPath(table.filename).suffix.lower(), lambda: io.BytesIO(data)), _shown(
        named
    )


def _cells(suffix: str, opened: Callable[[], Any]) -> Iterator[dict[str, Any]]:
    """The rows of a table, by its kind."""
    reader = {".jsonl": _json_lines, ".parquet": _parquet}.get(suffix, partial(_csv, suffix))
    rows = reader(opened())
    first = next(rows, None)
    if first is None:
        raise ValueError("the table holds no row")
    columns = set(first)
    for name in ("image", "question"):
        if name not in columns:
            raise ValueError(
                f"there is no column {name}; there are {', '.join(sorted(map(str, columns)))[:300]}"
            )
    if not columns & {"answer", "answers"}:
        raise ValueError("there is no column answer (nor answers)")
    yield first
    yield from rows


def _csv(suffix: str, file: Any) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(MOST_BYTES_OF_TABLE)
    lines = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        table = csv.DictReader(lines, delimiter="\t" if suffix == ".tsv" else ",", strict=True)
        for number, row in enumerate(table, 1):
            if None in row or None in row.values():
                raise ValueError(
                    f"row {number} has {'more' if None in row else 'fewer'} cells than the header "
                    "names; put texts with commas in quotes"
                )
            yield row
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"the table cannot be read as UTF-8 text with columns: {error}") from error


def _json_lines(file: Any) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(io.TextIOWrapper(file, encoding="utf-8-sig"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"row {number} is no JSON: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"row {number} is no JSON object")
        yield row


def _parquet(file: Any) -> Iterator[dict[str, Any]]:
    try:
        table = pq.ParquetFile(file)
        names = [name for name in table.schema_arrow.names if name in COLUMNS]
        for batch in table.iter_batches(256, columns=names):
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"the table is no Parquet file that can be read: {error}") from error


if __name__ == "__main__":
    apart.serve(unpack, *sys.argv[1:])
