"""Space for what is kept of many samples, whether or not main memory holds it."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from math import prod
from pathlib import Path
from weakref import WeakSet, ref

import torch
from jaxtyping import Int
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from r2t2.contract import Batch, Picked
from r2t2.estimate import SHARE, free_memory, size
from r2t2.files import written
from r2t2.paths import cache_folder


def room(like: Batch, rows: int) -> Batch:
    """Uninitialised tensors of so many rows, as the rows of `like` are.

    What main memory should not hold lies in files, which the system reads and writes as it is
    used, and which are gone with the process.

    Raises
    ------
    MemoryError : the disk does not hold them either.
    """
    shapes = {name: (rows, *tensor.shape[1:]) for name, tensor in like.tensors.items()}
    here = [name for name, tensor in like.tensors.items() if tensor.device.type == "cpu"]
    needed = sum(prod(shapes[name]) * like.tensors[name].itemsize for name in here)
    if needed <= SHARE * free_memory("cpu"):
        here = []
    return Batch(
        {
            name: _on_disk(tensor, shapes[name]) if name in here else tensor.new_empty(shapes[name])
            for name, tensor in like.tensors.items()
        }
    )


class Kept:
    """Encodings in a folder, a file each, for whoever needs them later.

    Each is whole or not there, a damaged one counts as not there, and the folder may be deleted
    at any time: all in it can be made again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, number: int) -> dict[str, Tensor] | None:
        """What is kept under a number, rows of one, if anything is."""
        try:
            return load_file(self._file(number))
        except (OSError, SafetensorError):
            return None

    def put(self, number: int, tensors: Mapping[str, Tensor]) -> None:
        """Keep rows of one under a number, as long as a tenth of the disk stays free."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            disk = shutil.disk_usage(self._folder)
            if disk.free < disk.total / 10:
                return
            with written(self._file(number)) as part:
                save_file({name: t.cpu().contiguous() for name, t in tensors.items()}, part)
        except (OSError, SafetensorError):  # a disk that is full or not ours: it is made again
            return

    def _file(self, number: int) -> Path:
        return self._folder / f"{number}.safetensors"


class Near:
    """Rows of encodings on a model's device, those that were asked for last.

    Encodings lie in main memory, and every step of a descent takes those of the same neighbours.
    So a row that was brought stays until the room is needed for others: a share of what was free
    on the device when the first was brought. Rows that are used together and are more than that
    are brought anew each time. Nothing is held of what lies on the device already.

    Several threads may ask at once: what one of them still uses is not overwritten.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # By the id of their tensor, which may be another's later: so with a reference to it.
        self._held: OrderedDict[tuple[int, int], tuple[ref[Tensor], Tensor]] = OrderedDict()
        self._bytes = 0
        self._holding = threading.Lock()
        _NEAR.add(self)

    def __call__(self, rows: Int[Tensor, " rows"] | slice, *batches: Batch) -> list[Batch]:
        """Some rows of batches, on the device.

        Parameters
        ----------
        batches : all that is used together, of which the rows are a part.
        """
        origins = [_origin(batch) for batch in batches]
        if not any(self._far(tensor) for whole, _ in origins for tensor in whole.values()):
            return [batch[rows].to(self._device) for batch in batches]
        needed = sum(
            len(index.unique()) * (tensor.nbytes // len(tensor))
            for whole, index in origins
            for tensor in whole.values()
            if self._far(tensor)
        )
        hold = needed <= self._room
        return [
            Batch({name: self._brought(t, index[rows], hold) for name, t in whole.items()})
            for whole, index in origins
        ]

    def empty(self) -> bool:
        """Let go of what is held; whether there was anything."""
        with self._holding:
            held = bool(self._held)
            self._held.clear()
            self._bytes = 0
        return held

    def give_up(self) -> bool:
        """As `let_go`; and what had no room beside the work of this model is not held again."""
        held = self.empty()
        if held:
            self._room = 0.0
        return let_go() or held

    @cached_property
    def _room(self) -> float:
        return SHARE * free_memory(str(self._device))

    def _far(self, tensor: Tensor) -> bool:
        return self._device.type != "cpu" and tensor.device.type == "cpu"

    def _brought(self, tensor: Tensor, index: Int[Tensor, " rows"], hold: bool) -> Tensor:
        if not self._far(tensor):
            return tensor[index].to(self._device)
        if hold:
            try:
                rows = [self._one(tensor, i) for i in index.tolist()]
            except torch.OutOfMemoryError:
                self.give_up()
            else:
                return torch.cat(rows)
        return across(tensor, index.tolist(), self._device)

    def _one(self, tensor: Tensor, i: int) -> Tensor:
        key = id(tensor), i
        with self._holding:
            whose, row = self._held.pop(key, (None, None))
            if row is not None:
                self._bytes -= row.nbytes
            if row is None or whose is None or whose() is not tensor:
                self._make_way(tensor.nbytes // len(tensor))
                row = across(tensor, [i], self._device)
            if self._bytes + row.nbytes <= self._room:
                self._held[key] = ref(tensor), row
                self._bytes += row.nbytes
        return row

    def _make_way(self, nbytes: int) -> None:
        while self._held and self._bytes + nbytes > self._room:
            _, (_, row) = self._held.popitem(last=False)
            self._bytes -= row.nbytes


_NEAR: WeakSet[Near] = WeakSet()


def let_go() -> bool:
    """Let go of what any model holds on a device only to be at hand; whether there was anything."""
    held = [near.empty() for near in list(_NEAR)]
    torch.cuda.empty_cache()
    return any(held)


def across(tensor: Tensor, rows: Sequence[int], device: torch.device) -> Tensor:
    """Rows of a tensor in main memory, on a device.

    A GPU fetches them by itself from memory that is never swapped out; they are put there one by
    one, since the tensor may be a file that main memory does not hold.
    """
    made = tensor.new_empty((len(rows), *tensor.shape[1:]), device=device)
    for place, i in enumerate(rows):
        row = tensor[i]
        if device.type == "cuda":
            with suppress(RuntimeError):  # where no such memory is granted, a copy is slower
                row = row.pin_memory()
        made[place].copy_(row, non_blocking=True)
    return made


def _origin(batch: Batch) -> tuple[Mapping[str, Tensor], Int[Tensor, " rows"]]:
    """What the rows of a batch are rows of, and which."""
    if isinstance(batch.tensors, Picked):
        return batch.tensors.whole, batch.tensors.rows
    return batch.tensors, torch.arange(len(batch))


def _on_disk(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    count = prod(shape)
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        prefix=".encodings.", suffix=".part", dir=cache_folder()
    ) as file:
        try:
            # Now, since a disk that is full when a page is written kills the process; macOS, which
            # has no such call, makes the file as long without keeping room for it.
            reserve = getattr(os, "posix_fallocate", lambda file, _, size: os.truncate(file, size))
            reserve(file.fileno(), 0, max(1, count * like.itemsize))
        except OSError as error:
            raise MemoryError(
                f"encoded references take {size(count * like.itemsize)} and fit neither into "
                f"memory nor on the disk of the cache ({error}): take fewer references, or an "
                "option of the model that makes an encoding smaller"
            ) from error
        return torch.from_file(file.name, shared=True, size=count, dtype=like.dtype).view(shape)
