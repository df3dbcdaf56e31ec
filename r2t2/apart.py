"""Work on files from anybody, in a process of its own that may use little memory and time.

What makes a decoder crash, or fills the memory, must not take the server with it.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

MOST_MEMORY = 2**32
MOST_SECONDS = 600
MOST_BYTES_OF_FILE = 2**30
_REFUSED = 3


def call(module: str, *arguments: str) -> None:
    """Run a module's `serve` with arguments, and wait for it.

    Raises
    ------
    ValueError : it refused what it was given, or came to an end by itself; the message says why.
    """
    done = subprocess.run(  # noqa: S603 (its own command, and no shell)
        [sys.executable, "-m", module, *arguments],
        cwd=Path(__file__).resolve().parents[1],
        # Other allocators, and more threads, reserve more addresses than they use.
        env={
            **os.environ,
            "ARROW_DEFAULT_MEMORY_POOL": "system",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == _REFUSED:
        raise ValueError(f"this file was not imported: {done.stderr.strip()}")
    if done.returncode:
        raise ValueError(
            "this file was not imported: reading it takes more time or memory than any such file "
            "needs, or makes the reader crash"
        )


def serve(work: Callable[..., object], *arguments: str) -> None:
    """Do the work under the limits; what is wrong with the file is the last that is said."""
    limits = {
        resource.RLIMIT_AS: MOST_MEMORY,
        resource.RLIMIT_CPU: MOST_SECONDS,
        resource.RLIMIT_FSIZE: MOST_BYTES_OF_FILE,
        resource.RLIMIT_CORE: 0,
    }
    for limit, most in limits.items():
        with suppress(OSError, ValueError):  # not every system lets us
            resource.setrlimit(limit, (most, most))
    try:
        work(*arguments)
    except MemoryError:
        sys.exit(1)
    except Exception as error:
        print(error, file=sys.stderr)
        sys.exit(_REFUSED)
