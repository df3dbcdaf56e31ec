"""Runs that are killed, interrupted, damaged and repeated."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from r2t2 import files, peak, studio
from r2t2.engine import Engine
from r2t2.rerouting.settings import Setting
from r2t2.runs import store
from r2t2.runs.plan import Request
from r2t2.runs.runner import Runner, carry_out
from r2t2.runs.store import DamagedRun, Run, RunLocked
from r2t2.samples import Dataset
from tests.runs import toy

# Renames of a run of three shards: the first manifest, two files and a manifest per shard, the
# two merged files, the last manifest.
RENAMES = 1 + 3 * 3 + 2 + 1


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch):
    # Processes end in these tests; the machine does not.
    monkeypatch.setattr(os, "fsync", lambda file: None)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The files of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    toy.run(folder)
    return toy.files(folder)


@pytest.fixture
def computed(monkeypatch):
    """The sizes of the batches that the engine is asked to run from now on."""
    sizes = []
    run = toy.engine().run

    def counted(prepared, *rest):
        sizes.append(len(prepared.samples))
        return run(prepared, *rest)

    monkeypatch.setattr(toy.engine(), "run", counted)
    return sizes


@pytest.fixture
def clock(monkeypatch):
    """An engine and a dataset that a clock goes with, which stands still besides."""

    class Clock:
        now = 0.0

        def costs(self, picture=0, encode=0, answer=0):
            model, data = toy.Toy(), toy.dataset()
            model.encode = self.taking(encode, model.encode)
            model.answer = self.taking(answer, model.answer)
            whole = toy.engine()
            self.engine = Engine(model, whole.reference, whole.dataset)

            def sample(position):
                found = data[position]
                return replace(found, load_image=self.taking(picture, found.load_image))

            self.dataset = Dataset(data.name, len(data), sample)

        def taking(self, seconds, call):
            def taken(*arguments):
                self.now += seconds
                return call(*arguments)

            return taken

    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    return clock


def interrupted(folder, shards):
    """A run that is cancelled after some shards."""
    asked = iter(range(shards + 1))
    return toy.run(folder, cancelled=lambda: next(asked) == shards)


def test_a_run_killed_while_it_stores_a_shard_resumes_to_the_same_bytes(tmp_path, undisturbed):
    program = """
import os, pathlib, signal, sys, toy
from r2t2 import files
rename, count = os.replace, 0
def kill(*paths):
    global count
    count += 1
    if count == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(*paths)
files.os.replace = kill
toy.run(pathlib.Path(sys.argv[1]))
"""
    here = str(Path(__file__).parent)
    path = os.pathsep.join([here, str(Path(__file__).parents[2]), *filter(None, sys.path)])
    killed = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], env={**os.environ, "PYTHONPATH": path}
    )
    assert killed.returncode == -signal.SIGKILL
    (run,) = store.list_runs(tmp_path)
    assert (run.status, run.done, len(run.samples())) == ("running", 4, 4)
    # A shard of which the manifest knows nothing, and the file it was killed over.
    assert len(run.strays) == 2

    resumed = toy.run(tmp_path)
    assert resumed.status == "complete"
    assert toy.files(tmp_path) == undisturbed
    assert resumed.strays == []


@pytest.mark.parametrize("rename", range(RENAMES))
def test_a_run_that_ends_at_any_rename_is_readable_and_resumes_to_the_same_bytes(
    tmp_path, undisturbed, monkeypatch, rename
):
    left = iter(range(RENAMES))
    replace_file = os.replace

    def ending(*paths):
        if next(left) == rename:
            raise SystemExit
        replace_file(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", ending)
        with pytest.raises(SystemExit):
            toy.run(tmp_path)
    for run in store.list_runs(tmp_path):
        assert len(run.samples()) == run.done
        assert run.damaged == []
    toy.run(tmp_path)
    assert toy.files(tmp_path) == undisturbed


def test_shards_left_over_after_merging_are_cleared_away(tmp_path, undisturbed, computed):
    run = toy.run(tmp_path)
    (run.folder / "samples-00000.parquet").write_bytes(b"left over")
    assert len(run.samples()) == toy.SIZE
    computed.clear()
    toy.run(tmp_path)
    assert toy.files(tmp_path) == undisturbed
    assert computed == []


def test_a_cancelled_run_keeps_its_shards_and_computes_only_the_others(
    tmp_path, undisturbed, computed
):
    run = interrupted(tmp_path, shards=2)
    assert (run.status, run.done) == ("running", 8)
    computed.clear()
    toy.run(tmp_path)
    assert computed == [2]
    assert toy.files(tmp_path) == undisturbed


def test_a_keyboard_interrupt_leaves_a_run_that_resumes(tmp_path, undisturbed):
    def interrupt(done, total, note):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        toy.run(tmp_path, report=interrupt)
    assert store.list_runs(tmp_path)[0].done == 4
    toy.run(tmp_path)
    assert toy.files(tmp_path) == undisturbed


def test_a_complete_run_is_returned_without_computing_or_writing(tmp_path, computed):
    first = toy.run(tmp_path)
    written = (first.folder / "manifest.json").stat().st_mtime_ns
    computed.clear()
    again = toy.run(tmp_path)
    assert computed == []
    assert again.manifest == first.manifest
    assert (first.folder / "manifest.json").stat().st_mtime_ns == written


def test_a_truncated_shard_is_named_and_computed_again_alone(tmp_path, undisturbed, computed):
    run = interrupted(tmp_path, shards=2)
    shard = run.folder / "steps-00001.parquet"
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(DamagedRun, match=r"steps-00001\.parquet"):
        run.steps()
    computed.clear()
    notes = []
    toy.run(tmp_path, report=lambda done, total, note: notes.append((done, note)))
    assert notes[0] == (4, "steps-00001.parquet is damaged; its samples are computed anew")
    assert computed == [4, 2]
    assert toy.files(tmp_path) == undisturbed


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_a_damaged_merged_file_is_named_and_computed_again(tmp_path, undisturbed, damage):
    run = toy.run(tmp_path)
    damage(run.folder / "samples.parquet")
    with pytest.raises(DamagedRun, match=r"samples\.parquet"):
        run.samples()
    notes = []
    toy.run(tmp_path, report=lambda done, total, note: notes.append(note))
    assert notes[0].startswith("samples.parquet is damaged")
    assert toy.files(tmp_path) == undisturbed


def test_a_damaged_manifest_is_told_and_the_run_computed_again(tmp_path, undisturbed):
    run = toy.run(tmp_path)
    (run.folder / "manifest.json").write_text("{")
    notes = []
    toy.run(tmp_path, report=lambda done, total, note: notes.append(note))
    assert "manifest" in notes[0]
    assert toy.files(tmp_path) == undisturbed


def test_a_run_that_another_process_writes_is_refused(tmp_path):
    run = interrupted(tmp_path, shards=1)
    with (
        store.writing(run.folder, run.spec, run.sites, "cpu"),
        pytest.raises(RunLocked, match="by another process"),
    ):
        toy.run(tmp_path)


def test_samples_are_prepared_once_for_all_strategies(tmp_path, monkeypatch):
    prepared = []
    prepare = toy.engine().prepare
    monkeypatch.setattr(
        toy.engine(), "prepare", lambda samples: prepared.append(len(samples)) or prepare(samples)
    )
    runner = Runner(toy.engine(), tmp_path, toy.SHARD)
    for strategy in ("base", "uniform", "oracle"):
        runner.run(toy.dataset(), 0, strategy, Setting(strategy, steps=2))
    assert prepared == [1, 4, 4, 2]  # one, first of all, so that its time does not count
    runner.run(toy.dataset(seed=1), 1, "base", Setting("base"))
    assert prepared[4:] == [4, 4, 2]


def test_a_run_tells_what_it_took(tmp_path):
    costs = toy.run(tmp_path).costs
    parts = [costs[f"{name}_seconds"] for name in ("strategy", "encoding", "answer")]
    assert all(0 < part < costs["wall_seconds"] for part in parts)
    known = peak.watch("cpu")() is not None
    assert ("peak_memory" in costs) == known
    assert costs.get("peak_memory", 2**30) > 50 * 2**20  # a process with torch holds more


def test_time_is_told_apart_by_what_it_went_to(tmp_path, clock):
    clock.costs(picture=100, encode=10, answer=1)
    runner = Runner(clock.engine, tmp_path, toy.SHARD)
    settings = {"base": Setting("base"), "ngd": toy.NGD, "uniform": Setting("uniform")}
    runs = {name: runner.run(clock.dataset, 0, name, setting) for name, setting in settings.items()}
    shards = 3
    for run in runs.values():
        assert run.costs["encoding_seconds"] == 10 * shards  # once, for all of them
        assert run.costs["answer_seconds"] == shards
    # The first loads the pictures, and encodes one to begin with.
    asked = {name: run.costs["wall_seconds"] for name, run in runs.items()}
    assert asked["base"] == 100 * toy.SIZE + 10 * (shards + 1) + shards
    assert asked["uniform"] == 2 * shards


def test_answers_at_the_steps_in_between_do_not_count(tmp_path, clock):
    clock.costs(answer=1)
    runner = Runner(clock.engine, tmp_path, toy.SIZE)
    all_steps, ends = (
        runner.run(clock.dataset, 0, "ngd", toy.NGD, trace).costs for trace in ("all", "ends")
    )
    assert all_steps["answer_seconds"] == ends["answer_seconds"] == 1
    assert all_steps["wall_seconds"] > ends["wall_seconds"]


def test_a_limit_runs_the_first_samples_and_is_a_run_of_its_own(tmp_path):
    whole, part = toy.run(tmp_path), toy.run(tmp_path, limit=3)
    assert part.figures["n"] == 3
    assert part.id != whole.id
    assert list(part.samples()["sample"]) == list(whole.samples()["sample"][:3])


def test_no_samples_are_refused(tmp_path):
    with pytest.raises(ValueError, match="nothing to run"):
        toy.run(tmp_path, limit=0)


def test_progress_begins_at_what_is_there_and_ends_at_the_total(tmp_path):
    interrupted(tmp_path, shards=1)
    seen = []
    toy.run(tmp_path, report=lambda done, total, note: seen.append((done, total)))
    assert seen == [(4, 10), (8, 10), (10, 10)]


def test_sample_rows_agree_with_the_engine(tmp_path):
    samples = toy.run(tmp_path).samples()
    engine = toy.engine()
    trajectory = engine.run(engine.prepare(list(toy.dataset())), toy.NGD)
    assert list(samples["base_answer"]) == trajectory.answers[0].texts
    assert list(samples["answer"]) == trajectory.answers[-1].texts
    assert list(samples["correct"]) == list(samples["answer"] == samples["label"])
    assert list(samples["forward"]) == trajectory.cost.forward.tolist()
    np.testing.assert_allclose(
        samples["objective_after"], trajectory.objective[:, -1], rtol=0, atol=1e-4
    )
    np.testing.assert_allclose(
        np.stack(list(samples["neighbour_loss_after"])),
        trajectory.losses[:, 1],
        rtol=0,
        atol=6e-4,
    )


def test_figures_agree_with_the_sample_rows(tmp_path):
    run = toy.run(tmp_path)
    samples = run.samples()
    assert run.figures["accuracy"] == samples["correct"].mean()
    assert run.figures["wrong_to_right"] == (~samples["base_correct"] & samples["correct"]).sum()


def test_neighbours_are_named_by_their_position_in_the_reference_dataset(tmp_path):
    samples = toy.run(tmp_path).samples()
    whole = toy.engine().reference
    questions = whole.table["question"].to_numpy()
    assert not whole.table["correct"].all()
    for position, near, distance in zip(
        samples["position"], samples["neighbours"], samples["neighbour_distance"], strict=True
    ):
        assert whole.table["correct"][near].all()
        same = questions[near] == toy.dataset()[position].question
        np.testing.assert_array_equal(same, distance == 0)


def test_absent_neighbours_are_not_stored(tmp_path):
    near = replace(toy.NGD, neighbourhood="ball", epsilon=0.01)
    samples = toy.run(tmp_path, near).samples()
    lists = [name for name in samples if name.startswith("neighbour")]
    for _, row in samples[lists].iterrows():
        assert len({len(row[name]) for name in lists}) == 1
    assert samples["neighbours"].map(len).nunique() > 1
    assert all(np.isfinite(np.concatenate(list(samples[name]))).all() for name in lists)


def test_a_strategy_without_neighbours_stores_empty_lists(tmp_path):
    samples = toy.run(tmp_path, Setting("oracle", steps=2), "oracle").samples()
    assert all(len(row) == 0 for row in samples["neighbours"])
    assert all(len(row) == 0 for row in samples["neighbour_loss_before"])


def test_step_rows_hold_every_step_of_the_routing(tmp_path):
    steps = toy.run(tmp_path).steps()
    engine = toy.engine()
    r = engine.run(engine.prepare(list(toy.dataset())), toy.NGD).r
    assert list(steps["step"]) == [0, 1, 2, 3] * toy.SIZE
    np.testing.assert_allclose(np.stack(list(steps["r"])), r.flatten(0, 1).flatten(1), atol=6e-4)
    strongest = [engine.model.experts[i] for i in r.mean(2).argmax(-1).flatten()]
    assert list(steps["top1"]) == strongest


def test_without_trace_the_first_and_the_last_step_keep_their_numbers(tmp_path):
    traced, brief = toy.run(tmp_path).steps(), toy.run(tmp_path, trace="ends").steps()
    assert list(brief["step"]) == [0, 3] * toy.SIZE
    ends = traced[traced["step"].isin([0, 3])].reset_index(drop=True)
    assert ends.drop(columns="r").equals(brief.drop(columns="r"))
    np.testing.assert_array_equal(np.stack(list(ends["r"])), np.stack(list(brief["r"])))


def test_a_run_kept_for_its_outcomes_alone_has_neither_steps_nor_neighbours(tmp_path):
    traced, brief = toy.run(tmp_path), toy.run(tmp_path, trace="none")
    assert brief.steps().empty
    assert all(len(row) == 0 for row in brief.samples()["neighbours"])
    assert brief.figures == traced.figures


@pytest.mark.parametrize("algorithm", ["base", "uniform", "mode_finding", "kernel_regression"])
def test_every_kind_of_strategy_can_be_kept(tmp_path, algorithm):
    run = toy.run(tmp_path, Setting(algorithm, k=2, steps=2), algorithm)
    assert Run.load(run.folder).figures["n"] == toy.SIZE
    assert set(run.steps()["position"]) == set(range(toy.SIZE))


def test_the_runs_of_a_request_are_made_in_its_order_and_reported_by_number(tmp_path, monkeypatch):
    monkeypatch.setenv("R2T2_CACHE", str(tmp_path))
    monkeypatch.setattr(studio, "open_engine", lambda *names: toy.engine())
    monkeypatch.setattr(studio, "open_dataset", lambda name, seed: toy.dataset(name, seed=seed))
    request = Request(
        "toy", "refs", ("one", "two"), ("base", "ngd"), ("k=1,2", "steps=2"), seed=3, limit=5
    )
    told = []
    made = list(carry_out(request, lambda *progress: told.append(progress)))
    assert [planned for planned, _ in made] == list(request.planned)
    for planned, run in made:
        assert (run.spec.benchmark, run.spec.strategy) == (planned.benchmark, planned.strategy)
        assert run.spec.setting == planned.setting.options
        assert (run.spec.seed, run.spec.size, run.spec.trace) == (3, 5, planned.trace)
        assert run.folder.parent == tmp_path / "runs"
    ends = [(number, 5, 5, "") for number in range(6)]
    assert [progress for progress in told if progress[1] == 5] == ends
