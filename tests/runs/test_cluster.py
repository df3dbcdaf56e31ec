"""Runs and reference sets on a real Ray cluster of this machine, whose actors are killed."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from r2t2 import reference, studio
from r2t2.contract import RoutedModel
from r2t2.models import load_model
from r2t2.rerouting.settings import strategy
from r2t2.runs import cluster
from r2t2.runs.cluster import Cluster
from r2t2.runs.plan import Request, engines
from r2t2.runs.runner import Runner, Worker, carry_out
from r2t2.runs.store import list_runs
from tests.runs import toy

shard = cluster._shard
ROOT = Path(__file__).parents[2]
NAMES = "mini-7", "mini-7-reference-wordllama"
SIZE, SHARD = 40, 10
PATIENCE = 300  # seconds; the machine may be busy


@pytest.fixture(scope="module")
def ray():
    """A cluster of two cores in this process; skipped without Ray, but never in CI."""
    if "ray" not in engines():
        if os.environ.get("CI"):
            pytest.fail("ray is missing, and CI must compute on a real cluster")
        pytest.skip("ray is missing: nothing is computed on a cluster here")
    folder = tempfile.mkdtemp(prefix="ray")  # short: sockets are in it, and their paths are
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_USAGE_STATS_ENABLED"):
            patch.setenv(name, "")
            patch.delenv(name)
        patch.setenv("RAY_ADDRESS", "local")
        # As Ray counts cores: a place for the actors of one test beside the others'.
        small = {"num_cpus": 4, "object_store_memory": 100 * 2**20}
        ray = cluster._import()
        cluster._connect(ray, **small, _temp_dir=folder)
        yield ray
        ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def cache(small_cache):
    """The small cache as the one in use, for as long as the actors live."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("R2T2_CACHE", str(small_cache))
        yield small_cache


@pytest.fixture(scope="module")
def actors(ray, cache):
    """Two actors that hold the small cache's model and its reference set."""
    with Cluster(*NAMES, "cpu", actors=2) as actors:
        yield actors


@pytest.fixture(scope="module")
def undisturbed(cache, tmp_path_factory):
    """The files of a run that was computed in this process."""
    folder = tmp_path_factory.mktemp("local")
    run(studio.open_engine(*NAMES, "cpu"), folder)
    return toy.files(folder)


def run(workers, folder, **options):
    dataset = studio.open_dataset("general", 7)
    setting = strategy("ngd", "mini")
    return Runner(workers, folder, SHARD).run(dataset, 7, "ngd", setting, limit=SIZE, **options)


# What actors do in these tests; they import it from here.


def killed(worker, *ignored):
    os.kill(os.getpid(), signal.SIGKILL)


def killed_once(flag, worker, spec, first):
    """A shard whose actor is killed when it is nearly done; the second time all goes well."""
    done = shard(worker, spec, first)
    if first == SHARD and not flag.exists():
        flag.touch()
        killed(worker)
    return done


def refused(worker, why):
    raise ValueError(why)


def process(worker):
    return os.getpid()


def test_a_run_of_which_an_actor_is_killed_has_the_bytes_of_a_local_one(
    actors, undisturbed, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(cluster, "_shard", partial(killed_once, tmp_path / "killed"))
    seen = []
    made = run(actors, tmp_path / "runs", report=lambda done, total, note: seen.append(done))
    assert (tmp_path / "killed").exists()
    assert len([r for r in caplog.records if "an actor was lost" in r.message]) == 1
    assert made.status == "complete"
    assert toy.files(tmp_path / "runs") == undisturbed
    # Nothing was computed twice but the one shard.
    assert seen == list(range(0, SIZE + 1, SHARD))


def test_actors_and_this_process_go_on_with_each_others_runs(actors, cache, undisturbed, tmp_path):
    local = studio.open_engine(*NAMES, "cpu")
    for first, second in ((actors, local), (local, actors)):
        shutil.rmtree(tmp_path)
        asked = iter([False, True])
        begun = run(first, tmp_path, cancelled=lambda asked=asked: next(asked, True))
        assert (begun.status, begun.done) == ("running", SHARD)
        notes = []
        run(second, tmp_path, report=lambda done, total, note, notes=notes: notes.append(note))
        assert not any(notes)
        assert toy.files(tmp_path) == undisturbed


def test_an_error_in_an_actor_is_the_one_that_it_is_here(actors):
    with pytest.raises(ValueError, match=r"^no such shard$"):
        list(actors.map(refused, [("no such shard",)]))
    assert len(list(actors.map(process, [()]))) == 1


def test_an_actor_that_would_round_otherwise_is_refused():
    like = {"torch": "2.13.0", "arithmetic": "AVX2"}
    cluster._check_alike("here", like, like)
    with pytest.raises(RuntimeError, match="there computes with arithmetic AVX2 and not AVX512:"):
        cluster._check_alike("there", like, like | {"arithmetic": "AVX512"})


def test_an_actor_with_another_reference_set_or_data_is_refused(monkeypatch):
    monkeypatch.setattr(studio, "open_dataset", lambda name, seed: toy.dataset(name, seed=seed))
    worker = Worker(toy.engine())
    spec = worker.spec(toy.dataset(), 0, "ngd", toy.NGD, "all", toy.SHARD)
    assert shard(worker, spec, 4).samples["position"].to_pylist() == [4, 5, 6, 7]
    for changed in ("model_fingerprint", "reference_fingerprint", "data"):
        with pytest.raises(RuntimeError, match=changed.replace("_", " ")):
            shard(worker, replace(spec, **{changed: "another"}), 4)


def test_a_model_that_is_not_there_is_told_as_by_the_local_engine(ray, cache):
    with (
        Cluster("mini-99", NAMES[1], "cpu", actors=1) as actors,
        pytest.raises(FileNotFoundError, match="r2t2 train"),
    ):
        run(actors, cache / "nowhere")


def test_a_reference_set_built_by_actors_is_the_one_built_here(ray, cache):
    size, told = RoutedModel.at_once + 20, []
    built = cluster.build(
        partial(load_model, "mini-7", "cpu"),
        *("reference", 7, size),
        device="cpu",
        actors=1,
        report=lambda done, total: told.append((done, total)),
    )
    samples = studio.open_dataset("reference", 7).head(size)
    here = reference.build(load_model("mini-7", "cpu"), samples, 7)
    assert built.fingerprint == here.fingerprint
    assert sorted(told)[-1] == (size, size)


def test_without_ray_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    request = Request(*NAMES, ("general",), ("base",), engine="ray")
    with pytest.raises(ImportError, match="pip install ray"):
        list(carry_out(request, lambda *told: None))


def test_work_that_kills_every_actor_is_given_up_with_what_to_do(actors, monkeypatch):
    monkeypatch.setattr(cluster, "MOST_LOST", 1)
    with pytest.raises(RuntimeError, match="use fewer actors"):
        list(actors.map(killed, [()]))


def test_a_run_that_is_interrupted_keeps_its_shards_and_leaves_no_actor(actors, tmp_path):
    def interrupt(done, total, note):
        if done:
            raise KeyboardInterrupt

    def stopped():
        with actors:
            at_work.update(pid for _, pid in actors.map(process, [()] * 2))
            run(actors, tmp_path, report=interrupt)

    at_work = set()
    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert [run.done for run in list_runs(tmp_path)] == [SHARD]
    until = time.monotonic() + PATIENCE
    while any(Path(f"/proc/{pid}").exists() for pid in at_work):
        assert time.monotonic() < until
        time.sleep(0.05)


def left_behind(mark):
    """The processes that inherited a mark."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark.encode() in path.read_bytes():
                found.append(path.parent.name)
    return found


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no list of processes")
def test_a_command_that_is_killed_leaves_a_run_that_resumes_and_no_process(
    ray, cache, tmp_path, monkeypatch
):
    for name in ("checkpoints", "references"):
        shutil.copytree(cache / name, tmp_path / name)
    mark, log = uuid.uuid4().hex, tmp_path / "log.txt"
    environment = {**os.environ, "R2T2_CACHE": str(tmp_path), "R2T2_MARK": mark}
    environment |= {"OMP_NUM_THREADS": "1"}
    words = "run --model mini-7 --benchmark general --strategy base --limit 400 --engine ray"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "r2t2", *words.split(), "--actors", "1"],
            cwd=ROOT,
            env=environment,
            stdout=out,
            stderr=out,
        )
    until = time.monotonic() + PATIENCE

    def stored():
        return sum(run.done for run in list_runs(tmp_path / "runs"))

    while not stored():
        assert time.monotonic() < until, log.read_text()
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)
    process.kill()
    process.wait()
    while left := left_behind(mark):
        assert time.monotonic() < until, left
        time.sleep(0.1)
    (run,) = list_runs(tmp_path / "runs")
    assert len(run.samples()) == run.done > 0
    assert run.damaged == []
    if run.status == "running":
        monkeypatch.setenv("R2T2_CACHE", str(tmp_path))
        request = Request.again(run.spec)
        ((_, resumed),) = carry_out(request, lambda *told: None)
        assert (resumed.status, resumed.folder) == ("complete", run.folder)
