"""The next shard's pictures are loaded while one is computed, and nothing else changes."""

import threading
from dataclasses import replace

import pytest

from r2t2 import files
from r2t2.runs import ahead
from r2t2.runs.ahead import Ahead
from r2t2.runs.runner import Runner, Worker
from r2t2.samples import Dataset
from tests.runs import toy

SHARDS = [range(0, 4), range(4, 8), range(8, 10)]


class Watched(Dataset):
    """The toy's dataset, and who loads which of its pictures.

    Parameters
    ----------
    met : called with a position before its picture is loaded.
    """

    def __init__(self, met=lambda position: None):
        self.loaded, plain = [], toy.dataset()

        def make(position):
            sample = plain[position]

            def load():
                met(position)
                self.loaded.append((position, threading.current_thread().name))
                return sample.load_image()

            return replace(sample, load_image=load)

        super().__init__(plain.name, len(plain), make)

    @property
    def positions(self):
        return [position for position, _ in self.loaded]

    @property
    def in_background(self):
        return [position for position, thread in self.loaded if thread.startswith("ahead")]


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def runner(folder, device="meta"):
    """A runner whose engine is taken for one that does not compute on the processor."""
    worker = Worker(toy.engine())
    worker.device = device
    return Runner(worker, folder, toy.SHARD)


def run(folder, dataset, **options):
    return runner(folder).run(dataset, 0, "ngd", toy.NGD, **options)


def test_the_next_shard_is_loaded_while_one_is_computed_and_no_other(tmp_path, monkeypatch):
    loaded = [threading.Event() for _ in range(toy.SIZE)]
    dataset = Watched(lambda position: loaded[position].set())
    compute, seen = toy.engine().run, []

    def waits(prepared, *rest):
        first = int(prepared.samples[0].id.rsplit("-", 1)[1])
        after = SHARDS[first // toy.SHARD + 1 :]
        # Were it loaded after this shard, this would wait in vain.
        assert all(loaded[position].wait(30) for position in (after[0] if after else ()))
        seen.append(any(loaded[position].is_set() for shard in after[1:] for position in shard))
        return compute(prepared, *rest)

    monkeypatch.setattr(toy.engine(), "run", waits)
    run(tmp_path, dataset)
    assert seen == [False] * 3
    assert sorted(dataset.positions) == list(range(toy.SIZE))
    assert sorted(dataset.in_background) == list(range(4, toy.SIZE))


def test_the_rows_are_those_of_shards_that_nothing_was_loaded_for(tmp_path):
    worker, dataset = runner(tmp_path).workers, toy.dataset()
    spec = worker.spec(dataset, 0, "ngd", toy.NGD, "all", toy.SHARD)
    firsts = [shard.start for shard in SHARDS]
    alone = [Worker(toy.engine()).shard(spec, dataset, first) for first in firsts]
    for plain, shard in zip(alone, worker.shards(spec, dataset, firsts), strict=True):
        assert (plain.samples, plain.steps) == (shard.samples, shard.steps)


def test_what_the_next_strategy_finds_prepared_is_not_loaded_again(tmp_path):
    dataset, there = Watched(), runner(tmp_path)
    for steps in (1, 2):
        there.run(dataset, 0, "ngd", replace(toy.NGD, steps=steps))
    assert sorted(dataset.positions) == list(range(toy.SIZE))


def test_where_the_processor_computes_it_loads_nothing_ahead(tmp_path):
    dataset = Watched()
    runner(tmp_path, "cpu").run(dataset, 0, "ngd", toy.NGD)
    assert dataset.in_background == []
    assert sorted(dataset.positions) == list(range(toy.SIZE))


def test_no_picture_is_kept_with_the_encodings(tmp_path):
    there = runner(tmp_path)
    there.run(toy.dataset(), 0, "ngd", toy.NGD)
    for prepared, _ in there.workers._prepared.values():
        assert not any("image" in vars(sample) for sample in prepared.samples)


def test_a_shard_that_is_prepared_already_is_not_loaded_ahead(tmp_path):
    asked = iter([False, True])
    run(tmp_path, toy.dataset(), cancelled=lambda: next(asked))
    dataset, there = Watched(), runner(tmp_path)
    there.run(dataset, 0, "ngd", toy.NGD)  # what is left: all but the first shard
    dataset.loaded.clear()
    there.run(dataset, 0, "ngd", replace(toy.NGD, steps=1))
    assert dataset.positions == [0, 1, 2, 3]


def broken(position):
    if position == 5:
        raise ValueError("picture 5 is damaged")


def test_a_picture_that_cannot_be_loaded_ends_the_run_at_its_shard(tmp_path):
    dataset, done = Watched(broken), []
    with pytest.raises(ValueError, match="picture 5 is damaged"):
        run(tmp_path, dataset, report=lambda count, total, note: done.append(count))
    assert done == [0, 4]


def test_a_picture_of_a_shard_that_is_not_computed_ends_nothing(tmp_path):
    asked = iter([False, True])
    there = run(tmp_path, Watched(broken), cancelled=lambda: next(asked))
    assert (there.status, there.done) == ("running", 4)


def test_samples_that_cannot_be_made_are_told_of_when_they_are_taken():
    def make(position):
        if position == 5:
            raise OSError("row 5 is damaged")
        return toy.dataset()[position]

    with Ahead(Dataset("rows", 10, make), lambda part: True) as dataset:
        assert len(dataset[0:4]) == 4
        with pytest.raises(OSError, match="row 5"):
            dataset[4:8]


def test_a_run_that_is_cancelled_loads_no_further_picture():
    started = threading.Event()

    def met(position):
        if position == 4:
            started.set()
            assert dataset._enough.wait(30)

    watched = Watched(met)
    with Ahead(watched, lambda part: True) as dataset:
        _ = dataset[0:4]
        assert started.wait(30)
    assert watched.positions == [4]


def test_a_shard_that_was_not_expected_is_loaded_by_who_takes_it():
    watched = Watched()
    with Ahead(watched, lambda part: True) as dataset:
        _ = dataset[0:2]
        assert [sample.id for sample in dataset[6:8]] == [sample.id for sample in watched[6:8]]
        assert [sample.id for sample in dataset[8:10]] == [sample.id for sample in watched[8:10]]
    assert set(watched.positions) <= {2, 3, 8, 9}


def test_pictures_that_memory_does_not_hold_are_left_to_who_takes_them(monkeypatch):
    watched = Watched()
    # A picture of the toy's is 4 x 4 pixels; two of them fit.
    monkeypatch.setattr(ahead, "free_memory", lambda device: 100 / ahead.SHARE)
    with Ahead(watched, lambda part: True) as dataset:
        _ = dataset[0:4]
        _ = dataset[4:8]
    assert [position for position in watched.positions if position < 8] == [4, 5]


def test_no_thread_outlives_a_run_that_ends_in_an_error(tmp_path, monkeypatch):
    def full(*paths):
        raise OSError(28, "No space left on device")

    def storing(count, total, note):
        monkeypatch.setattr(files.os, "replace", full)

    with pytest.raises(OSError, match="No space") as raised:
        run(tmp_path, Watched(), report=storing)
    # Though the run's frames are still there.
    assert raised.tb
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]
