"""Results in a real browser: from a point to its samples, from a view to its address."""

import pytest

from docs.app import press, settled

pytestmark = pytest.mark.browser


def opened(page, address, query=""):
    page.goto(f"{address}/results?model=mini-7{query}")
    page.get_by_role("heading", name="By category").wait_for()
    page.locator(".st-key-figure-categories .point").first.wait_for(state="attached")
    settled(page)


def test_a_point_leads_to_its_samples_and_on_to_inspect(page, address):
    opened(page, address, "&benchmarks=general&results-outcome=stayed+wrong")
    figure = page.locator(".st-key-figure-categories")
    figure.scroll_into_view_if_needed()
    ngd = figure.locator(".trace").nth(1).locator(".point").first
    box = ngd.bounding_box()
    # Plotly hears the pointer, not the point.
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_url("**results-category=**")
    category = page.url.split("results-category=")[1].split("&")[0]
    chosen = page.locator(".st-key-results-category input")
    page.wait_for_function("([i, c]) => i.value === c", arg=[chosen.element_handle(), category])
    press(page.locator("[data-testid=stMain]").get_by_role("link", name="Inspect").first)
    page.wait_for_url("**/inspect?**")
    page.get_by_text("general-7-").first.wait_for()


def test_an_address_brings_back_views_and_the_papers_table(page, chromium, address):
    opened(page, address)
    press(page.get_by_role("radio", name="Radar"))
    page.locator(".polarlayer .trace").first.wait_for(state="attached")
    press(page.get_by_role("radio", name="9", exact=True))
    page.get_by_text("Table 9: learning rate schedule, by benchmark").wait_for()
    other = chromium.new_context()
    try:
        again = other.new_page()
        again.goto(page.url)
        again.locator(".polarlayer .trace").first.wait_for(state="attached")
        again.get_by_text("Table 9: learning rate schedule, by benchmark").wait_for()
    finally:
        other.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_no_view_is_wider_than_the_window(page, address, width):
    page.set_viewport_size({"width": width, "height": 900})
    opened(page, address, "&results-view=Gain&results-leads=Table&results-paper=3")
    main = page.locator("[data-testid=stMain]")
    assert main.evaluate("element => element.scrollWidth <= element.clientWidth")
