"""Files that are either whole or not there, and locks that a process holds to its end."""

from __future__ import annotations

import fcntl
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MOST_TIMES_COMPRESSED = 200


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A temporary path to write to; on success it is synced to disk and takes `path`'s name.

    Whoever reads `path` sees the old file or the new one, never a part, even when the process
    is killed or the machine stops in the middle.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        part.unlink(missing_ok=True)


def sound(entry: zipfile.ZipInfo, most: int) -> zipfile.ZipInfo:
    """An entry of a zip file from anybody, if it may be unpacked; no more than it says is read.

    Parameters
    ----------
    most : bytes that it may have.

    Raises
    ------
    ValueError : it may not; the message says why.
    """
    if entry.flag_bits & 1 or entry.compress_type not in _COMPRESSIONS:
        raise ValueError(f"{entry.filename[:80]!r} in it is encrypted or oddly compressed")
    squeezed = entry.file_size > _MOST_TIMES_COMPRESSED * max(entry.compress_size, 100)
    if squeezed or entry.file_size > most:
        raise ValueError(f"{entry.filename[:80]!r} in it would be {entry.file_size:,} bytes")
    return entry


def held(lock: Path) -> bool:
    """Whether a process holds a lock file, with `flock` as `filelock` does.

    To look is to share the lock for a moment: who takes it should try for longer than that.
    """
    try:
        file = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(file)
