"""Results of other evaluators, as runs: read from lmms-eval's and VLMEvalKit's files.

Such a run has the answers and scores of the file, laid over the base run of the same benchmark:
what is "before" is the base model's, what is "after" the other evaluator's. It has no setting
and no steps, and whoever reads runs need not know that it is another's.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from r2t2.metrics import is_correct, plain
from r2t2.rerouting.settings import STRATEGIES
from r2t2.runs.identity import RunSpec
from r2t2.runs.store import SCHEMAS, Run, list_runs, writing

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".xlsx")
MOST_BYTES = 2**26
MOST_ROWS = 200_000
MOST_LETTERS = 60
_MOST_OF_ANSWER = 2000
# What files call a sample's name, its place, its score, its answer and the right one; the first
# that there is counts. lmms-eval keeps some of them one level down, as "cv_bench_acc.is_correct".
_NAMES = ("sample_id", "question_id", "questionId", "id", "index", "idx", "pid")
_PLACES = ("doc_id", "index", "idx")
_SCORES = (
    *("hit", "score", "exact_match", "anls", "accuracy", "acc"),
    *("is_correct", "correct", "true_false", "match"),
)
_ANSWERS = ("filtered_resps", "prediction", "resps", "pred", "response")
_TARGETS = ("target", "answer")


@dataclass(frozen=True)
class Evaluation:
    """What became of a file.

    Parameters
    ----------
    run : as it lies in the cache.
    by : the column of the file that samples were found by, or "the order of the rows".
    score : the column that scores were taken from.
    rows, matched : of the file, and of them those that belong to a sample of the base run.
    missing : samples of the base run that the file says nothing of.
    """

    run: Run
    by: str
    score: str
    rows: int
    matched: int
    missing: int

    @property
    def told(self) -> str:
        """In a sentence."""
        return (
            f"{self.matched:,} of {self.rows:,} rows matched by {self.by}, scored by {self.score}; "
            f"{self.missing:,} samples of the benchmark have no row"
        )


def base_runs(folder: Path) -> list[Run]:
    """The complete runs of base: what other evaluators' results can be laid over."""
    runs = [run for run in list_runs(folder) if run.status == "complete"]
    return [run for run in runs if run.spec.strategy == "base"]


def import_evaluation(
    file: Path, base: Run, name: str, folder: Path, score: str | None = None
) -> Evaluation:
    """Take in another evaluator's results as a run beside those of one's own.

    Parameters
    ----------
    file : samples of lmms-eval (.jsonl) or a result file of VLMEvalKit (.xlsx, .csv, .tsv, .json).
    base : the run of base on the same benchmark.
    name : what tables call it.
    score : the column with the scores, from 0 to 1; found by its name where left out.

    Raises
    ------
    FileNotFoundError : there is no such file.
    ValueError : it is none of these, too large, or of other samples; the message says which.
    RunLocked : another process is taking in the same.
    """
    if not name.strip() or len(name) > MOST_LETTERS or {*name} & {*"[]"} or not name.isprintable():
        raise ValueError(f"{name[:MOST_LETTERS]!r} is no name: up to 60 letters without brackets")
    if name in STRATEGIES:
        raise ValueError(f"{name} is a strategy; give the other evaluator's results another name")
    started = time.perf_counter()
    rows = _flat(read(file))
    scored = score or next(iter(_keys(rows, _SCORES)), " or ".join(_SCORES))
    scores = _scores(rows, scored)
    own = base.samples()
    by, places = _matched(rows, own)
    taken = np.flatnonzero(places >= 0)
    taken = taken[np.argsort(places[taken], kind="stable")]
    kept = own.iloc[places[taken]]
    answers = _answers(rows)
    _check_targets(rows, own, places)
    table = _table(kept, [answers[i] for i in taken], scores[taken])
    digest = hashlib.sha256(repr(table.to_pydict()).encode()).hexdigest()
    spec = RunSpec(
        model=base.spec.model,
        model_fingerprint=base.spec.model_fingerprint,
        reference=base.spec.reference,
        reference_fingerprint=digest[:16],
        benchmark=base.spec.benchmark,
        seed=base.spec.seed,
        size=len(table),
        strategy=name,
        setting={},
        trace="none",
        shard=len(table),
    )
    missing = len(own) - len(table)
    said = (
        f"another evaluator's: {file.name[:80]}, {len(table)} of {len(rows)} rows matched, "
        f"{missing} samples without a row"
    )
    with writing(folder / spec.folder, spec, base.sites, said) as writer:
        if writer.missing:
            wall = time.perf_counter() - started
            writer.add(0, table, SCHEMAS["steps"].empty_table(), 0.0, wall)
        writer.finish()
    run = Run.load(folder / spec.folder)
    return Evaluation(run, by, scored, len(rows), len(table), missing)


def read(file: Path) -> list[dict[str, Any]]:
    """The rows of a file, as far as it is of a kind and size that evaluators write.

    Raises
    ------
    FileNotFoundError : there is no such file.
    ValueError : it is none; the message says why.
    """
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    if file.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{file.name} ends in none of {', '.join(SUFFIXES)}")
    if file.stat().st_size > MOST_BYTES:
        raise ValueError(f"{file.name} is larger than {MOST_BYTES >> 20} MB")
    try:
        rows = _rows(file)
    except (ValueError, RecursionError, UnicodeError, zipfile.BadZipFile, KeyError) as error:
        raise ValueError(f"{file.name} cannot be read: {error}") from error
    if not rows:
        raise ValueError(f"{file.name} holds no rows")
    if len(rows) > MOST_ROWS:
        raise ValueError(f"{file.name} has more than {MOST_ROWS:,} rows")
    return rows


def _rows(file: Path) -> list[dict[str, Any]]:
    kind = file.suffix.lower()
    if kind == ".jsonl":
        with file.open(encoding="utf-8") as lines:
            return [_record(line, i) for i, line in enumerate(lines, 1) if line.strip()]
    if kind == ".json":
        told = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(told, dict) and isinstance(told.get("logs"), list):
            told = told["logs"]  # lmms-eval of 2024
        if isinstance(told, dict):
            told = pd.DataFrame(told).to_dict("records")
        if not isinstance(told, list) or not all(isinstance(row, dict) for row in told):
            raise ValueError("it is no list of objects")
        return told
    if kind == ".xlsx":
        return _sheet(file).to_dict("records")
    separator = "," if kind == ".csv" else "\t"
    table = pd.read_csv(file, sep=separator, dtype=str, keep_default_na=False, nrows=MOST_ROWS + 1)
    return table.to_dict("records")


def _record(line: str, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"line {number} is no JSON: {error}") from None
    if not isinstance(row, dict):
        raise ValueError(f"line {number} is no object")
    return row


def _sheet(file: Path) -> pd.DataFrame:
    with zipfile.ZipFile(file) as parts:
        if sum(part.file_size for part in parts.infolist()) > MOST_BYTES:
            raise ValueError(f"it would be more than {MOST_BYTES >> 20} MB")
    try:
        return pd.read_excel(file, dtype=str, keep_default_na=False, nrows=MOST_ROWS + 1)
    except ImportError:
        raise ValueError(
            "to read .xlsx takes openpyxl: 'pip install openpyxl', or save it as .csv"
        ) from None


def _flat(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a table; what is in objects is a column of its own, "doc.question_id"."""

    def pairs(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, value in row.items():
            if isinstance(value, dict):
                yield from ((f"{name}.{inner}", of) for inner, of in value.items())
            else:
                yield str(name), value

    return pd.DataFrame([dict(pairs(row)) for row in rows], dtype=object)


def _keys(rows: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """The columns of these names, at whatever level, in the order of the names."""
    return [column for name in names for column in rows if str(column).rpartition(".")[2] == name]


def _scores(rows: pd.DataFrame, column: str) -> np.ndarray:
    if column not in rows:
        listed = ", ".join(str(name)[:40] for name in list(rows)[:40])
        raise ValueError(f"no column {column} holds the scores; there are {listed}")
    words = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
    scores = []
    for number, value in enumerate(rows[column], 1):
        try:
            score = float(words.get(str(value).strip().lower(), value))
        except (TypeError, ValueError):
            score = math.nan
        if not 0 <= score <= 1:
            raise ValueError(
                f"row {number}: {column} is {str(value)[:40]!r}; a score lies between 0 and 1"
            )
        scores.append(score)
    return np.array(scores, np.float32)


def _matched(rows: pd.DataFrame, own: pd.DataFrame) -> tuple[str, np.ndarray]:
    """What samples are found by, and each row's place among one's own samples; -1 for none.

    Names count before places, and a column only where it names every row differently.
    """
    best, places = "", np.full(len(rows), -1)
    for column in _keys(rows, _NAMES):
        found = _places(rows[column], own["sample"].astype(str))
        if found is not None and (found >= 0).sum() > (places >= 0).sum():
            best, places = column, found
    if 2 * (places >= 0).sum() >= min(len(rows), len(own)):
        return best, places
    for column in _keys(rows, _PLACES):
        found = _places(rows[column], own["position"].astype(str))
        if found is not None and 2 * (found >= 0).sum() >= min(len(rows), len(own)):
            return column, found
    if len(rows) == len(own):
        return "the order of the rows", np.arange(len(rows))
    raise ValueError(
        f"its {len(rows)} rows cannot be told apart: none of {', '.join((*_NAMES, 'doc_id'))} "
        f"names the samples of the base run, and that has {len(own)}"
    )


def _places(values: pd.Series, names: pd.Series) -> np.ndarray | None:
    texts = [_whole(value) for value in values]
    if len({*texts}) < len(texts):
        return None
    return pd.Index(names).get_indexer(pd.Index(texts)) if names.is_unique else None


def _whole(value: Any) -> str:
    """A name as it is compared: a spreadsheet makes 3.0 of 3."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _answers(rows: pd.DataFrame) -> list[str]:
    found = _keys(rows, _ANSWERS)
    if not found:
        return [""] * len(rows)
    return [_text(value)[:_MOST_OF_ANSWER] for value in rows[found[0]]]


def _text(value: Any) -> str:
    while isinstance(value, list):
        value = value[0] if value else ""
    return "" if value is None else str(value)


def _check_targets(rows: pd.DataFrame, own: pd.DataFrame, places: np.ndarray) -> None:
    """Refuse rows whose right answers are not the samples', where these can be compared."""
    for column in _keys(rows, _TARGETS)[:1]:
        labels = own["label"].to_numpy()
        pairs = [
            (plain(_text(target)), plain(str(labels[place])))
            for target, place in zip(rows[column], places, strict=True)
            if place >= 0 and len(_text(target).strip(" ().")) > 1
        ]
        same = sum(target == label for target, label in pairs)
        if len(pairs) >= 5 and 2 * same < len(pairs):
            raise ValueError(
                f"it is of other samples: {column} is the label of {same} of {len(pairs)} of them; "
                "name the benchmark, seed and model that the file is of"
            )


def _table(kept: pd.DataFrame, answers: Sequence[str], scores: np.ndarray) -> pa.Table:
    """Sample rows: before is what the base run has, after what the file says."""
    nothing = [math.nan] * len(kept)
    of_file = {
        "answer": answers,
        "correct": [is_correct(score) for score in scores.tolist()],
        "score": scores,
        "confidence": nothing,
        "top1_after": kept["top1_before"],
        "forward": [0] * len(kept),
        "backward": [0] * len(kept),
        "objective_before": nothing,
        "objective_after": nothing,
        **{name: [[]] * len(kept) for name in kept if name.startswith("neighbour")},
    }
    columns = {name: of_file.get(name, kept[name]) for name in SCHEMAS["samples"].names}
    return pa.table(columns, schema=SCHEMAS["samples"])


def export_samples(run: Run, to: IO[str]) -> None:
    """Write a run's samples as lmms-eval logs them, a line of JSON each.

    Raises
    ------
    DamagedRun : a file of the run is missing or damaged.
    """
    for row in run.samples().to_dict("records"):
        told = {
            "doc_id": row["position"],
            "doc": {"question_id": row["sample"], "category": row["category"]},
            "target": row["label"],
            "resps": [row["answer"]],
            "filtered_resps": row["answer"],
            "doc_hash": hashlib.sha256(row["sample"].encode()).hexdigest(),
            # What lmms-eval calls the score of all its tasks that have no other.
            "anls" if row["metric"] == "anls" else "exact_match": round(float(row["score"]), 6),
        }
        to.write(json.dumps(told, ensure_ascii=False) + "\n")
