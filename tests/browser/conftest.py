"""The real app in a real browser."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 120_000  # ms; the first answer waits for the model to load


@contextmanager
def serving(cache: Path, log: Path) -> Iterator[str]:
    """The app on a cache, started as a user would; its address."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    with log.open("a") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)],
            cwd=ROOT,
            env={**os.environ, "R2T2_CACHE": str(cache)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        until = time.monotonic() + 60
        while True:
            try:
                urlopen(f"http://localhost:{port}/_stcore/health").close()
                break
            except OSError:
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.2)
        yield f"http://localhost:{port}"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="session")
def serve():
    """Starts the app on a cache of the test's own: `with serve(cache, log) as address`."""
    return serving


@pytest.fixture(scope="session")
def address(small_cache, tmp_path_factory) -> Iterator[str]:
    """The app on the small cache, which no test changes."""
    with serving(small_cache, tmp_path_factory.mktemp("app") / "log.txt") as address:
        yield address


@pytest.fixture
def page(chromium):
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    yield page
    context.close()
