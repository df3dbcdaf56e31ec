"""Runs that are started, left alone, watched from two tabs, cancelled, sent and deleted."""

import re
import shutil
import time

import pytest

from docs.app import press, settled
from r2t2.runs import jobs
from r2t2.runs.store import list_runs

pytestmark = pytest.mark.browser
PATIENCE = 120  # seconds
SWEEP = (
    "runs?model=mini-7&start-benchmarks=reading&start-strategies=NGD"
    "&start-options=k&start-k=2,4&start-trace=none&start-limit="
)


@pytest.fixture
def cache(small_cache, tmp_path):
    """A cache of the test's own; no job outlives the test."""
    folder = tmp_path / "cache"
    shutil.copytree(small_cache, folder)
    yield folder
    for job in jobs.list_jobs(folder / "jobs"):
        jobs.cancel(job)
    until(lambda: not any(job.alive for job in jobs.list_jobs(folder / "jobs")))


def until(condition):
    last = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < last, "nothing happened"
        time.sleep(0.1)


def start(page, runs):
    press(page.get_by_text("Start runs"))
    press(page.get_by_role("button", name=f"Start {runs} run"))


def test_a_job_survives_a_reload_and_the_end_of_the_server(page, serve, cache, tmp_path):
    with serve(cache, tmp_path / "log.txt") as address:
        page.goto(f"{address}/{SWEEP}300")
        start(page, 2)
        page.get_by_role("button", name="Cancel").wait_for()
        page.reload()
        page.get_by_text("NGD on reading · k = 2,4 · mini-7").wait_for()
        page.get_by_text(re.compile("of 600 samples")).wait_for()
    (job,) = jobs.list_jobs(cache / "jobs")
    assert job.alive
    until(lambda: jobs.list_jobs(cache / "jobs")[0].state == "done")
    with serve(cache, tmp_path / "log.txt") as address:
        page.goto(f"{address}/{SWEEP}300")
        press(page.get_by_text("Done: 1"))
        page.get_by_text("2 of 2 runs").wait_for()
        page.get_by_text("Runs: 11, the newest first").wait_for()
        press(page.get_by_text("Start runs"))
        page.get_by_text("All of these runs are in the cache").wait_for()


def test_two_tabs_start_the_same_once_and_both_see_it(page, serve, cache, tmp_path):
    with serve(cache, tmp_path / "log.txt") as address:
        other = page.context.new_page()
        # So many neighbours that the runs last until both tabs have asked for them.
        long = SWEEP.replace("2,4", "60,90")
        for tab in (page, other):
            tab.goto(f"{address}/{long}800")
            press(tab.get_by_text("Start runs"))
            tab.get_by_role("button", name="Start 2 runs").wait_for()
            settled(tab)
        for tab in (page, other):
            tab.get_by_role("button", name="Start 2 runs").click()
        # Of one of them, since either may have been first.
        told = "The same runs are being made already"
        until(lambda: sum(tab.get_by_text(told).count() for tab in (page, other)) == 1)
        for tab in (page, other):
            tab.get_by_role("button", name="Cancel").wait_for()
        (job,) = jobs.list_jobs(cache / "jobs")
        assert job.log.count("waiting for its turn") <= 1
        other.get_by_role("button", name="Cancel").click()
        for tab in (page, other):
            tab.locator(".stMarkdownBadge", has_text="cancelled").wait_for()
            tab.get_by_role("button", name="Resume").wait_for()


def test_a_run_goes_only_after_it_was_asked_and_comes_back_from_its_file(
    page, serve, cache, tmp_path
):
    run = next(run for run in list_runs(cache / "runs") if run.spec.strategy == "ngd")
    with serve(cache, tmp_path / "log.txt") as address:
        page.goto(f"{address}/runs?model=mini-7&run={run.id}")
        with page.expect_download() as download:
            press(page.get_by_role("button", name="Export 1 run"))
        download.value.save_as(tmp_path / download.value.suggested_filename)
        assert download.value.suggested_filename == f"{run.folder.name}.r2t2.zip"
        press(page.get_by_role("button", name="Delete 1 run"))
        press(page.get_by_role("button", name="Keep"))
        page.get_by_role("dialog").wait_for(state="hidden")
        assert run.folder.exists()
        press(page.get_by_role("button", name="Delete 1 run"))
        press(page.get_by_role("dialog").get_by_role("button", name="Delete 1 run"))
        page.get_by_text("Runs: 8, the newest first").wait_for()
        assert not run.folder.exists()
        press(page.get_by_text("Import runs"))
        settled(page)
        exported = page.get_by_label("A file that was exported here or elsewhere")
        exported.locator("input[type=file]").set_input_files(
            tmp_path / f"{run.folder.name}.r2t2.zip"
        )
        page.get_by_text("Added: 1. Already there: 0.").wait_for()
        page.get_by_text("Runs: 9, the newest first").wait_for()
    assert run.folder.exists()


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window(page, address, small_cache, width):
    run = list_runs(small_cache / "runs")[0]
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{address}/runs?model=mini-7&run={run.id}&performance=true")
    page.get_by_text("What its manifest tells").wait_for()
    page.get_by_text("All runs of the set").wait_for()
    press(page.get_by_text("Start runs"))
    page.get_by_role("button", name="Start 130 runs").wait_for()
    main = page.locator("[data-testid=stMain]")
    assert main.evaluate("element => element.scrollWidth <= element.clientWidth")
