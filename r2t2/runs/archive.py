"""Runs as one file: written for anybody, and taken in from anybody.

A file from somebody else is read in a process of its own, which may use little memory and time
and write into one empty folder only, and of which nothing is believed but what it has counted
again. The names in the file are not used for anything: what a run's folder is called follows
from its spec.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock

from r2t2 import apart
from r2t2.files import sound
from r2t2.metrics import is_correct
from r2t2.rerouting.settings import PAPER, Setting
from r2t2.runs.store import DamagedRun, Run, TableName, figures, list_runs
from r2t2.sites import expert_names

SUFFIX = ".r2t2.zip"
FILES = ("manifest.json", "samples.parquet", "steps.parquet")
# Far above any run of this program's (800 samples with all steps: 0.3 MB), far below what hurts.
MOST_RUNS = 5000
MOST_BYTES = {"manifest.json": 2**20, "samples.parquet": 2**29, "steps.parquet": 2**30}
MOST_BYTES_IN_ALL = 2**32
MOST_BYTES_OF_TABLE = 2**30
MOST_ROWS_OF_SAMPLE = 100
MOST_LETTERS = 300

_NAME = re.compile(rf"(?!\.\.?/)([^/\\]+)/({'|'.join(map(re.escape, FILES))})")


@dataclass(frozen=True)
class Imported:
    """What became of one run of a file.

    Parameters
    ----------
    run : as it lies in the cache now; where it was there already, that one.
    added : whether it is new there.
    """

    run: Run
    added: bool


def export_runs(runs: Sequence[Run], to: Path | IO[bytes]) -> None:
    """Write complete runs into one zip file; the same runs always give the same bytes.

    Raises
    ------
    ValueError : there is none, or one is not complete.
    DamagedRun : a file of one is missing or damaged.
    """
    if not runs:
        raise ValueError("name one or more runs to export")
    for run in runs:
        if run.status != "complete":
            raise ValueError(f"{run.folder.name} is not complete: {run.done} of {run.spec.size}")
        if run.damaged:
            raise DamagedRun(f"{', '.join(run.damaged)} of {run.folder.name} is damaged")
    with zipfile.ZipFile(to, "w") as archive:
        for run in runs:
            for name in FILES:
                # Not compressed: parquet files are already.
                entry = zipfile.ZipInfo(f"{run.spec.folder}/{name}")
                archive.writestr(entry, (run.folder / name).read_bytes())


def import_runs(file: Path, folder: Path) -> list[Imported]:
    """Take the runs of a zip file into a folder of runs, all of them or, if one is bad, none.

    A run that is there already stays as it is.

    Raises
    ------
    FileNotFoundError : there is no such file.
    ValueError : it is none that `export_runs` writes; the message says why.
    """
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".import.lock"):
        # One name for all imports, so that the next one clears away what a crash left behind.
        scratch = folder / ".import"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            _apart(file, scratch)
            there = {run.id: run for run in list_runs(folder)}
            runs = [Run.load(path) for path in sorted(scratch.iterdir())]
            return [_placed(run, folder, there) for run in runs]
        finally:
            shutil.rmtree(scratch)


def _placed(run: Run, folder: Path, there: dict[str, Run]) -> Imported:
    if run.id in there:
        return Imported(there[run.id], added=False)
    place = folder / run.spec.folder
    try:
        os.rename(run.folder, place)
    except OSError:
        raise ValueError(
            f"{place.name} is in the way: it is there, but holds another run or none that can be "
            "read; delete it and import the file again"
        ) from None
    return Imported(Run.load(place), added=True)


def _apart(file: Path, folder: Path) -> None:
    """`unpack` in a process of its own."""
    apart.call(__name__, str(file.resolve()), str(folder.resolve()))


def unpack(file: Path, folder: Path) -> None:
    """Write the runs of a zip file into an empty folder, numbered, and verify them.

    Raises
    ------
    ValueError : one of them is not what `export_runs` writes.
    """
    if not zipfile.is_zipfile(file):
        raise ValueError("it is no zip file")
    ids: set[str] = set()
    with zipfile.ZipFile(file) as archive:
        for number, (name, entries) in enumerate(_listed(archive).items()):
            place = folder / f"{number:05d}"
            place.mkdir()
            for entry_name, entry in entries.items():
                with archive.open(entry) as source, (place / entry_name).open("wb") as target:
                    shutil.copyfileobj(source, target)
            try:
                run = Run.load(place)
                verify(run)
                if run.id in ids:
                    raise ValueError("it is there twice")
            except ValueError as error:
                raise ValueError(f"{name[:80]}: {error.__cause__ or error}") from error
            ids.add(run.id)
            told = {**run.manifest, "imported": datetime.now(UTC).isoformat(timespec="seconds")}
            (place / "manifest.json").write_text(json.dumps(told, indent=1) + "\n")


def _listed(archive: zipfile.ZipFile) -> dict[str, dict[str, zipfile.ZipInfo]]:
    """The entries of a zip file by run and file, none of them read yet."""
    runs: dict[str, dict[str, zipfile.ZipInfo]] = {}
    entries = archive.infolist()
    if len(entries) > MOST_RUNS * len(FILES):
        raise ValueError(f"it holds {len(entries)} files; {MOST_RUNS} runs are the most")
    for entry in entries:
        match = _NAME.fullmatch(entry.filename)
        mode = stat.S_IFMT(entry.external_attr >> 16)
        if match is None or mode not in (0, stat.S_IFREG):
            raise ValueError(f"{entry.filename[:80]!r} in it is no file of a run")
        files = runs.setdefault(match[1], {})
        if match[2] in files:
            raise ValueError(f"it holds {entry.filename[:80]!r} twice")
        files[match[2]] = sound(entry, MOST_BYTES[match[2]])
    if sum(entry.file_size for entry in entries) > MOST_BYTES_IN_ALL:
        raise ValueError(f"it would be more than {MOST_BYTES_IN_ALL:,} bytes")
    for name, files in runs.items():
        if missing := [file for file in FILES if file not in files]:
            raise ValueError(f"{name[:80]} in it lacks {', '.join(missing)}")
    if not runs:
        raise ValueError("it holds no run")
    return runs


def verify(run: Run) -> None:
    """Read all of a complete run and hold it against its manifest.

    Raises
    ------
    ValueError : the manifest says what is not so, or what this program could not have made.
    """
    told = run.manifest["shards"]
    shards = [(shard["first"], shard["rows"], sorted(shard["files"])) for shard in told]
    if run.status != "complete" or shards != [(0, run.spec.size, sorted(FILES[1:]))]:
        raise ValueError("it is not complete")
    if damaged := run.damaged:
        raise ValueError(f"{' and '.join(damaged)} is not what its manifest says")
    _check_names(run)
    if not run.spec.external:
        _check_setting(run.spec.setting)
    samples, steps = _table(run, "samples"), _table(run, "steps")
    _check_samples(run, samples)
    _check_steps(run, steps)
    if run.figures != figures(samples):
        raise ValueError("its figures are not those of its samples")


def _check_names(run: Run) -> None:
    spec, sites = run.spec, run.sites
    names = [spec.model, spec.reference, spec.benchmark, spec.strategy]
    names += [name for site in sites for name in (site.name, *site.experts)]
    if not all(0 < len(name) <= MOST_LETTERS for name in names):
        raise ValueError(f"a name in it is empty or longer than {MOST_LETTERS} letters")
    if len({site.name for site in sites}) < len(sites) or not all(
        0 < len(set(site.experts)) == len(site.experts) for site in sites
    ):
        raise ValueError("two of its sites, or two experts of one, have the same name")


def _check_setting(options: dict[str, Any]) -> None:
    for name, value in options.items():
        usual = getattr(PAPER, name, None)
        kinds = (int, float) if isinstance(usual, float) else type(usual)
        if not isinstance(value, kinds) and (name, value) != ("bandwidth", "median"):
            raise ValueError(f"its setting has {name} {value!r}")
    if Setting(**options).options != options:
        raise ValueError("its setting has options that its strategy does not use")


def _table(run: Run, name: TableName) -> pa.Table:
    """A run's table, if it is no larger than one of its kind can be and lacks no value."""
    told = pq.read_metadata(run.folder / f"{name}.parquet")
    size = sum(told.row_group(i).total_byte_size for i in range(told.num_row_groups))
    if told.num_rows > MOST_ROWS_OF_SAMPLE * run.spec.size or size > MOST_BYTES_OF_TABLE:
        raise ValueError(f"{name}.parquet would be {told.num_rows:,} rows and {size:,} bytes")
    table = run.read(name).combine_chunks()
    if table.nbytes > MOST_BYTES_OF_TABLE:
        raise ValueError(f"{name}.parquet holds {table.nbytes:,} bytes")
    table.validate(full=True)
    lists = [column for column in table.columns if pa.types.is_list(column.type)]
    if any(column.null_count for column in (*table.columns, *map(pc.list_flatten, lists))):
        raise ValueError(f"values are missing in {name}.parquet")
    return table


def _check_samples(run: Run, samples: pa.Table) -> None:
    positions = samples["position"].to_numpy()
    # Another evaluator may have left samples out.
    whole = np.arange(run.spec.size) if not run.spec.external else np.unique(positions)
    if not np.array_equal(positions, whole) or positions.min() < 0:
        raise ValueError("its samples are not those from 0 on, once each")
    _check_experts(run, samples["top1_before"], samples["top1_after"])
    for score, correct in (("base_score", "base_correct"), ("score", "correct")):
        scores = samples[score].to_numpy()
        if not np.all((scores >= 0) & (scores <= 1)):
            raise ValueError("its scores do not lie between 0 and 1")
        if not np.array_equal(is_correct(scores), samples[correct].to_numpy()):
            raise ValueError("its scores are not those of its right answers")
    near, distance, weight, before, after = (
        pc.list_value_length(samples[name]).to_numpy()
        for name in samples.schema.names
        if name.startswith("neighbour")
    )
    same = (near == distance) & (near == weight) & (before == after)
    if not np.all(same & ((before == near) | (before == 0))):
        raise ValueError("a sample of it has more neighbours than distances, weights or losses")


def _check_steps(run: Run, steps: pa.Table) -> None:
    size = run.spec.size
    each, odd = divmod(len(steps), size)
    if odd or (run.spec.trace == "none") != (each == 0):
        raise ValueError("its samples have not as many steps as it says")
    if not each:
        return
    numbers = steps["step"].to_numpy().reshape(size, each)
    positions = steps["position"].to_numpy().reshape(size, each)
    if not np.array_equal(positions, np.arange(size)[:, None].repeat(each, 1)):
        raise ValueError("its steps are not those of its samples")
    if numbers.min() < 0 or not np.all(numbers == numbers[0]):
        raise ValueError("its samples have different steps")
    _check_experts(run, steps["top1"])
    width = len(run.sites) * max(len(site.experts) for site in run.sites)
    if not np.all(pc.list_value_length(steps["r"]).to_numpy() == width):
        raise ValueError("its routing weights are not those of its sites")


def _check_experts(run: Run, *columns: pa.ChunkedArray) -> None:
    known = set(expert_names(run.sites))
    for column in columns:
        if not set(column.unique().to_pylist()) <= known:
            raise ValueError("it names an expert that its sites do not have")


if __name__ == "__main__":
    apart.serve(lambda file, folder: unpack(Path(file), Path(folder)), *sys.argv[1:])
