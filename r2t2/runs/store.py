"""Where runs are kept: one folder each, a manifest that vouches for its parquet files.

A run that is being computed has a pair of files per shard, samples-00000.parquet and
steps-00000.parquet; a complete one has a single pair, samples.parquet and steps.parquet. The
manifest names every file with its checksum, and a file that it does not name is not part of
the run: whatever moment a process is killed at, the last manifest written is true.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from r2t2 import metrics
from r2t2.files import held, written
from r2t2.runs.identity import RunSpec, Trace
from r2t2.sites import Site

FORMAT = 1
FIGURES = ("n", "accuracy", "base_accuracy", "wrong_to_right", "right_to_wrong")
# What a manifest of before there were metrics lacks.
SCORES = ("score", "base_score", "maximum", "metric")
# What a shard holds of what it took; older ones lack the last two and the peak.
_SECONDS = ("strategy_seconds", "wall_seconds", "encoding_seconds", "answer_seconds")
_PEAK = "peak_memory"
# Seconds, of three hundred years: what takes longer would not fit into a page's forecasts.
_NO_TIME = 1e10
TableName = Literal["samples", "steps"]

_FLOATS = pa.list_(pa.float32())
SCHEMAS: dict[TableName, pa.Schema] = {
    "samples": pa.schema(
        {
            "position": pa.int32(),
            "sample": pa.string(),
            "category": pa.string(),
            "label": pa.string(),
            "base_answer": pa.string(),
            "answer": pa.string(),
            "base_correct": pa.bool_(),
            "correct": pa.bool_(),
            "base_score": pa.float32(),
            "score": pa.float32(),
            "metric": pa.string(),
            "group": pa.string(),
            "base_confidence": pa.float32(),
            "confidence": pa.float32(),
            "top1_before": pa.string(),
            "top1_after": pa.string(),
            "forward": pa.int32(),
            "backward": pa.int32(),
            "objective_before": pa.float32(),
            "objective_after": pa.float32(),
            "neighbours": pa.list_(pa.int32()),
            "neighbour_distance": _FLOATS,
            "neighbour_weight": _FLOATS,
            "neighbour_loss_before": _FLOATS,
            "neighbour_loss_after": _FLOATS,
        }
    ),
    "steps": pa.schema(
        {
            "position": pa.int32(),
            "step": pa.int32(),
            "objective": pa.float32(),
            "answer": pa.string(),
            "correct": pa.bool_(),
            "confidence": pa.float32(),
            "top1": pa.string(),
            "r": _FLOATS,
        }
    ),
}
# Columns that files of before there were metrics lack: there an answer matched the label or not.
_LATER = {"base_score": "base_correct", "score": "correct", "metric": "match", "group": ""}
_EARLIER = pa.schema([field for field in SCHEMAS["samples"] if field.name not in _LATER])
# Rounded floats are smaller without a dictionary before zstd, repeated texts with one.
_TEXTS: dict[str, list[str]] = {
    table: [field.name for field in schema if field.type == pa.string()]
    for table, schema in SCHEMAS.items()
}
# Only these files are ever read or deleted, so no manifest can name one outside its folder.
_FILE = re.compile(r"(samples|steps)(-\d{5})?\.parquet")
# The packages whose versions can change a result or the bytes that it is stored in.
_PACKAGES = (
    "torch",
    "numpy",
    "faiss-cpu",
    "transformers",
    "sentence-transformers",
    "pillow",
    "pyarrow",
)


def is_file(name: str) -> bool:
    """Whether a file of a run may have this name."""
    return _FILE.fullmatch(name) is not None


class UnreadableRun(ValueError):
    """A folder holds no readable manifest of a run."""


class DamagedRun(ValueError):
    """A file of a run is missing or not what its manifest says."""


class RunLocked(RuntimeError):
    """A run is being written by another process."""


@dataclass(frozen=True)
class Run:
    """One run as its manifest told when it was read.

    Parameters
    ----------
    folder : where it lies.
    manifest : format, id, spec, status, sites (of the model), shards (first, rows, files with
        their sha256, and their `costs`), device, versions, created; when complete
        also figures, timings and finished; when it came from another cache also imported.
    """

    folder: Path
    manifest: dict[str, Any]

    @staticmethod
    def load(folder: Path) -> Run:
        """Read a run's manifest.

        Raises
        ------
        UnreadableRun : there is none, or it is none of this program's; the message says why.
        """
        try:
            text = (folder / "manifest.json").read_text()
        except FileNotFoundError:
            raise UnreadableRun(f"{folder.name} has no manifest.json") from None
        except Exception as error:
            raise UnreadableRun(f"the manifest of {folder.name} is damaged: {error}") from error
        return Run.parse(folder, text)

    @staticmethod
    def parse(folder: Path, text: str) -> Run:
        """The run of a folder whose manifest has this text.

        Raises
        ------
        UnreadableRun : it is no manifest of this program's; the message says why.
        """
        try:
            manifest = json.loads(text)
            _check(manifest)
        except Exception as error:  # whatever else was put there
            raise UnreadableRun(f"the manifest of {folder.name} is damaged: {error}") from error
        return Run(folder, manifest)

    @cached_property
    def spec(self) -> RunSpec:
        """What it is a run of."""
        return RunSpec(**self.manifest["spec"])

    @property
    def id(self) -> str:
        """Its spec's."""
        return self.spec.id

    @cached_property
    def sites(self) -> tuple[Site, ...]:
        """The model's routing sites, in the order of `r`."""
        return tuple(Site(site["name"], tuple(site["experts"])) for site in self.manifest["sites"])

    @property
    def status(self) -> Literal["running", "complete"]:
        """ "running" means unfinished, whether or not a process is at work on it."""
        return self.manifest["status"]

    @property
    def busy(self) -> bool:
        """Whether a process is at work on it now."""
        return held(self.folder / ".lock")

    @property
    def done(self) -> int:
        """The number of samples stored."""
        return sum(shard["rows"] for shard in self.manifest["shards"])

    @property
    def figures(self) -> dict[str, Any]:
        """n, accuracy, base_accuracy (fractions), wrong_to_right, right_to_wrong (counts); score
        and base_score (the benchmark's own, `metrics.benchmark_score`), their maximum, and metric
        (the names of those that its samples have).

        Empty until the run is complete.
        """
        told = self.manifest.get("figures", {})
        if not told or "score" in told:
            return told
        accuracies = {"score": told["accuracy"], "base_score": told["base_accuracy"]}
        return {**told, **accuracies, "maximum": 1.0, "metric": "match"}

    @property
    def costs(self) -> dict[str, float]:
        """strategy_seconds, wall_seconds, encoding_seconds and answer_seconds of the samples stored
        (`runner.Shard`); peak_memory, the highest of the shards' in bytes. All but the first two
        are left out where a shard lacks them, as older ones and those of other evaluators do.
        """
        shards = self.manifest["shards"]
        told: dict[str, float] = {
            name: round(sum(shard[name] for shard in shards), 4)
            for name in _SECONDS
            if all(name in shard for shard in shards)
        }
        peaks = [shard.get(_PEAK) for shard in shards]
        if peaks and None not in peaks:
            told[_PEAK] = max(peaks)
        return told

    def samples(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """One row per sample stored (`SCHEMAS["samples"]`), by position.

        Raises
        ------
        DamagedRun : a file is missing or damaged.
        """
        return self.read("samples", columns).to_pandas()

    def steps(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """One row per sample and step stored (`SCHEMAS["steps"]`); step 0 is the base model.

        `r` is flattened, sites before experts. Leaving it out makes a large run much faster.

        Raises
        ------
        DamagedRun : a file is missing or damaged.
        """
        return self.read("steps", columns).to_pandas()

    def read(self, table: TableName, columns: Sequence[str] | None = None) -> pa.Table:
        """`samples` or `steps` without the way to pandas."""
        try:
            parts = [
                self._file(name, checksum, SCHEMAS[table], columns)
                for shard in self.manifest["shards"]
                for name, checksum in shard["files"].items()
                if name.startswith(table)
            ]
        except DamagedRun:
            # Its process may have merged the shards since this manifest was read.
            now = Run.load(self.folder)
            if now.manifest == self.manifest:
                raise
            return now.read(table, columns)
        schema = SCHEMAS[table]
        if not parts:
            names = schema.names if columns is None else columns
            return pa.schema([schema.field(name) for name in names]).empty_table()
        return pa.concat_tables(parts)

    @property
    def files(self) -> dict[str, str]:
        """The names of its files, with their checksums."""
        return {n: c for shard in self.manifest["shards"] for n, c in shard["files"].items()}

    @property
    def damaged(self) -> list[str]:
        """The names of the files that are missing or not what the manifest says."""
        return [
            name
            for name, checksum in self.files.items()
            if not _intact(self.folder / name, checksum)
        ]

    @property
    def strays(self) -> list[Path]:
        """Files of this program in the folder that the manifest does not name."""
        named = self.files
        return [
            path
            for path in self.folder.iterdir()
            if (is_file(path.name) and path.name not in named)
            or (path.name.startswith(".") and path.name.endswith(".part"))
        ]

    def _file(
        self, name: str, checksum: str, schema: pa.Schema, columns: Sequence[str] | None
    ) -> pa.Table:
        try:
            content = _content(self.folder / name)
            if hashlib.sha256(content).hexdigest() != checksum:
                raise ValueError("its checksum is not the manifest's")
            file = pq.ParquetFile(pa.BufferReader(content))
            # What else a file says of its columns would be obeyed by pandas.
            return _columns(file, schema, columns).replace_schema_metadata(None)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DamagedRun(
                f"{name} of the run {self.folder.name} is damaged ({error}); run the same "
                "command again and it is computed anew"
            ) from error


def _columns(file: pq.ParquetFile, schema: pa.Schema, columns: Sequence[str] | None) -> pa.Table:
    """Some columns of a file, those that it is too old for made of what it has."""
    if file.schema_arrow.equals(schema):
        return file.read(columns=columns, use_threads=False)
    if schema is not SCHEMAS["samples"] or not file.schema_arrow.equals(_EARLIER):
        raise ValueError("its columns are another version's")
    names = schema.names if columns is None else columns
    table = file.read(columns=list({*names} - {*_LATER} | {"base_correct", "correct"}))
    for name, stands_for in _LATER.items():
        made = (
            table[stands_for].cast(pa.float32())
            if name.endswith("score")
            else pa.repeat(stands_for, len(table))
        )
        table = table.append_column(schema.field(name), made)
    return table.select(list(names))


@lru_cache(maxsize=8192)
def _loaded(folder: Path, stamp: tuple[int, int]) -> Run | UnreadableRun:
    try:
        return Run.load(folder)
    except UnreadableRun as error:
        return error


def _stamp(manifest: Path) -> tuple[int, int]:
    """What changes when a file does: a manifest is replaced, never written into."""
    try:
        told = manifest.stat()
    except OSError:
        return (0, 0)
    return (told.st_mtime_ns, told.st_ino)


def scan(folder: Path) -> tuple[list[Run], dict[Path, str]]:
    """All runs in a folder by name, and what was skipped with the reason."""
    runs, skipped = [], {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if not path.is_dir() or path.name.startswith("."):
            continue
        found = _loaded(path, _stamp(path / "manifest.json"))
        if isinstance(found, Run):
            runs.append(found)
        else:
            skipped[path] = str(found)
    return runs, skipped


def list_runs(folder: Path) -> list[Run]:
    """All readable runs in a folder, by name; `scan` also says what was skipped."""
    return scan(folder)[0]


def find(folder: Path, id: str) -> Run:
    """The run whose id starts so.

    Raises
    ------
    KeyError : there is none, or several; the message lists the candidates.
    """
    runs = list_runs(folder)
    matching = [run for run in runs if run.id.startswith(id)]
    if len(matching) == 1:
        return matching[0]
    problem = "several runs have an id that starts" if matching else "no run has an id that starts"
    candidates = [f"{run.id} ({run.folder.name})" for run in matching or runs]
    more = f" and {len(candidates) - 10} more" if len(candidates) > 10 else ""
    listed = ", ".join(candidates[:10]) or "none"
    raise KeyError(f"{problem} with {id!r}; there are: {listed}{more}")


def delete(run: Run) -> None:
    """Remove a run's folder.

    Raises
    ------
    RunLocked : a process is writing it.
    """
    with locked(run.folder):
        # First, so that what a kill leaves behind is no run.
        (run.folder / "manifest.json").unlink(missing_ok=True)
        shutil.rmtree(run.folder)


def runs_table(runs: Sequence[Run]) -> pd.DataFrame:
    """One row per run; accuracies and counts are missing where a run is not complete.

    Columns: id, model, reference, benchmark, seed, strategy, status, n, accuracy,
    base_accuracy, wrong_to_right, right_to_wrong, score, base_score, maximum, metric, done
    (samples stored), created (UTC, text).
    """
    named = ("model", "reference", "benchmark", "seed", "strategy")
    rows = [
        {
            "id": run.id,
            **{name: getattr(run.spec, name) for name in named},
            "status": run.status,
            **{name: run.figures.get(name) for name in (*FIGURES, *SCORES)},
            "n": run.spec.size,
            "done": run.done,
            "created": run.manifest["created"],
        }
        for run in runs
    ]
    table = pd.DataFrame(
        rows, columns=["id", *named, "status", *FIGURES, *SCORES, "done", "created"]
    )
    counts = ("seed", "n", "done", "wrong_to_right", "right_to_wrong")
    fractions = ("accuracy", "base_accuracy", "score", "base_score", "maximum")
    types = {**dict.fromkeys(counts, "Int64"), **dict.fromkeys(fractions, "float64")}
    return table.astype(types)


def costs_table(runs: Sequence[Run]) -> pd.DataFrame:
    """What runs took: one row per run that was computed here or elsewhere, by this program.

    Columns: id, model, reference, benchmark, seed, strategy, device, imported, n (samples
    stored), forward and backward (passes of a sample, the mean), and `Run.costs`. What a run
    lacks is nan, as are the passes of one whose file is damaged.
    """
    named = ("model", "reference", "benchmark", "seed", "strategy")
    rows = [
        {
            "id": run.id,
            **{name: getattr(run.spec, name) for name in named},
            "device": run.manifest["device"],
            "imported": "imported" in run.manifest,
            "n": run.done,
            **_mean_passes(run),
            **run.costs,
        }
        for run in runs
        if not run.spec.external
    ]
    numbers = ["forward", "backward", *_SECONDS, _PEAK]
    columns = ["id", *named, "device", "imported", "n", *numbers]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(numbers, "float64"))


def _mean_passes(run: Run) -> dict[str, float]:
    try:
        passes = run.read("samples", ["forward", "backward"])
    except (DamagedRun, UnreadableRun):
        return {}
    return {name: float(passes[name].to_numpy().mean()) for name in passes.column_names}


def gather(
    runs: Sequence[Run],
    table: TableName = "samples",
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The rows of several runs, with run (its id), model, benchmark, seed and strategy first.

    Texts are categories: a column of them is as small and fast as one of numbers.

    Raises
    ------
    DamagedRun : a file of one of them is missing or damaged.
    """
    parts = [run.read(table, columns) for run in runs] or [
        Run(Path(), {"shards": []}).read(table, columns)
    ]
    rows = pa.concat_tables(parts).to_pandas(strings_to_categorical=True)
    lengths = [len(part) for part in parts] if runs else []
    which = np.repeat(np.arange(len(lengths)), lengths)
    rows.insert(0, "run", _repeated([run.id for run in runs], which))
    for place, name in enumerate(("model", "benchmark", "seed", "strategy"), 1):
        values = [getattr(run.spec, name) for run in runs]
        repeated = np.array(values, int)[which] if name == "seed" else _repeated(values, which)
        rows.insert(place, name, repeated)
    return rows


def _repeated(names: Sequence[str], which: np.ndarray) -> pd.Categorical:
    codes, known = pd.factorize(np.array(names, object))
    return pd.Categorical.from_codes(codes[which], known)


def figures(samples: pa.Table) -> dict[str, Any]:
    """A run's figures (`Run.figures`), counted from its sample rows."""
    before = samples["base_correct"].to_numpy()
    after = samples["correct"].to_numpy()
    names, groups = samples["metric"].unique().to_pylist(), samples["group"].to_pylist()
    how, categories = metrics.aggregation(names, groups), samples["category"].to_pylist()
    (score, maximum), (base_score, _) = (
        metrics.benchmark_score(how, samples[name].to_pylist(), categories, groups)
        for name in ("score", "base_score")
    )
    return {
        "n": len(samples),
        "accuracy": float(np.mean(after)),
        "base_accuracy": float(np.mean(before)),
        "wrong_to_right": int(np.sum(~before & after)),
        "right_to_wrong": int(np.sum(before & ~after)),
        "score": score,
        "base_score": base_score,
        "maximum": maximum,
        "metric": ", ".join(sorted(names)),
    }


class Writer:
    """Adds shards to one run; made by `writing`, which holds the run's lock.

    Attributes
    ----------
    notes : what of an earlier session could not be kept, and why.
    """

    def __init__(self, folder: Path, spec: RunSpec, sites: Sequence[Site], device: str) -> None:
        self.notes: list[str] = []
        self._folder, self._spec = folder, spec
        begun: dict[str, Any] = {
            "format": FORMAT,
            "id": spec.id,
            "spec": asdict(spec),
            "status": "running",
            "sites": [{"name": site.name, "experts": list(site.experts)} for site in sites],
            "shards": [],
            "device": device,
            "versions": versions(),
            "created": _now(),
        }
        self._manifest = self._resumed(begun) if (folder / "manifest.json").exists() else begun
        self._save()
        for stray in Run(folder, self._manifest).strays:
            stray.unlink()

    @property
    def done(self) -> int:
        """The number of samples stored."""
        return Run(self._folder, self._manifest).done

    @property
    def missing(self) -> list[int]:
        """The first positions of the shards that are still to be computed."""
        there = {
            position
            for shard in self._manifest["shards"]
            for position in range(shard["first"], shard["first"] + shard["rows"])
        }
        return [i for i in range(0, self._spec.size, self._spec.shard) if i not in there]

    def add(
        self,
        first: int,
        samples: pa.Table,
        steps: pa.Table,
        strategy_seconds: float,
        wall_seconds: float,
        encoding_seconds: float | None = None,
        answer_seconds: float | None = None,
        peak_memory: int | None = None,
    ) -> None:
        """Store the shard whose first sample has the position `first`."""
        number = f"-{first // self._spec.shard:05d}"
        costs = {
            "strategy_seconds": strategy_seconds,
            "wall_seconds": wall_seconds,
            "encoding_seconds": encoding_seconds,
            "answer_seconds": answer_seconds,
            _PEAK: peak_memory,
        }
        known = {name: value for name, value in costs.items() if value is not None}
        shard = self._store(number, first, samples, steps, known)
        shards = [*self._manifest["shards"], shard]
        self._manifest["shards"] = sorted(shards, key=lambda shard: shard["first"])
        self._save()

    def finish(self) -> None:
        """Merge the shards of a run that misses none, and count its figures."""
        if self._manifest["status"] == "complete":
            return
        run = Run(self._folder, self._manifest)
        costs, samples = run.costs, run.read("samples")
        shard = self._store("", 0, samples, run.read("steps"), costs)
        self._manifest |= {
            "status": "complete",
            "shards": [shard],
            "figures": figures(samples),
            "timings": {
                **costs,
                "samples_per_second": round(len(samples) / costs["wall_seconds"], 2),
            },
            "finished": _now(),
        }
        self._save()
        for stray in Run(self._folder, self._manifest).strays:
            stray.unlink()

    def _resumed(self, begun: dict[str, Any]) -> dict[str, Any]:
        """The manifest of an earlier session with the shards that are still good."""
        try:
            run = Run.load(self._folder)
            if run.id != self._spec.id:
                raise UnreadableRun(f"the manifest of {self._folder.name} is another run's")
        except UnreadableRun as error:
            self.notes.append(f"{error}; all is computed anew")
            return begun
        damaged = run.damaged
        if not damaged and run.status == "complete":
            return run.manifest
        self.notes += [f"{name} is damaged; its samples are computed anew" for name in damaged]
        kept = [shard for shard in run.manifest["shards"] if not {*damaged} & {*shard["files"]}]
        # Shards of two machines would add up to a run that neither of them gives.
        of = ("device", "versions")
        if kept and any(run.manifest.get(name) != begun[name] for name in of):
            self.notes.append(
                "its shards were computed on another device or with other package versions; "
                "all is computed anew"
            )
            return begun
        return {**begun, "shards": kept, "created": run.manifest["created"]}

    def _store(
        self, number: str, first: int, samples: pa.Table, steps: pa.Table, costs: dict[str, float]
    ) -> dict[str, Any]:
        files = {}
        for table, rows in (("samples", samples), ("steps", steps)):
            path = self._folder / f"{table}{number}.parquet"
            with written(path) as part:
                # One chunk per column, so that the bytes do not tell how the rows came.
                pq.write_table(
                    rows.combine_chunks(),
                    part,
                    compression="zstd",
                    compression_level=12,
                    use_dictionary=_TEXTS[table],
                )
            files[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return {"first": first, "rows": len(samples), "files": files, **costs}

    def _save(self) -> None:
        with written(self._folder / "manifest.json") as part:
            part.write_text(json.dumps(self._manifest, indent=1) + "\n")


@contextmanager
def writing(folder: Path, spec: RunSpec, sites: Sequence[Site], device: str) -> Iterator[Writer]:
    """A writer for the run in a folder, which no other process can write meanwhile.

    Parameters
    ----------
    sites : the model's, so that who reads the run need not load the model.

    Raises
    ------
    RunLocked : another process is writing it.
    """
    with locked(folder):
        yield Writer(folder, spec, sites, device)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """A run's lock, its folder being made where there is none.

    Raises
    ------
    RunLocked : another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0.5)  # longer than anyone looks (`held`)
    except Timeout:
        raise RunLocked(
            f"the run {folder.name} is being written by another process; wait until it is done "
            "or stop it"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _check(manifest: dict[str, Any]) -> None:
    """Refuse a manifest that the rest of this module could not rely on."""
    if manifest["format"] != FORMAT:
        raise ValueError(f"its format is {manifest['format']!r}, not {FORMAT}")
    spec = RunSpec(**manifest["spec"])
    kinds = {"str": str, "int": int, "bool": bool, "dict[str, Any]": dict}
    for field in fields(RunSpec):
        if type(getattr(spec, field.name)) is not kinds[str(field.type)]:
            raise ValueError(f"{field.name} in its spec is no {field.type}")
    if spec.trace not in get_args(Trace) or not all(
        low <= value < 2**31
        for low, value in ((0, spec.seed), (1, spec.size), (1, spec.shard), (0, spec.arithmetic))
    ):
        raise ValueError("its spec is none of this program's")
    if not all(isinstance(value, str | int | float) for value in spec.setting.values()):
        raise ValueError("an option in its setting is neither a text nor a number")
    if spec.id != manifest["id"]:
        raise ValueError("its id is not that of its spec")
    for shard in manifest["shards"]:
        named = [_FILE.fullmatch(name) for name in shard["files"]]
        if sorted(match[1] if match else "" for match in named) != ["samples", "steps"]:
            raise ValueError(f"it names the files {', '.join(shard['files'])}")
        if not all(type(shard[name]) is int and shard[name] >= 0 for name in ("first", "rows")):
            raise ValueError("a shard has no place")
        _check_costs(shard)
    for site in manifest["sites"]:
        if not all(isinstance(name, str) for name in (site["name"], *site["experts"])):
            raise ValueError("a routing site has no name or no experts")
    if manifest["status"] not in ("running", "complete"):
        raise ValueError(f"its status is {manifest['status']!r}")
    rows, complete = sum(shard["rows"] for shard in manifest["shards"]), "figures" in manifest
    if complete != (manifest["status"] == "complete") or rows > spec.size:
        raise ValueError("its shards and figures are not those of its status")
    if complete and rows < spec.size:
        raise ValueError("it has fewer rows than samples")
    if complete and not all(isinstance(manifest["figures"][name], int | float) for name in FIGURES):
        raise ValueError("its figures are no numbers")
    if complete and "score" in manifest["figures"]:
        _check_scores(manifest["figures"])
    if complete:
        _check_costs(manifest["timings"])
        datetime.fromisoformat(manifest["finished"])
    datetime.fromisoformat(manifest["created"])
    datetime.fromisoformat(manifest.get("imported", manifest["created"]))
    texts = [manifest["device"], *manifest["versions"].values()]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("its device and versions are no texts")


def _check_scores(figures: dict[str, Any]) -> None:
    *numbers, names = (figures[name] for name in SCORES)
    if not all(isinstance(value, float) and math.isfinite(value) for value in numbers):
        raise ValueError("its scores are no numbers")
    if numbers[-1] <= 0:
        raise ValueError("its highest score is none")
    for name in names.split(", "):
        metrics.metric(name)


def _check_costs(told: dict[str, Any]) -> None:
    # The first two have always been there.
    for name in (*_SECONDS[:2], *(name for name in _SECONDS[2:] if name in told)):
        if not isinstance(told[name], float) or not 0 <= told[name] < _NO_TIME:
            raise ValueError(f"{name} in its timings is no time")
    if _PEAK in told and (type(told[_PEAK]) is not int or not 0 <= told[_PEAK] < 2**63):
        raise ValueError(f"{_PEAK} in its timings is no number of bytes")


def _content(path: Path) -> bytes:
    # A link could lead out of the run's folder.
    if path.is_symlink():
        raise ValueError("it is a link")
    return path.read_bytes()


def _intact(path: Path, checksum: str) -> bool:
    try:
        return hashlib.sha256(_content(path)).hexdigest() == checksum
    except (OSError, ValueError):
        return False


def versions() -> dict[str, str]:
    """The packages here whose versions can change a result; empty for one that is missing."""

    def version(package: str) -> str:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            return ""

    return {package: version(package) for package in _PACKAGES}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
