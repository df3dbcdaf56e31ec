"""From the reference set's map, search and hubs to a sample, in a real browser."""

import re

import pytest

from docs.app import press, settled
from r2t2.analysis import maps

pytestmark = pytest.mark.browser
NAME = "mini-7-reference-wordllama"


@pytest.fixture(scope="module")
def start(address, small_cache) -> str:
    """The page's address, with the map that it shows in the cache."""
    maps.keep(small_cache / "references" / NAME, "questions", "pca")
    return f"{address}/references?model=mini-7&ref-method=PCA"


def listed(page, pattern: str):
    page.locator("strong", has_text=re.compile(pattern)).wait_for()


def plot(page):
    found = page.locator(".st-key-figure-map .js-plotly-plot")
    found.wait_for()
    found.scroll_into_view_if_needed()
    page.wait_for_function(
        "document.querySelector('.st-key-figure-map .js-plotly-plot')?._fullData?.length > 1"
    )
    settled(page)
    return found.bounding_box()


def test_points_dragged_over_are_listed_and_stay_when_the_colours_change(page, start):
    page.goto(start)
    listed(page, "^150 of 150$")
    box = plot(page)
    page.mouse.move(box["x"] + 60, box["y"] + 120)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 480, steps=8)
    page.mouse.up()
    listed(page, "selected$")
    settled(page)
    count = page.locator("strong", has_text="selected").inner_text()
    press(page.get_by_label("Colour"))
    press(page.get_by_role("option", name="right or wrong"))
    page.wait_for_url(re.compile("ref-colour=right"))
    listed(page, f"^{count}$")
    press(page.get_by_role("button", name="Clear"))
    listed(page, "^150 of 150$")


def test_from_a_search_to_the_sample_in_inspect(page, start):
    page.goto(start)
    listed(page, "^150 of 150$")
    page.get_by_label("Search").fill("how many balls are there?")
    listed(page, "^48 nearest$")
    assert "ref-search=how" in page.url
    press(page.get_by_role("link", name="Inspect").nth(1))
    page.wait_for_url(re.compile(r"/inspect\?.*benchmark=reference"))


def test_a_point_that_is_clicked_is_listed_alone(page, start):
    page.goto(start)
    listed(page, "^150 of 150$")
    plot(page)
    x, y = page.evaluate(
        """() => {
          const plot = document.querySelector('.st-key-figure-map .js-plotly-plot');
          const [{x, y}] = plot._fullData, {_size, xaxis, yaxis} = plot._fullLayout;
          const box = plot.getBoundingClientRect();
          return [box.x + _size.l + xaxis.d2p(x[0]), box.y + _size.t + yaxis.d2p(y[0])];
        }"""
    )
    page.mouse.move(x - 2, y)
    page.mouse.move(x, y)
    page.wait_for_timeout(200)
    page.mouse.click(x, y)
    listed(page, "^1 selected$")
