"""The app as a process of its own, and the flags of the Chromium that looks at it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[1]
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def served(
    environment: Mapping[str, str], log: Path | None = None
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The app, started as a user would: its address and its process.

    Raises
    ------
    RuntimeError : it ended, or did not answer within a minute.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    output = log.open("ab") if log else subprocess.DEVNULL
    server = subprocess.Popen(  # noqa: S603
        command, cwd=ROOT, env=dict(environment), stdout=output, stderr=subprocess.STDOUT
    )
    try:
        until = time.monotonic() + 60
        while not _healthy(port):
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the app did not start: {log.read_text() if log else command}")
            time.sleep(0.05)
        yield f"http://localhost:{port}", server
    finally:
        server.terminate()
        server.wait()


def _healthy(port: int) -> bool:
    try:
        urlopen(f"http://localhost:{port}/_stcore/health").close()
    except OSError:
        return False
    return True
