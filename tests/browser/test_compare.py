"""The user's paths on the Compare page."""

import re

import pytest

from docs.app import press, settled

pytestmark = pytest.mark.browser


def test_two_runs_are_compared_down_to_a_sample_in_inspect(page, address):
    page.goto(f"{address}/compare?model=mini-7&benchmarks=general")
    page.get_by_text("A · NGD").wait_for()
    settled(page)
    runs = page.locator(".st-key-compare-runs")
    press(runs.get_by_role("combobox"))
    press(page.get_by_role("option", name="Base"))
    page.get_by_text("C · Base").wait_for()
    # A row of the figure is a pattern: the picker and the list follow the click.
    bar = page.locator(".st-key-figure-compare-patterns .bars .point path").nth(1)
    bar.wait_for()
    settled(page)
    bar.click(force=True)
    page.wait_for_url("**compare-pattern=**")
    settled(page)
    position = page.get_by_text(re.compile(r"^general \d+, seed 7$")).first.inner_text().split()[1]
    press(page.get_by_test_id("stMain").get_by_role("link", name="Inspect").first)
    page.get_by_text(f"general-7-{position.strip(',')}").wait_for()


def test_a_dot_of_the_overview_leads_to_its_option(page, address):
    page.goto(f"{address}/compare?model=mini-7&compare-view=Ablations")
    page.locator(".st-key-figure-ablation-overview .trace").nth(3).wait_for()
    settled(page)
    page.locator(".st-key-figure-ablation-overview .trace .point").nth(3).click(force=True)
    page.wait_for_url("**ablation-option=**")
    page.get_by_text("Accuracy by ").first.wait_for()


def test_exact_and_amortised_are_chosen_and_a_copied_address_shows_the_same(
    page, serve, amortised_cache, tmp_path
):
    with serve(amortised_cache, tmp_path / "log.txt") as address:
        page.goto(f"{address}/compare?model=mini-7")
        press(page.get_by_role("radio", name="Exact or amortised"))
        unsure = page.get_by_role("heading", name="What it is not sure of")
        unsure.wait_for()
        page.locator(".st-key-figure-amortised-doubt-difference .main-svg").first.wait_for()
        press(page.get_by_role("radio", name="NGD, amortised (sure 0.6)"))
        unsure.wait_for(state="detached")
        page.wait_for_url("**amortised-strategy=**")
        page.reload()
        page.locator(".st-key-figure-amortised-accuracy .main-svg").first.wait_for()
        settled(page)
        assert unsure.count() == 0
        page.goto(f"{address}/inspect?model=mini-7&benchmark=reading&sample=3")
        page.get_by_text("reading-7-3").wait_for()
        press(page.get_by_role("tab", name="Exact or amortised"))
        page.get_by_text("L(r): the neighbours' exact weighted loss").wait_for()
        page.locator(".st-key-figure-amortised-objective .main-svg").first.wait_for()


@pytest.mark.parametrize("view", ["Side+by+side", "Ablations"])
@pytest.mark.parametrize("width", [1280, 390])
def test_compare_is_no_wider_than_the_window(page, address, view, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{address}/compare?model=mini-7&compare-view={view}")
    page.locator(".js-plotly-plot").nth(1).wait_for()
    settled(page)
    main = page.get_by_test_id("stMain")
    assert main.evaluate("element => element.scrollWidth <= element.clientWidth")
