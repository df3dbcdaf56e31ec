"""Jobs: requests that are carried out in a process of their own, whatever becomes of the server.

A job is a folder: request.json, progress.json, log.txt and, where it was asked to stop, cancel.
Its process inherits a lock from whoever starts it and holds it to its end, so that the lock says
whether it is at work, after any crash and whatever process has its number now. Jobs take turns,
because two on one device would both be slower.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from r2t2.files import held, written
from r2t2.paths import cache_folder, runs_folder
from r2t2.runs.plan import Expected, Planned, Request, expect
from r2t2.runs.store import Run, list_runs
from r2t2.studio import check

State = Literal["waiting", "running", "done", "cancelled", "failed", "interrupted"]
ALIVE = ("waiting", "running")
Report = Callable[[int, int, int, str], None]
CarryOut = Callable[[Request, Report], Iterable[tuple[Planned, Run]]]

# What a job's process is started with; the job's folder and the number of its lock follow.
COMMAND = (sys.executable, "-m", "r2t2", "work")
_ROOT = Path(__file__).resolve().parents[2]


class AlreadyRunning(RuntimeError):
    """The same runs are being made by a job that is at work or waits for its turn."""


@dataclass(frozen=True)
class Stage:
    """How far one run of a job is.

    Parameters
    ----------
    name : of the run, e.g. "reading / ngd[k=5]".
    total, done, found : its samples; how many are stored; how many were when it began.
    weight : what one of its samples costs beside those of the job's other runs.
    note : the last thing that was said of it.
    run : the name of the run's folder, once it is complete.
    """

    name: str
    total: int
    done: int
    found: int
    weight: float
    note: str = ""
    run: str = ""


@dataclass(frozen=True)
class Progress:
    """What a job's process tells, as it last told it; times are seconds since 1970.

    Parameters
    ----------
    state : as its process saw it; a process that died could not say so.
    started, updated : when the job was started, and when this was written.
    stages : its runs, in their order.
    current : the stage at work.
    rate : samples per second, of the last stage that stored any; None before.
    left : seconds to the end of the job; None where nothing is known of its speed.
    error : why it failed.
    """

    state: State
    started: float
    updated: float
    stages: tuple[Stage, ...] = ()
    current: int = 0
    rate: float | None = None
    left: float | None = None
    error: str = ""

    @staticmethod
    def parse(text: str) -> Progress:
        """What `save` wrote.

        Raises
        ------
        ValueError, TypeError : something else stands there.
        """
        values = json.loads(text)
        stages = tuple(Stage(**stage) for stage in values.pop("stages"))
        progress = Progress(stages=stages, **values)
        numbers = [progress.started, progress.updated, progress.rate or 0, progress.left or 0]
        numbers += [n for stage in stages for n in (stage.total, stage.done, stage.found)]
        if progress.state not in get_args(State) or not all(map(_is_number, numbers)):
            raise ValueError("it tells no progress")
        return progress

    def save(self, folder: Path) -> None:
        """Write it into a job's folder."""
        with written(folder / "progress.json") as part:
            part.write_text(json.dumps(asdict(self)))


@dataclass(frozen=True)
class Job:
    """A job as it was when it was read.

    Parameters
    ----------
    folder : where it lies; its name is the request's id.
    state : "interrupted" is one whose process ended without a word.
    """

    folder: Path
    request: Request
    state: State
    progress: Progress

    @property
    def id(self) -> str:
        """The request's when it was started."""
        return self.folder.name

    @property
    def alive(self) -> bool:
        """Whether a process is at work on it, or waits for its turn."""
        return self.state in ALIVE

    @property
    def cancelling(self) -> bool:
        """Whether it was asked to stop and has not yet."""
        return self.alive and (self.folder / "cancel").exists()

    @cached_property
    def log(self) -> str:
        """The end of what its process printed."""
        try:
            with (self.folder / "log.txt").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 20_000))
                return file.read().decode(errors="replace")
        except OSError:
            return ""


def start(request: Request, folder: Path) -> Job:
    """Carry out a request in a process of its own; what is in the cache is not made again.

    Parameters
    ----------
    folder : where jobs are kept.

    Raises
    ------
    AlreadyRunning : a job of the same runs is at work or waits.
    KeyError, ValueError, FileNotFoundError : the request names what is not here.
    """
    check(request.model, request.reference, request.benchmarks)
    job = folder / request.id
    with _lock(job, "the same runs are being made already") as lock:
        (job / "cancel").unlink(missing_ok=True)
        with written(job / "request.json") as part:
            part.write_text(request.text)
        now = time.time()
        Progress("waiting", now, now).save(job)
        with (job / "log.txt").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 (its own command, and no shell)
                [*COMMAND, str(job.resolve()), str(lock)],
                cwd=_ROOT,
                env={**os.environ, "R2T2_CACHE": str(cache_folder().resolve())},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                start_new_session=True,
            )
    # Somebody must ask how a process ended, or the system remembers it for as long as we live.
    threading.Thread(target=process.wait, daemon=True).start()
    return _read(job)


def resume(job: Job) -> Job:
    """Start a job that ended once more; it goes on from the last shard that was stored.

    Raises
    ------
    AlreadyRunning, KeyError, ValueError, FileNotFoundError : as `start`.
    """
    return start(job.request, job.folder.parent)


def cancel(job: Job) -> None:
    """Ask a job to stop; it does within a second or two, and what is stored stays."""
    (job.folder / "cancel").touch()


def delete(job: Job) -> None:
    """Forget a job that ended; its runs stay.

    Raises
    ------
    AlreadyRunning : it has not ended.
    """
    with _lock(job.folder, "this job is at work; cancel it first"):
        shutil.rmtree(job.folder)


def scan(folder: Path) -> tuple[list[Job], dict[Path, str]]:
    """All jobs in a folder, the newest first, and what was skipped with the reason."""
    jobs, skipped = [], {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if not path.is_dir():
            continue
        try:
            jobs.append(_read(path))
        except FileNotFoundError:
            skipped[path] = f"{path.name} lacks a request or its progress"
        except Exception as error:  # whatever else was put there
            skipped[path] = f"the job {path.name} is damaged: {error}"
    return sorted(jobs, key=lambda job: -job.progress.started), skipped


def list_jobs(folder: Path) -> list[Job]:
    """All readable jobs in a folder, the newest first."""
    return scan(folder)[0]


def work(folder: Path, lock: int, carry_out: CarryOut) -> None:
    """What a job's process does, from its turn to its end.

    Parameters
    ----------
    lock : the job's lock, an inherited file descriptor; released at the end.
    carry_out : makes a request's runs one after the other, and reports the number of the run,
        its samples done, its samples in total, and a note.
    """
    os.nice(5)  # whoever is looking at the pages comes first
    request = Request.parse((folder / "request.json").read_text())
    teller = _Teller(folder, request)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # may have been ignored till now
    threading.Thread(target=_watch, args=(folder,), daemon=True).start()
    try:
        with _turn(folder.parent):
            teller.begin(expect(request, list_runs(runs_folder())))
            for planned, run in carry_out(request, teller.report):
                teller.finish(request.planned.index(planned), run)
        teller.tell(state="done")
    except KeyboardInterrupt:
        teller.tell(state="cancelled")
    except Exception as error:
        traceback.print_exc()
        words = error.args[0] if isinstance(error, KeyError) and error.args else error
        teller.tell(state="failed", error=str(words) or type(error).__name__)
    finally:
        os.close(lock)


class _Teller:
    """Writes a job's progress and its log, and stops the job where it was asked to."""

    def __init__(self, folder: Path, request: Request) -> None:
        self._folder = folder
        self._request = request
        self._progress = Progress.parse((folder / "progress.json").read_text())
        self._began: dict[int, float] = {}
        self._print("waiting for its turn")

    def begin(self, expected: Sequence[Expected]) -> None:
        """The job has its turn."""
        known = [e.seconds for e in expected if e.seconds is not None]
        usual = sum(known) / len(known) if known else 1.0
        stages = tuple(
            Stage(self._request.label(run), e.size, e.stored, e.stored, e.seconds or usual)
            for run, e in zip(self._request.planned, expected, strict=True)
        )
        self._print(f"runs of {self._request.model}: {len(stages)}")
        self.tell(state="running", stages=stages, left=_left(stages) if known else None)

    def report(self, number: int, done: int, total: int, note: str = "") -> None:
        """A run of the job has come further."""
        if (self._folder / "cancel").exists():
            raise KeyboardInterrupt
        now = time.monotonic()
        stage = replace(self._progress.stages[number], done=done, total=total)
        if number not in self._began:
            self._began[number] = now
            stage = replace(stage, found=done)
        if note:
            stage = replace(stage, note=note)
        self._print(f"{stage.name}: {done} of {total} {note}".rstrip())
        stages = self._with(number, stage)
        # The job's own pace, by what its samples were expected to cost beside each other.
        made = sum(one.weight * (one.done - one.found) for one in stages)
        pace = (now - min(self._began.values())) / made if made else None
        computed = done - stage.found
        self.tell(
            stages=stages,
            current=number,
            rate=computed / (now - self._began[number]) if computed else self._progress.rate,
            left=pace * _left(stages) if pace else self._progress.left,
        )

    def finish(self, number: int, run: Run) -> None:
        """A run of the job is complete."""
        stage = replace(self._progress.stages[number], run=run.folder.name)
        self.tell(stages=self._with(number, stage))

    def tell(self, **changes: Any) -> None:
        """Write the progress with some changes."""
        if "state" in changes:
            self._print(changes["state"])
        self._progress = replace(self._progress, updated=time.time(), **changes)
        self._progress.save(self._folder)

    def _with(self, number: int, stage: Stage) -> tuple[Stage, ...]:
        stages = self._progress.stages
        return (*stages[:number], stage, *stages[number + 1 :])

    def _print(self, text: str) -> None:
        print(time.strftime("%Y-%m-%d %H:%M:%S"), text, flush=True)


def _left(stages: Sequence[Stage]) -> float:
    return sum(stage.weight * (stage.total - stage.done) for stage in stages)


def _watch(folder: Path) -> None:
    """Interrupt the main thread once the job is asked to stop, in the middle of a shard."""
    while not (folder / "cancel").exists():
        time.sleep(0.5)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def _read(folder: Path) -> Job:
    request = Request.parse((folder / "request.json").read_text())
    # Asked before and after, because a process may begin or end between two looks.
    alive = held(_lock_of(folder))
    progress = Progress.parse((folder / "progress.json").read_text())
    state = progress.state
    if state in ALIVE and not alive and not held(_lock_of(folder)):
        state = "cancelled" if (folder / "cancel").exists() else "interrupted"
    return Job(folder, request, state, progress)


def _lock_of(folder: Path) -> Path:
    # Beside the folder, so that a folder can be deleted under its lock.
    return folder.with_name(f".{folder.name}.lock")


@contextmanager
def _lock(folder: Path, why: str) -> Iterator[int]:
    """A job's lock as a file descriptor; a process that inherits it goes on holding it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(_lock_of(folder), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        until = time.monotonic() + 0.5  # longer than anyone looks (`held`)
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise AlreadyRunning(why) from None
                time.sleep(0.02)
        yield lock
    finally:
        os.close(lock)


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Held by the one job that is at work; the others wait."""
    turn = os.open(folder / ".turn.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield
    finally:
        os.close(turn)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
