"""Runs that are copied elsewhere shard by shard, and go on from there in another cache."""

import contextlib
import os
import shutil

import fsspec
import pytest

from r2t2.paths import cache_folder
from r2t2.runs import store
from r2t2.runs.mirror import Mirror
from r2t2.runs.runner import Runner
from r2t2.runs.store import Run, UnreadableRun
from tests.runs import toy


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda file: None)


@pytest.fixture(params=["memory", "file"])
def address(request, tmp_path):
    """Somewhere empty."""
    if request.param == "file":
        return f"file://{tmp_path}/elsewhere"
    store = fsspec.filesystem("memory")
    store.store.clear()
    store.pseudo_dirs[:] = [""]
    return "memory://bucket/runs"


def run(folder, address, **options):
    """A run of three shards with a mirror."""
    runner = Runner(toy.engine(), folder, toy.SHARD, Mirror(address))
    return runner.run(toy.dataset(), 0, "ngd", toy.NGD, **options)


def stopped(folder, address, shards):
    """The same run, stopped after some shards."""
    asked = iter(range(shards + 1))
    return run(folder, address, cancelled=lambda: next(asked) == shards)


def there(address):
    """The mirror's files by their names, as bytes."""
    files, root = fsspec.url_to_fs(address)
    return {path.rpartition("/")[2]: files.cat_file(path) for path in files.find(root)}


def here(run):
    """A run's files by their names, as bytes."""
    return {path.name: path.read_bytes() for path in run.folder.iterdir() if path.suffix}


def test_a_mirror_holds_what_the_cache_does(tmp_path, address):
    begun = stopped(tmp_path / "a", address, shards=2)
    assert there(address) == here(begun)
    made = run(tmp_path / "a", address)
    assert there(address) == here(made)
    assert sorted(there(address)) == ["manifest.json", "samples.parquet", "steps.parquet"]


def test_a_run_goes_on_from_its_mirror_in_another_cache(tmp_path, address, monkeypatch):
    stopped(tmp_path / "a", address, shards=2)
    undisturbed = toy.files(toy.run(tmp_path / "plain").folder.parent)
    sizes, compute = [], toy.engine().run
    monkeypatch.setattr(
        toy.engine(), "run", lambda p, *rest: sizes.append(len(p.samples)) or compute(p, *rest)
    )
    made = run(tmp_path / "b", address)
    assert sizes == [2]
    assert toy.files(tmp_path / "b") == undisturbed
    assert there(address) == here(made)


def test_whenever_copying_ends_the_mirrors_manifest_is_true(tmp_path, address, monkeypatch):
    files = type(Mirror(address)._there)
    for number in range(100):
        left, reached = iter(range(number)), []

        def ending(method, left=left, reached=reached):
            def called(*arguments, **options):
                if next(left, None) is None:
                    reached.append(method)
                    raise SystemExit
                return method(*arguments, **options)

            return called

        shutil.rmtree(tmp_path, ignore_errors=True)
        if there(address):
            Mirror(address)._there.rm(address, recursive=True)
        with monkeypatch.context() as patch:
            for name in ("put_file", "pipe_file", "mv", "rm_file"):
                patch.setattr(files, name, ending(getattr(files, name)))
            with contextlib.suppress(SystemExit):
                run(tmp_path / "a", address)
        if not reached:
            break
        for name in Mirror(address).names():
            shutil.rmtree(tmp_path / "b", ignore_errors=True)
            if Mirror(address).pull(name, tmp_path / "b"):
                pulled = Run.load(tmp_path / "b" / name)
                assert pulled.damaged == []
                assert len(pulled.samples()) == pulled.done
    assert number > 8


def test_a_run_that_was_made_anew_replaces_the_one_in_the_mirror(tmp_path, address, monkeypatch):
    begun = stopped(tmp_path / "a", address, shards=2)
    monkeypatch.setattr(store, "versions", lambda: {"torch": "another"})
    made = run(tmp_path / "a", address)
    assert made.manifest["versions"] != begun.manifest["versions"]
    assert there(address) == here(made)


def test_a_mirror_that_fails_now_and_then_costs_no_shard(tmp_path, address, monkeypatch):
    files = type(Mirror(address)._there)
    put, calls, notes = files.put_file, iter(range(100)), []

    def failing(*arguments, **options):
        if next(calls) == 2:
            raise OSError("slow down")
        return put(*arguments, **options)

    monkeypatch.setattr(files, "put_file", failing)
    made = run(tmp_path, address, report=lambda done, total, note: notes.append(note))
    assert [note for note in notes if note] == ["the mirror lacks the last shard: slow down"]
    assert there(address) == here(made)


def test_a_file_that_is_damaged_in_the_mirror_is_computed_anew(tmp_path, address):
    begun = stopped(tmp_path / "a", address, shards=2)
    files, root = fsspec.url_to_fs(address)
    files.pipe_file(f"{root}/{begun.spec.folder}/steps-00001.parquet", b"cut")
    files.rm_file(f"{root}/{begun.spec.folder}/samples-00000.parquet")
    notes = []
    made = run(tmp_path / "b", address, report=lambda done, total, note: notes.append(note))
    assert len([note for note in notes if "is damaged" in note]) == 2
    assert toy.files(tmp_path / "b") == toy.files(toy.run(tmp_path / "plain").folder.parent)
    assert there(address) == here(made)


def test_what_is_damaged_or_left_over_in_the_mirror_is_put_right_by_the_next_shard(
    tmp_path, address
):
    begun = stopped(tmp_path / "a", address, shards=1)
    files, root = fsspec.url_to_fs(address)
    files.pipe_file(f"{root}/{begun.spec.folder}/steps-00000.parquet", b"cut")
    files.pipe_file(f"{root}/{begun.spec.folder}/steps-00002.parquet", b"left over")
    assert there(address) != here(begun)
    asked = iter([False, True])
    more = run(tmp_path / "a", address, cancelled=lambda: next(asked))
    assert (more.done, there(address)) == (2 * toy.SHARD, here(more))


def test_what_is_here_is_not_replaced_by_what_is_there(tmp_path, address):
    stopped(tmp_path / "a", address, shards=1)
    ahead = toy.run(tmp_path / "b")
    assert not Mirror(address).pull(ahead.spec.folder, tmp_path / "b")
    made = run(tmp_path / "b", address)
    assert there(address) == here(made)


@pytest.mark.parametrize("manifest", ["{", "[]", '{"format": 1}'])
def test_a_mirror_that_holds_something_else_is_refused(tmp_path, address, manifest):
    name = stopped(tmp_path / "a", address, shards=1).spec.folder
    files, root = fsspec.url_to_fs(address)
    files.pipe_file(f"{root}/{name}/manifest.json", manifest.encode())
    with pytest.raises(UnreadableRun, match="damaged"):
        Mirror(address).pull(name, tmp_path / "b")
    assert store.list_runs(tmp_path / "b") == []


def test_a_manifest_under_another_name_is_refused(tmp_path, address):
    stopped(tmp_path / "a", address, shards=1)
    files, root = fsspec.url_to_fs(address)
    files.makedirs(f"{root}/other")
    files.pipe_file(f"{root}/other/manifest.json", there(address)["manifest.json"])
    with pytest.raises(UnreadableRun, match="another run's"):
        Mirror(address).pull("other", tmp_path / "b")


def test_an_address_that_nothing_here_opens_says_what_is_missing():
    with pytest.raises(ValueError, match="nowhere"):
        Mirror("nowhere://x")


def test_the_cache_itself_is_a_folder(monkeypatch):
    monkeypatch.setenv("R2T2_CACHE", "s3://bucket/cache")
    with pytest.raises(ValueError, match="--mirror s3://bucket/cache"):
        cache_folder()
