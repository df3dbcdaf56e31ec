"""The paths of a user through the real app, in a real browser."""

import io
import re

import pytest

from docs.app import press, settled
from r2t2.data import world

pytestmark = pytest.mark.browser
PATIENCE = 120_000


def answers(page, count: int):
    page.wait_for_function(
        "count => document.querySelectorAll('.r2-answer').length === count", arg=count
    )
    return page.locator(".r2-answer").all_inner_texts()


def upload(page, data: bytes):
    # Sooner than this no person could: the uploader must be at work before it is given a file.
    settled(page)
    page.locator("input[type=file]").set_input_files(
        {"name": "scene.png", "mimeType": "image/png", "buffer": data}
    )
    page.get_by_text("scene.png").wait_for()


def test_the_first_visit_to_a_fresh_server_may_be_to_any_page(page, address):
    page.goto(f"{address}/inspect?model=mini-7&benchmark=reading&sample=4")
    page.get_by_text("reading-7-4").wait_for()
    assert all(answers(page, 5))


def test_from_overview_to_five_answers_on_a_picked_sample(page, address):
    page.goto(f"{address}/?model=mini-7")
    page.get_by_role("heading", name="Is it re-routing?").wait_for()
    press(page.get_by_role("link", name="Inspect").first)
    answers(page, 5)
    press(page.get_by_role("button", name=re.compile(r"^3\b")))
    page.get_by_text("general-7-3").wait_for()
    assert all(answers(page, 5))
    assert "sample=3" in page.url


def test_a_hasty_change_of_page_keeps_the_model(page, address):
    for _ in range(3):
        page.goto(f"{address}/?model=mini-7")
        page.locator("h1").wait_for()
        page.get_by_role("link", name="Inspect").first.click()
        answers(page, 5)
        assert "model=mini-7" in page.url


def test_an_uploaded_picture_is_answered(page, address):
    page.goto(f"{address}/inspect?model=mini-7&source=Upload")
    buffer = io.BytesIO()
    world.dataset("general", 7)[0].image.save(buffer, "PNG")
    upload(page, buffer.getvalue())
    question = page.get_by_label("Question")
    question.fill("what color is the <i>ball</i>?")
    question.press("Enter")
    assert all(answers(page, 4))
    assert page.locator(".r2-question").inner_text() == "what color is the <i>ball</i>?"
    page.get_by_text("Its answers about any other picture are not meaningful").wait_for()


def test_a_file_that_is_no_picture_is_refused_with_a_reason(page, address):
    page.goto(f"{address}/inspect?model=mini-7&source=Upload")
    upload(page, b"GIF89a, not a PNG")
    page.get_by_text("not a PNG, JPEG or WebP picture").wait_for()


def test_a_copied_address_shows_the_same_in_another_session(page, chromium, address):
    page.goto(f"{address}/inspect?model=mini-7&benchmark=reading&sample=5&k=3")
    first = answers(page, 5)
    settled(page)
    other = chromium.new_context()
    try:
        again = other.new_page()
        again.set_default_timeout(PATIENCE)
        again.goto(page.url)
        assert answers(again, 5) == first
        again.get_by_text("reading-7-5").wait_for()
        again.get_by_text(re.compile(r"k \d+ → 3")).wait_for()
    finally:
        other.close()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("path", ["", "inspect"])
def test_nothing_is_wider_than_the_window(page, address, path, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{address}/{path}?model=mini-7")
    page.locator("h1").wait_for()
    if path:
        answers(page, 5)
    else:
        page.get_by_text("narrow mix").wait_for()
    main = page.locator("[data-testid=stMain]")
    assert main.evaluate("element => element.scrollWidth <= element.clientWidth")


@pytest.mark.parametrize(
    ("start", "link"),
    [("shift?shift-unit=Shares&benchmarks=reading", "Flips"), ("?", "Inspect")],
)
def test_back_returns_to_the_page_and_its_filters_at_once(page, address, start, link):
    page.goto(f"{address}/{start}&model=mini-7")
    page.locator(".js-plotly-plot").first.wait_for()
    settled(page)
    left, title = page.url, page.locator("h1").inner_text()
    press(page.get_by_role("link", name=link).first)
    page.get_by_role("heading", name=link, exact=True).first.wait_for()
    settled(page)
    page.go_back()
    page.get_by_role("heading", name=title).wait_for()
    assert page.url == left


def test_a_figure_downloads_as_svg(page, address):
    page.goto(f"{address}/?model=mini-7")
    page.locator(".js-plotly-plot").first.wait_for()
    press(page.get_by_test_id("stPopover").get_by_role("button").first)
    with page.expect_download() as download:
        press(page.get_by_text("Figure as SVG"))
    assert download.value.suggested_filename == "r2t2-mean-accuracy.svg"
    assert "<svg" in download.value.path().read_text()[:200]
