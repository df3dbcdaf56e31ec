"""Measures the speed of looking: `python -m docs.speed`.

Makes a run of 100,000 samples x 11 steps x 24 routing weights (random numbers, in a temporary
cache), starts the app on it, drives it with Chromium, and prints what it took: from a cold start
to a page that can be used, every filter change (the time between the browser's request and the
server's last message, its median per page), the server's memory, and what five sessions at once
wait for their answers beside one alone.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
from playwright.sync_api import Browser, Page, sync_playwright
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from docs.app import FLAGS, served
from r2t2.paths import cache_folder
from r2t2.rerouting.settings import strategy
from r2t2.runs.identity import RunSpec
from r2t2.runs.store import SCHEMAS, writing
from r2t2.sites import Site

SAMPLES, STEPS = 100_000, 11
EXPERTS = ("alpha", "beta", "gamma")
SITES = tuple(Site(f"layer {i}", EXPERTS) for i in range(8))
# Strategy -> what is kept of its steps.
KEPT = {"base": "none", "ngd": "all", "kernel_regression": "ends", "oracle": "ends"}
KEPT |= dict.fromkeys(("uniform", "constant", "ngd_random_neighbours"), "none")


def spec(benchmark: str, name: str, size: int) -> RunSpec:
    """A run that nothing computed."""
    return RunSpec(
        model="synthetic",
        model_fingerprint="0" * 16,
        reference="synthetic-reference",
        reference_fingerprint="0" * 16,
        benchmark=benchmark,
        seed=0,
        size=size,
        strategy=name,
        setting=strategy(name).options,
        trace=KEPT[name],
        shard=size,
    )


def make(folder: Path, of: RunSpec) -> None:
    """Write a run of random numbers: whatever the strategy, one sample in ten flips at a step."""
    rng = np.random.default_rng(len(of.strategy) + of.size)
    count = of.size
    kept = {"all": list(range(STEPS)), "ends": [0, STEPS - 1], "none": []}[of.trace]
    base = np.random.default_rng(of.size).random(count) < 0.6
    right = base[:, None] ^ (rng.random((count, STEPS)) < 0.1)
    right[:, 0] = base
    names = np.array(EXPERTS, object)
    r = rng.dirichlet(np.ones(len(EXPERTS)), (count, max(len(kept), 2), len(SITES)))
    top = names[r.mean(2).argmax(-1)]
    answers = np.array(["yes", "no", "two", "red"], object)[rng.integers(0, 4, (count, STEPS))]
    confidence = rng.random((count, STEPS)).astype(np.float32).round(4)
    near = rng.integers(0, 5000, (count, 5)).astype(np.int32)
    lists = pa.array(np.arange(0, 5 * count + 1, 5), pa.int32())
    floats = pa.ListArray.from_arrays(
        lists, pa.array(rng.random(5 * count).astype(np.float32).round(3))
    )
    nothing = pa.array(np.zeros(count, np.float32))
    samples = {
        "position": np.arange(count, dtype=np.int32),
        "sample": [f"{of.benchmark}-{i}" for i in range(count)],
        "category": np.array([f"kind {i}" for i in range(10)], object)[rng.integers(0, 10, count)],
        "label": answers[:, 0],
        "base_answer": answers[:, 0],
        "answer": answers[:, -1],
        "base_correct": base,
        "correct": base if of.strategy == "base" else right[:, -1],
        "base_score": base.astype(np.float32),
        "score": (base if of.strategy == "base" else right[:, -1]).astype(np.float32),
        "metric": np.full(count, "match", object),
        "group": np.full(count, "", object),
        "base_confidence": confidence[:, 0],
        "confidence": confidence[:, -1],
        "top1_before": top[:, 0],
        "top1_after": top[:, -1],
        "forward": np.full(count, 57, np.int32),
        "backward": np.full(count, 50, np.int32),
        "objective_before": nothing,
        "objective_after": nothing,
        "neighbours": pa.ListArray.from_arrays(lists, pa.array(near.ravel())),
        "neighbour_distance": floats,
        "neighbour_weight": floats,
        "neighbour_loss_before": floats,
        "neighbour_loss_after": floats,
    }
    rows = count * len(kept)
    width = len(SITES) * len(EXPERTS)
    steps = {
        "position": np.repeat(np.arange(count, dtype=np.int32), len(kept)),
        "step": np.tile(np.array(kept, np.int32), count),
        "objective": rng.random(rows).astype(np.float32).round(4),
        "answer": answers[:, kept].ravel(),
        "correct": right[:, kept].ravel(),
        "confidence": confidence[:, kept].ravel(),
        "top1": top[:, : len(kept)].ravel(),
        "r": pa.ListArray.from_arrays(
            pa.array(np.arange(0, rows * width + 1, width), pa.int32()),
            pa.array(r[:, : len(kept)].ravel().astype(np.float32).round(3)),
        ),
    }
    tables = [
        pa.table(values, schema=SCHEMAS[name])
        for name, values in (("samples", samples), ("steps", steps))
    ]
    with writing(folder / of.folder, of, SITES, "cpu") as writer:
        writer.add(0, *tables, strategy_seconds=1.0, wall_seconds=1.0)
        writer.finish()


class Watch:
    """Times the server by its own messages, which the browser receives."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.asked = self.finished = 0.0
        page.on("websocket", self._listen)

    def _listen(self, socket) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        socket.on("framesent", lambda frame: self._sent())
        socket.on("framereceived", self._received)

    def _sent(self) -> None:
        if self.finished >= self.asked:
            self.asked = time.perf_counter()

    def _received(self, frame: bytes | str) -> None:
        if isinstance(frame, bytes) and ForwardMsg.FromString(frame).HasField("script_finished"):
            self.finished = time.perf_counter()

    def change(self, act: Callable[[], object]) -> float:
        """Seconds that the server took for what an action asked of it."""
        before = self.asked
        act()
        until = time.perf_counter() + 60
        while self.asked == before or self.finished < self.asked:
            if time.perf_counter() > until:
                raise TimeoutError("the action asked nothing of the server, or it never finished")
            self.page.wait_for_timeout(20)
        self.page.wait_for_timeout(400)  # a second run that the first one asked for counts too
        while self.finished < self.asked:
            self.page.wait_for_timeout(20)
        return self.finished - self.asked


def options(page: Page, label: str) -> list[Callable[[], object]]:
    """Actions that choose each option of a select box, the first one last."""

    def choose(number: int) -> Callable[[], object]:
        def act() -> None:
            box = page.get_by_role("combobox", name=label).first
            box.click()
            page.get_by_role("option").nth(number).click()

        return act

    box = page.get_by_role("combobox", name=label)
    if not box.count():
        return []
    box.first.click()
    count = page.get_by_role("option").count()
    page.keyboard.press("Escape")
    return [choose(i) for i in [*range(1, count), 0]] if count > 1 else []


def looking(browser: Browser, address: str) -> dict[str, dict[str, float | int]]:
    """Per page: the first look, and the median and the slowest of its filter changes."""
    told: dict[str, dict[str, float | int]] = {}
    for name in ("shift", "flips", "results", "compare"):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.set_default_timeout(60_000)
        watch = Watch(page)
        first = watch.change(lambda: page.goto(f"{address}/{name}"))  # noqa: B023
        times = []
        for _ in range(2):  # the second time everything has been seen once
            times = [
                watch.change(act)
                for label in ("Benchmark", "Strategy", "Outcome", "Site")
                for act in options(page, label)
            ]
        told[name] = {"first look, s": round(first, 2), "changes": len(times)}
        if times:
            told[name]["median, s"] = round(statistics.median(times), 3)
            told[name]["slowest, s"] = round(max(times), 3)
        context.close()
    return told


def answered(browser: Browser, address: str, sample: int) -> float:
    """Seconds from a page's address to its five answers."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(120_000)
    started = time.perf_counter()
    page.goto(f"{address}/inspect?sample={sample}")
    page.wait_for_function("document.querySelectorAll('.r2-answer').length >= 5")
    seconds = time.perf_counter() - started
    context.close()
    return seconds


def crowd(address: str, sessions: int) -> list[float]:
    """What each of several sessions at once waits for its answers."""
    took: list[float] = []
    ready = threading.Barrier(sessions)

    def visit(number: int) -> None:
        with chromium() as browser:
            ready.wait()
            took.append(answered(browser, address, 100 + number))

    threads = [threading.Thread(target=visit, args=(i,)) for i in range(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(FLAGS)
        )
        yield browser
        browser.close()


def memory(server: subprocess.Popen[bytes]) -> float:
    """The most memory that the server has had, in GiB."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 2**20


def main() -> None:
    """Measure and print, as JSON."""
    with tempfile.TemporaryDirectory() as temporary, chromium() as browser:
        cache = Path(temporary)
        for benchmark, size in (("large", SAMPLES), ("small", 1000)):
            for name in KEPT:
                make(cache / "runs", spec(benchmark, name, size))
        shutil.copytree(cache_folder() / "references", cache / "references")
        began = time.perf_counter()
        with served({**os.environ, "R2T2_CACHE": str(cache)}) as (address, server):
            page = browser.new_page()
            page.goto(address)
            page.locator(".js-plotly-plot").first.wait_for()
            cold = time.perf_counter() - began
            page.close()
            told = {"cold start to the first figure, s": round(cold, 2)}
            pages = looking(browser, address)
            held = memory(server)
            answered(browser, address, 1)  # loads the model
            alone = [answered(browser, address, i) for i in range(2, 5)]
            five = crowd(address, 5)
    told |= {
        "memory with the run open, GiB": round(held, 2),
        "answers to one session, s": round(statistics.median(alone), 2),
        "answers to five at once, s": [round(s, 2) for s in sorted(five)],
    }
    sys.stdout.write(json.dumps({**told, "pages": pages}, indent=1) + "\n")


if __name__ == "__main__":
    main()
