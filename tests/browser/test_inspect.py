"""Inspect in a real browser: paste to answer, play, from neighbour to neighbour, export."""

import base64
import io

import pytest

from docs.app import press, settled
from r2t2.data import world

pytestmark = pytest.mark.browser
TYPED = "what color is the <b>$x^2$</b> **ball**?"
# What a browser does with Ctrl+V where the clipboard holds a picture.
PASTE = """
data => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const held = new DataTransfer();
  held.items.add(new File([bytes], "image.png", { type: "image/png" }));
  document.dispatchEvent(new ClipboardEvent(
    "paste", { clipboardData: held, bubbles: true, cancelable: true }));
}
"""


def answered(page, count: int):
    page.wait_for_function(
        "count => document.querySelectorAll('.r2-answer').length === count", arg=count
    )


def test_a_pasted_picture_is_answered_and_its_question_shows_as_typed(page, address):
    page.goto(f"{address}/inspect?model=mini-7&source=Upload")
    page.locator("[data-testid=stFileUploader]").wait_for()
    settled(page)
    buffer = io.BytesIO()
    world.dataset("general", 7)[0].image.save(buffer, "PNG")
    page.evaluate(PASTE, base64.b64encode(buffer.getvalue()).decode())
    page.get_by_text("image.png").wait_for()
    question = page.get_by_label("Question")
    question.fill(TYPED)
    question.press("Enter")
    answered(page, 4)
    assert page.locator(".r2-question").inner_text() == TYPED


def test_play_goes_to_the_last_step_and_stops(page, address):
    page.goto(f"{address}/inspect?model=mini-7&steps=3&step=1")
    answered(page, 5)
    page.get_by_text("and step 1 (filled)").wait_for()
    press(page.get_by_role("button", name="Play"))
    page.get_by_role("button", name="Stop").wait_for()
    page.get_by_text("and step 3 (filled)").wait_for()
    page.get_by_role("button", name="Play").wait_for()
    page.wait_for_url(lambda url: "step=" not in url)  # the last one is the default


def test_a_neighbour_is_inspected_in_turn_and_there_is_a_way_back(page, address):
    page.goto(f"{address}/inspect?model=mini-7&benchmark=reading&sample=4&view=Neighbours")
    answered(page, 5)
    press(page.get_by_role("button", name="Inspect", exact=True).first)
    page.get_by_text("sample: reference-7-").wait_for()
    answered(page, 5)
    assert "benchmark=reference" in page.url
    press(page.get_by_role("button", name="Back to reading 4"))
    page.get_by_text("sample: reading-7-4").wait_for()


def test_the_export_shows_all_without_a_network(page, chromium, address, tmp_path):
    page.goto(f"{address}/inspect?model=mini-7&benchmark=reading&sample=4")
    answered(page, 5)
    settled(page)
    with page.expect_download() as download:
        press(page.get_by_role("button", name="Export as HTML"))
    download.value.save_as(tmp_path / "export.html")
    context = chromium.new_context(offline=True)
    try:
        alone, errors = context.new_page(), []
        alone.on("pageerror", lambda error: errors.append(error))
        alone.on("console", lambda said: errors.append(said) if said.type == "error" else None)
        alone.goto((tmp_path / "export.html").as_uri())
        alone.locator("#where .main-svg").first.wait_for()
        assert alone.locator(".js-plotly-plot").count() == 7
        assert alone.locator(".r2-answer").count() == 5
        assert "reading-7-4" in alone.locator("body").inner_text()
        assert alone.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        assert not errors
    finally:
        context.close()
