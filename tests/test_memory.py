"""What is kept of many samples: not copied before it is needed, and on disk where it is large."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import MagicMock
from weakref import ref

import pytest
import torch

from r2t2 import estimate, memory
from r2t2.contract import Batch
from r2t2.engine import Engine, Memory
from r2t2.estimate import Estimate
from r2t2.memory import Near, across, room
from r2t2.models import load_model
from r2t2.rerouting.settings import Setting
from tests.runs import toy


@pytest.fixture
def cramped(monkeypatch, tmp_path):
    """A machine with hardly any main memory."""
    monkeypatch.setenv("R2T2_CACHE", str(tmp_path))
    monkeypatch.setattr(memory, "free_memory", lambda device: 100)
    return tmp_path


def test_rows_are_named_and_divided_without_being_copied():
    batch = Batch({"a": torch.arange(4 << 20).view(4, -1), "b": torch.arange(4)})
    # Copied, these would be 32 TiB.
    many = batch[torch.arange(4).repeat(1 << 20)]
    assert len(many) == 4 << 20
    part = many[5:8][torch.tensor([2, 0])]
    assert part.tensors["b"].tolist() == [3, 1]
    assert part.named({"c": "b"}).to("cpu").tensors["c"].tolist() == [3, 1]
    assert part[torch.tensor([False, True])].tensors["b"].tolist() == [1]
    assert torch.equal(part.tensors["a"], batch.tensors["a"][[3, 1]])


def test_what_memory_does_not_hold_lies_in_a_file_that_does_not_stay(cramped, monkeypatch):
    kinds = (torch.float32, torch.bfloat16, torch.long, torch.bool)
    like = Batch({str(kind): torch.zeros(3, 2, 5, dtype=kind) for kind in kinds})
    there = room(like, 7)
    for name, tensor in there.tensors.items():
        tensor[6] = 1
        assert (tensor.shape, str(tensor.dtype)) == ((7, 2, 5), name)
        assert tensor.sum() == 10
        assert tensor.untyped_storage().filename
    assert list(cramped.iterdir()) == []


def test_what_memory_holds_lies_in_memory(monkeypatch):
    there = room(Batch({"a": torch.zeros(1, 3)}), 4)
    assert not there.tensors["a"].untyped_storage().filename


def test_a_disk_that_is_full_is_said_so(cramped, monkeypatch):
    def full(file, start, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(memory.os, "posix_fallocate", full)
    with pytest.raises(MemoryError, match="take fewer references"):
        room(Batch({"a": torch.zeros(1, 300)}), 4)


def test_strategies_find_the_same_with_references_on_disk(cramped, monkeypatch):
    engine = toy.engine()
    prepared = engine.prepare(toy.dataset()[:4])
    setting = Setting("ngd", k=3, steps=2)
    expected = engine.run(prepared, setting)
    monkeypatch.setitem(
        engine._memories, "correct", Memory(engine.model, engine.reference.correct, engine.dataset)
    )
    found = engine.run(prepared, setting)
    kept = engine._memories["correct"]._kept
    assert all(tensor.untyped_storage().filename for tensor in kept.tensors.values())
    assert torch.equal(found.r, expected.r)


def test_no_more_is_encoded_at_once_than_a_model_asks_for(monkeypatch):
    engine, sizes = toy.engine(), []
    encode = toy.Toy.encode

    def counted(model, samples):
        sizes.append(len(samples))
        return encode(model, samples)

    monkeypatch.setattr(toy.Toy, "encode", counted)
    monkeypatch.setattr(toy.Toy, "at_once", 7)
    Memory(engine.model, engine.reference, engine.dataset)(torch.arange(20))
    assert sizes == [7, 7, 6]


def test_large_encodings_are_made_in_small_batches(monkeypatch):
    told = Estimate(1, 1, 1, 1000, 1.0, 1.0, 1, 1.0)
    for free, most in ((100, 1), (40_000, 10), (1 << 40, 256)):
        monkeypatch.setattr(estimate, "free_memory", lambda device, free=free: free)
        assert told.at_once == most
    monkeypatch.setattr(estimate, "free_memory", lambda device: 10_000)
    assert told.spills(5) == ""
    assert "6 encoded samples" in told.spills(6)


@pytest.fixture
def dear(monkeypatch, tmp_path):
    """A new session's memory of references that are kept on disk, and what it encoded."""
    monkeypatch.setattr(toy.Toy, "dear", True)
    encode, encoded = toy.Toy.encode, []

    def counted(model, samples):
        encoded.extend(samples)
        return encode(model, samples)

    monkeypatch.setattr(toy.Toy, "encode", counted)
    built = toy.engine()

    def session():
        encoded.clear()
        engine = Engine(built.model, built.reference, built.dataset, tmp_path)
        return engine._memories["all"], encoded

    return session


def test_another_session_encodes_nothing_again(dear):
    memory, encoded = dear()
    first = memory(torch.arange(5))
    assert len(encoded) == 5
    memory, encoded = dear()
    again = memory(torch.arange(7))
    assert len(encoded) == 2
    for name, tensor in first.tensors.items():
        assert torch.equal(again.tensors[name][:5], tensor)


def test_an_encoding_that_is_damaged_on_disk_is_made_again(dear, tmp_path):
    memory, _ = dear()
    first = memory(torch.arange(3))
    (file,) = tmp_path.glob("encodings-*/1.safetensors")
    file.write_bytes(file.read_bytes()[:-3])
    memory, encoded = dear()
    again = memory(torch.arange(3))
    assert encoded
    assert torch.equal(again.tensors["pixels"], first.tensors["pixels"])


def test_a_disk_that_is_nearly_full_keeps_no_encodings(dear, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(total=100, free=9)
    monkeypatch.setattr(memory.shutil, "disk_usage", lambda folder: usage)
    kept, _ = dear()
    assert len(kept(torch.arange(3))) == 3
    assert not list(tmp_path.glob("encodings-*/*"))


def test_what_is_quickly_encoded_is_not_kept(tmp_path):
    built = toy.engine()
    engine = Engine(built.model, built.reference, built.dataset, tmp_path)
    engine._memories["all"](torch.arange(3))
    assert not list(tmp_path.iterdir())


# On a device that is not the processor. There is none here: that encodings do not lie on it is
# pretended, and what would be brought to it is counted.

ROW = 4 * 8  # bytes of a row of the encodings below


@pytest.fixture
def device(monkeypatch):
    """A device with room for so many rows of encodings; and those, and what is brought to it."""
    brought = []

    def counted(tensor, rows, device):
        brought.extend(rows)
        return across(tensor, rows, device)

    monkeypatch.setattr(memory, "across", counted)
    monkeypatch.setattr(Near, "_far", lambda near, tensor: True)

    def made(rows):
        monkeypatch.setattr(memory, "free_memory", lambda device: rows * ROW / memory.SHARE)
        return Near(torch.device("cpu")), Batch({"a": torch.rand(10, 8)}), brought

    return made


def ask(near, batch, rows):
    """Rows through a device, as they should be."""
    index = torch.tensor(rows)
    (found,) = near(slice(None), batch[index])
    assert torch.equal(found.tensors["a"], batch.tensors["a"][index])


def test_rows_in_use_are_brought_to_the_device_once(device):
    near, batch, brought = device(10)
    for _ in range(3):
        for part in (slice(0, 2), slice(2, 5)):
            (found,) = near(part, batch[torch.tensor([7, 3, 3, 9, 7])])
            assert torch.equal(found.tensors["a"], batch.tensors["a"][[7, 3, 3, 9, 7][part]])
    assert brought == [7, 3, 9]
    ask(near, batch, [9, 1])
    assert brought == [7, 3, 9, 1]


def test_rows_that_were_asked_for_longest_ago_make_way(device):
    near, batch, brought = device(3)
    for rows in ([0, 1], [2], [0], [3]):  # 1 goes
        ask(near, batch, rows)
    brought.clear()
    for rows in ([3], [2], [0]):
        ask(near, batch, rows)
    assert brought == []
    ask(near, batch, [1])
    assert brought == [1]


def test_never_more_is_held_than_there_is_room_for(device):
    near, batch, _ = device(4)
    other = Batch({"a": torch.rand(10, 3), "b": torch.arange(10)})
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        asked = torch.randint(10, (3,), generator=generator)
        near(slice(None), batch[asked], other[asked])
        held = sum(row.nbytes for _, row in near._held.values())
        assert held == near._bytes <= 4 * ROW


def test_rows_that_do_not_fit_together_are_brought_each_time(device):
    near, batch, brought = device(3)
    for _ in range(2):
        ask(near, batch, [0, 1, 2, 3])
    assert brought == [0, 1, 2, 3] * 2
    assert not near.empty()


def test_what_is_used_together_must_fit_together(device):
    near, batch, brought = device(3)
    other, rows = Batch({"a": torch.rand(10, 8)}), torch.tensor([0, 1])
    for _ in range(2):
        near(slice(0, 1), batch[rows], other[rows])
    assert brought == [0] * 4


def test_a_full_device_holds_nothing_any_more(device, monkeypatch):
    near, batch, brought = device(10)
    ask(near, batch, [0, 1])
    bring = memory.across

    def full(tensor, rows, device):
        if near._held:
            raise torch.OutOfMemoryError("too much")
        return bring(tensor, rows, device)

    monkeypatch.setattr(memory, "across", full)
    for _ in range(2):
        ask(near, batch, [0, 5])
    assert brought == [0, 1] + [0, 5] * 2
    assert not near.empty()


def test_who_has_no_room_takes_that_of_other_models(device):
    (near, batch, brought), (other, _, _) = device(10), device(10)
    ask(near, batch, [0])
    ask(other, batch, [1])
    assert near.give_up()
    brought.clear()
    for _ in range(2):
        ask(near, batch, [0])
        ask(other, batch, [1])
    assert brought == [0, 1, 0]  # the other one, whose work had room, holds again


def test_weights_of_another_model_come_first(device, tmp_path):
    near, batch, brought = device(10)
    ask(near, batch, [0, 1])
    with pytest.raises(FileNotFoundError):
        load_model(f"hf:{tmp_path}/nowhere", "cpu")
    ask(near, batch, [0])
    assert brought == [0, 1, 0]


def test_a_row_of_a_tensor_that_is_gone_is_nobody_elses(device):
    near, batch, _ = device(10)
    gone, tensor = torch.zeros(1), batch.tensors["a"]
    near._held[id(tensor), 0] = ref(gone), torch.zeros(1, 8)
    near._bytes = ROW
    ask(near, batch, [0])
    assert near._bytes == ROW


def test_threads_that_ask_at_once_each_get_their_rows(device):
    near, batch, _ = device(5)

    def session(seed):
        generator = torch.Generator().manual_seed(seed)
        for _ in range(200):
            ask(near, batch, torch.randint(10, (4,), generator=generator).tolist())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(session, range(4)))
    assert near._bytes == sum(row.nbytes for _, row in near._held.values()) <= 5 * ROW


def test_what_lies_on_the_models_device_is_not_copied(monkeypatch):
    monkeypatch.delattr(memory, "free_memory")  # nor is it asked for room
    batch = Batch({"a": torch.rand(10, 8)})
    near = Near(torch.device("cpu"))
    (found,) = near(slice(2, 5), batch)
    assert found.tensors["a"].data_ptr() == batch.tensors["a"][2].data_ptr()
    assert not near.empty()


@pytest.mark.parametrize("free", [0, 1 << 30])
def test_encodings_in_main_memory_go_to_the_models_device(monkeypatch, free):
    monkeypatch.setattr(memory, "free_memory", lambda device: free)
    batch = Batch(
        {"a": torch.rand(10, 8), "b": torch.arange(10), "c": torch.rand(10, device="meta")}
    )
    (found,) = Near(torch.device("meta"))(slice(2, 5), batch)
    assert {name: (t.device.type, t.shape) for name, t in found.tensors.items()} == {
        "a": ("meta", (3, 8)),
        "b": ("meta", (3,)),
        "c": ("meta", (3,)),
    }


def test_a_gpu_is_given_rows_that_are_pinned_one_by_one():
    tensor = MagicMock()
    row, place = tensor[0], tensor.new_empty()[0]
    across(tensor, [4, 2], torch.device("cuda"))
    assert [call.args for call in place.copy_.call_args_list] == [(row.pin_memory(),)] * 2
    assert place.copy_.call_args.kwargs == {"non_blocking": True}
    row.pin_memory.side_effect = RuntimeError("no memory can be pinned")
    across(tensor, [4], torch.device("cuda"))
    assert place.copy_.call_args.args == (row,)
