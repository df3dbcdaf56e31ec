"""Samples loaded ahead: a shard's pictures are decoded while the one before it is computed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from r2t2.estimate import SHARE, free_memory
from r2t2.samples import Dataset, Sample


class Ahead(Dataset):
    """A dataset that, when a slice of it is taken, loads the one after it in the background.

    What cannot be loaded says so to whoever takes it, as without this, and not before. Entered, it
    has a thread; left, it has none.

    Parameters
    ----------
    wanted : whether a slice will be taken at all.
    """

    def __init__(self, dataset: Dataset, wanted: Callable[[slice], bool]) -> None:
        super().__init__(dataset.name, len(dataset), dataset.__getitem__, dataset.fingerprint)
        self._dataset, self._wanted = dataset, wanted
        self._pool = ThreadPoolExecutor(1, "ahead")
        self._coming: tuple[slice, Future[Sequence[Sample]]] | None = None
        self._enough = threading.Event()

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *raised: object) -> None:
        self._enough.set()
        self._pool.shutdown()

    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, slice):
            return super().__getitem__(index)
        samples = self._take(index)
        after = slice(index.stop, min(2 * index.stop - index.start, len(self)))
        if after.start < after.stop and self._wanted(after):
            self._enough = threading.Event()
            self._coming = after, self._pool.submit(self._load, after, self._enough)
        return samples

    def _take(self, index: slice) -> Sequence[Sample]:
        coming, self._coming = self._coming, None
        if coming and coming[0] == index:
            with suppress(Exception):  # which is met again below
                return coming[1].result()
        self._enough.set()
        return self._dataset[index]

    def _load(self, index: slice, enough: threading.Event) -> Sequence[Sample]:
        samples: Sequence[Sample] = self._dataset[index]
        room = SHARE * free_memory("cpu")
        with suppress(Exception):  # which who asks for the picture meets again
            for sample in samples:
                if enough.is_set() or room <= 0:
                    break
                room -= 4 * sample.image.width * sample.image.height  # as Pillow holds pixels
        return samples
