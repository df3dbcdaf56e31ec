"""The real app in a real browser."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from docs.app import served

PATIENCE = 120_000  # ms; the first answer waits for the model to load


@contextmanager
def serving(cache: Path, log: Path) -> Iterator[str]:
    """The app on a cache; its address."""
    with served({**os.environ, "R2T2_CACHE": str(cache)}, log) as (address, _):
        yield address


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
