"""The app as a process of its own, and what it takes to look at it in Chromium."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

ROOT = Path(__file__).resolve().parents[1]
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Whether a page has for so long neither run, nor loaded a picture, nor changed in any way.
_STILL = """
(quiet) => {
  const app = document.querySelector("[data-testid=stApp]");
  const changed = () => { window.r2Since = performance.now(); };
  if (window.r2Watched !== app) {
    window.r2Watched = app;
    new MutationObserver(changed).observe(
      app, { subtree: true, childList: true, attributes: true, characterData: true });
    changed();
  }
  if (app.dataset.testScriptState !== "notRunning"
      || document.querySelector("[data-testid=stSpinner]")
      || [...document.images].some((image) => !image.complete))
    changed();
  return performance.now() - window.r2Since >= quiet;
}
"""


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


def settled(page: Page, quiet: float = 1000) -> None:
    """Wait until a page has stood still for so many milliseconds.

    Whoever presses a link that is still moving misses it, and the listeners of a figure look for
    it anew four times a second. A busy server may take a while to begin with what it was asked.
    """
    page.wait_for_selector("[data-testid=stApp]")
    page.wait_for_function(_STILL, arg=quiet, polling=50)


def press(what: Locator) -> None:
    """Click what is on a page that stands still."""
    settled(what.page)
    what.click()
