"""Space for what is kept of many samples, whether or not main memory holds it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from math import prod
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from r2t2.contract import Batch
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
