"""Jobs, with processes of their own: raced for, killed, cancelled, and left by who started them."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from r2t2.runs import jobs
from r2t2.runs.jobs import AlreadyRunning, Request
from r2t2.runs.plan import Expected

ROOT = Path(__file__).parents[2]
PATIENCE = 120  # seconds; the machine may be busy

# A job's process without a model: its runs last until the file "go" is there.
PROGRAM = """
import sys, time
from pathlib import Path
from r2t2.runs import jobs

folder = Path(sys.argv[1])

def carry_out(request, report):
    for number, planned in enumerate(request.planned):
        total = request.size(planned)
        report(number, 0, total, "")
        while not (folder.parent / "go").exists():
            time.sleep(0.02)
        if planned.strategy == "oracle":
            raise ValueError("no oracle today")
        report(number, total, total, "")
    yield from ()

jobs.work(folder, int(sys.argv[2]), carry_out)
"""
COMMAND = (sys.executable, "-c", PROGRAM)
REQUEST = Request("mini", "mini-reference-wordllama", ("reading",), ("base", "ngd"), limit=10)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where jobs are kept; what still runs at the end of a test is told to go on and waited for."""
    monkeypatch.setenv("R2T2_CACHE", str(tmp_path))
    monkeypatch.setattr(jobs, "COMMAND", COMMAND)
    monkeypatch.setattr(jobs, "check", lambda *names: None)
    folder = tmp_path / "jobs"
    yield folder
    if folder.exists():
        go(folder)
        until(lambda: not [job for job in jobs.list_jobs(folder) if job.alive])


def go(folder):
    """Let the runs of all jobs end."""
    (folder / "go").touch()


def until(condition):
    """What `condition` gives, once it is something."""
    last = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < last, "nothing happened"
        time.sleep(0.02)
    return found


def reached(folder, state, request=REQUEST):
    """The job of a request, once it is in a state."""

    def there():
        jobs_there = {job.id: job for job in jobs.list_jobs(folder)}
        job = jobs_there.get(request.id)
        return job if job and job.state == state else None

    return until(there)


def process_of(job):
    """The process that has a job's folder among its arguments."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if str(job.folder).encode() in words:
            return int(path.parent.name)
    return None


needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="no list of processes")


def test_a_job_runs_by_itself_and_tells_how_far_it_is(folder):
    started = jobs.start(REQUEST, folder)
    assert started.alive
    running = reached(folder, "running")
    assert [(stage.name, stage.total) for stage in running.progress.stages] == [
        ("reading / base", 10),
        ("reading / ngd", 10),
    ]
    go(folder)
    done = reached(folder, "done")
    assert [stage.done for stage in done.progress.stages] == [10, 10]
    assert done.progress.left == 0
    assert "reading / ngd: 10 of 10" in done.log
    assert done.request == REQUEST


def test_the_same_runs_are_not_started_twice(folder):
    jobs.start(REQUEST, folder)
    with pytest.raises(AlreadyRunning):
        jobs.start(REQUEST, folder)
    with pytest.raises(AlreadyRunning):
        jobs.start(replace(REQUEST, strategies=("ngd", "base"), overrides=("k=10",)), folder)
    go(folder)
    reached(folder, "done")
    assert jobs.start(REQUEST, folder).alive


def test_of_processes_that_start_the_same_at_once_one_does(folder, tmp_path):
    program = f"""
import sys, time
from pathlib import Path
from r2t2.runs import jobs
jobs.COMMAND, jobs.check = {COMMAND!r}, lambda *names: None
request = jobs.Request.parse(Path({str(tmp_path / "request")!r}).read_text())
print("ready", flush=True)
while not Path({str(tmp_path / "start")!r}).exists():
    pass
try:
    jobs.start(request, Path({str(folder)!r}))
    print("started")
except jobs.AlreadyRunning:
    print("refused")
"""
    (tmp_path / "request").write_text(REQUEST.text)
    tabs = [
        subprocess.Popen(
            [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    assert [tab.stdout.readline() for tab in tabs] == ["ready\n"] * 4
    (tmp_path / "start").touch()
    said = sorted(tab.communicate(timeout=PATIENCE)[0] for tab in tabs)
    assert said == ["refused\n"] * 3 + ["started\n"]
    job = reached(folder, "running")
    assert job.log.count("waiting for its turn") == 1


def test_a_job_outlives_who_started_it(folder, tmp_path):
    program = f"""
import os
from pathlib import Path
from r2t2.runs import jobs
jobs.COMMAND, jobs.check = {COMMAND!r}, lambda *names: None
request = jobs.Request.parse(Path({str(tmp_path / "request")!r}).read_text())
jobs.start(request, Path({str(folder)!r}))
os.killpg(0, 9)
"""
    (tmp_path / "request").write_text(REQUEST.text)
    server = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, start_new_session=True, check=False
    )
    assert server.returncode == -signal.SIGKILL
    assert reached(folder, "running").alive
    go(folder)
    reached(folder, "done")


@needs_proc
def test_a_job_that_is_killed_is_interrupted_and_goes_on_when_resumed(folder):
    jobs.start(REQUEST, folder)
    job = reached(folder, "running")
    os.kill(process_of(job), signal.SIGKILL)
    killed = reached(folder, "interrupted")
    assert not killed.alive
    go(folder)
    assert jobs.resume(killed).alive
    reached(folder, "done")


def test_a_job_is_cancelled_in_the_middle_of_a_shard(folder):
    jobs.start(REQUEST, folder)
    job = reached(folder, "running")
    jobs.cancel(job)
    cancelled = reached(folder, "cancelled")
    assert cancelled.progress.stages[0].done == 0
    assert not cancelled.alive
    assert "Traceback" not in cancelled.log
    go(folder)
    jobs.resume(cancelled)
    reached(folder, "done")


def test_jobs_take_turns(folder):
    other = replace(REQUEST, strategies=("uniform",))
    jobs.start(REQUEST, folder)
    reached(folder, "running")
    jobs.start(other, folder)
    until(lambda: "waiting for its turn" in reached(folder, "waiting", other).log)
    time.sleep(0.3)
    assert reached(folder, "waiting", other).progress.stages == ()
    go(folder)
    reached(folder, "done", other)
    first, second = (reached(folder, "done", one) for one in (REQUEST, other))
    assert second.progress.updated > first.progress.updated


def test_a_job_that_waits_can_be_cancelled(folder):
    other = replace(REQUEST, strategies=("uniform",))
    jobs.start(REQUEST, folder)
    reached(folder, "running")
    waiting = jobs.start(other, folder)
    jobs.cancel(waiting)
    reached(folder, "cancelled", other)
    assert reached(folder, "running").alive


def test_a_job_that_fails_says_why_and_keeps_the_rest_for_its_log(folder):
    request = replace(REQUEST, strategies=("base", "oracle"))
    jobs.start(request, folder)
    go(folder)
    failed = reached(folder, "failed", request)
    assert failed.progress.error == "no oracle today"
    assert "Traceback" in failed.log
    assert [stage.done for stage in failed.progress.stages] == [10, 0]


def test_a_request_for_what_is_not_here_is_not_started(tmp_path, monkeypatch):
    monkeypatch.setenv("R2T2_CACHE", str(tmp_path))
    for request, says in (
        (replace(REQUEST, model="nobody"), "there is no model 'nobody'"),
        (REQUEST, "there is no reference set"),
    ):
        with pytest.raises((KeyError, FileNotFoundError), match=says):
            jobs.start(request, tmp_path / "jobs")
    assert jobs.list_jobs(tmp_path / "jobs") == []


def test_a_job_at_work_is_not_deleted_and_one_that_ended_is(folder):
    jobs.start(REQUEST, folder)
    with pytest.raises(AlreadyRunning, match="cancel it first"):
        jobs.delete(reached(folder, "running"))
    go(folder)
    jobs.delete(reached(folder, "done"))
    assert jobs.scan(folder) == ([], {})
    jobs.start(REQUEST, folder)
    reached(folder, "done")


def test_a_look_at_a_job_never_keeps_it_from_starting(folder):
    program = f"""
import time
from pathlib import Path
from r2t2.runs import jobs
print("ready", flush=True)
while not time.sleep(0.002):
    jobs.list_jobs(Path({str(folder)!r}))
"""
    lookers = [
        subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        assert [looker.stdout.readline() for looker in lookers] == [b"ready\n"] * 2
        folder.mkdir()
        go(folder)
        for _ in range(3):
            jobs.start(REQUEST, folder)
            reached(folder, "done")
    finally:
        for looker in lookers:
            looker.kill()
            looker.communicate()


DAMAGE = {
    "no request": ("request.json", None, "lacks"),
    "no progress": ("progress.json", None, "lacks"),
    "half a request": ("request.json", "{", "damaged"),
    "a hostile request": ("request.json", '{"model": "../.."}', "nothing else"),
    "half the progress": ("progress.json", "{", "damaged"),
    "no state": ("progress.json", '{"stages": []}', "damaged"),
    "an odd state": (
        "progress.json",
        '{"state": "<b>", "started": 0, "updated": 0, "stages": []}',
        "no progress",
    ),
    "an odd time": (
        "progress.json",
        '{"state": "done", "started": NaN, "updated": 0, "stages": []}',
        "no progress",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_job_is_skipped_with_the_reason(folder, damage):
    name, text, says = DAMAGE[damage]
    place = folder / REQUEST.id
    place.mkdir(parents=True)
    (place / "request.json").write_text(REQUEST.text)
    jobs.Progress("done", 0.0, 0.0).save(place)
    assert [job.state for job in jobs.list_jobs(folder)] == ["done"]
    (place / name).unlink()
    if text is not None:
        (place / name).write_text(text)
    found, skipped = jobs.scan(folder)
    assert found == []
    assert says in skipped[place]


def test_a_job_is_alive_only_while_its_lock_is_held(folder):
    place = folder / REQUEST.id
    place.mkdir(parents=True)
    (place / "request.json").write_text(REQUEST.text)
    jobs.Progress("running", 0.0, 0.0).save(place)
    assert [job.state for job in jobs.list_jobs(folder)] == ["interrupted"]
    with jobs._lock(place, ""):
        assert [job.state for job in jobs.list_jobs(folder)] == ["running"]
    (place / "cancel").touch()
    assert [job.state for job in jobs.list_jobs(folder)] == ["cancelled"]


def test_no_log_is_too_long_to_be_read(folder):
    place = folder / REQUEST.id
    place.mkdir(parents=True)
    (place / "request.json").write_text(REQUEST.text)
    jobs.Progress("done", 0.0, 0.0).save(place)
    (place / "log.txt").write_bytes(b"\xff" + b"line\n" * 10_000 + b"the end")
    (job,) = jobs.list_jobs(folder)
    assert len(job.log) <= 20_000
    assert job.log.endswith("the end")


@pytest.fixture
def teller(folder, monkeypatch):
    """Tells the progress of base and NGD, and a clock that only the test moves."""
    place = folder / REQUEST.id
    place.mkdir(parents=True)
    jobs.Progress("waiting", 0.0, 0.0).save(place)
    clock = [100.0]
    monkeypatch.setattr(jobs.time, "monotonic", lambda: clock[0])
    teller = jobs._Teller(place, REQUEST)

    def told():
        return jobs.Progress.parse((place / "progress.json").read_text())

    return teller, clock, told


def test_time_left_follows_the_jobs_own_pace_from_what_was_expected(teller):
    teller, clock, told = teller
    teller.begin([Expected(10, 0, 1.0), Expected(10, 0, 3.0)])
    assert told().left == 40
    teller.report(0, 0, 10)
    clock[0] += 20  # twice as long as was expected
    teller.report(0, 10, 10)
    assert (told().rate, told().left) == (0.5, 60)
    teller.report(1, 0, 10)
    clock[0] += 30
    teller.report(1, 5, 10)
    assert told().rate == pytest.approx(5 / 30)
    assert told().left == pytest.approx(15 * 50 / 25)
    assert told().current == 1


def test_what_is_in_the_cache_does_not_make_a_job_look_fast(teller):
    teller, clock, told = teller
    teller.begin([Expected(10, 10, 1.0), Expected(10, 4, 1.0)])
    assert told().left == 6
    teller.report(0, 10, 10, "already in the cache")
    teller.report(1, 4, 10)
    clock[0] += 4
    teller.report(1, 6, 10)
    assert (told().rate, told().left) == (0.5, 8)
    assert told().stages[0].note == "already in the cache"


def test_without_any_timing_the_time_left_is_unknown_until_samples_are_made(teller):
    teller, clock, told = teller
    teller.begin([Expected(10, 0, None), Expected(10, 0, None)])
    assert told().left is None
    teller.report(0, 0, 10)
    assert (told().rate, told().left) == (None, None)
    clock[0] += 5
    teller.report(0, 5, 10)
    assert (told().rate, told().left) == (1, 15)


def test_jobs_and_requests_need_neither_torch_nor_streamlit():
    program = "import sys, r2t2.runs.jobs; print({'torch', 'streamlit'} & {*sys.modules})"
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "set()"


def test_progress_is_read_as_it_was_written(folder):
    stage = jobs.Stage("reading / ngd", 10, 5, 0, 1.0, "a note", "folder")
    progress = jobs.Progress("running", 1.0, 2.0, (stage,), 0, 1.5, 3.5, "")
    folder.mkdir()
    progress.save(folder)
    assert jobs.Progress.parse((folder / "progress.json").read_text()) == progress
    assert json.loads((folder / "progress.json").read_text())["stages"][0]["done"] == 5
