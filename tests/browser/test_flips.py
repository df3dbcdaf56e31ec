"""From a flow of figure 5 to its samples, and on to Inspect."""

import re

import pytest

from docs.app import press, settled

pytestmark = pytest.mark.browser


def click(page, figure: str, marks: str) -> None:
    """Click the first of a figure's marks, where a person would."""
    mark = page.locator(f".st-key-figure-{figure} {marks}").first
    mark.wait_for()
    settled(page)
    box = mark.bounding_box()
    at = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*at)
    page.wait_for_timeout(200)
    page.mouse.click(*at)


def counted(page, count: str = r"\d+") -> str:
    line = page.get_by_text(re.compile(rf"^{count} of 40 samples"))
    line.wait_for()
    return line.inner_text().split()[0]


def test_a_click_on_the_alluvial_lists_its_samples_and_one_opens_in_inspect(page, address):
    page.goto(f"{address}/flips?model=mini-7")
    counted(page, "40")
    click(page, "flips-flow", ".node-rect")
    page.wait_for_url("**flips-moment=right%2C+step+0**")
    stage = page.locator(".st-key-figure-flips-flow").get_by_text("✓").first.text_content()
    right = counted(page, re.search(r"✓ (\d+)", stage)[1])
    # A copied address lists the same.
    page.reload()
    assert counted(page, right) == right
    press(page.get_by_role("link", name="Inspect").nth(1))
    page.wait_for_url("**/inspect**")
    assert "sample=" in page.url
    page.locator(".r2-answer").first.wait_for()


def test_a_click_on_a_bar_of_a_benchmark_lists_its_flips(page, address):
    page.goto(f"{address}/flips?model=mini-7&flips-view=Benchmarks&variant=oracle")
    counted(page, "40")
    # The first of the bars is that of the largest gain.
    click(page, "flips-benchmarks", ".bars .point")
    page.get_by_text(re.compile(r"^[1-9]\d* of 20 samples")).wait_for()
    assert "benchmarks=general" in page.url


@pytest.mark.parametrize("view", ["Over+the+steps", "Benchmarks"])
def test_it_fits_a_phone(page, address, view):
    page.set_viewport_size({"width": 390, "height": 900})
    page.goto(f"{address}/flips?model=mini-7&flips-view={view}")
    counted(page, "40")
    main = page.locator("[data-testid=stMain]")
    assert main.evaluate("element => element.scrollWidth <= element.clientWidth")
