"""From a flow between experts to its samples, and from a sample to Inspect."""

import re

import pytest

from docs.app import press, settled

pytestmark = pytest.mark.browser

# The middle of a part of a figure that can be clicked: links are bent, so their box's is not.
POINT = """
(shapes) => {
  shapes[0].scrollIntoView({ block: "center" });
  for (const shape of shapes) {
    const box = shape.getBBox(), at = shape.getScreenCTM();
    for (let i = 1; i < 400; i++) {
      const inside = new DOMPoint(
        box.x + box.width * (i * 0.618 % 1), box.y + box.height * (i * 0.755 % 1));
      const point = inside.matrixTransform(at);
      if (shape.isPointInFill(inside) && document.elementFromPoint(point.x, point.y) === shape)
        return [point.x, point.y];
    }
  }
  return null;
}
"""


def click(page, figure: str, part: str):
    """Click the first part of a figure that is wide enough, and wait for what it does."""
    parts = page.locator(f".st-key-figure-{figure} {part}")
    parts.first.wait_for()
    settled(page)
    point = parts.evaluate_all(POINT)
    page.mouse.move(*point)
    page.mouse.click(*point)


def chosen(page) -> int:
    said = page.get_by_text("The samples chosen:").inner_text()
    return int(re.search(r"chosen: ([\d,]+)", said)[1].replace(",", ""))


def test_from_a_link_to_its_samples_to_inspect(page, address):
    page.goto(f"{address}/shift?model=mini-7")
    click(page, "flow", ".sankey-link")
    page.wait_for_url(re.compile("shift-before=.*shift-after=|shift-after=.*shift-before="))
    assert chosen(page) > 0
    settled(page)
    main = page.get_by_test_id("stMain")
    question = main.get_by_test_id("stText").first.inner_text()
    press(main.get_by_role("link", name="Inspect").first)
    assert page.locator(".r2-question").first.inner_text() == question


def test_nodes_can_be_clicked_again_and_after_the_figure_was_drawn_anew(page, address):
    page.goto(f"{address}/shift?model=mini-7")
    for _ in range(2):
        click(page, "flow", ".sankey-node .node-rect")
        page.wait_for_url(re.compile("shift-before="))
        assert chosen(page) > 0
        press(page.get_by_role("button", name="Clear"))
        page.wait_for_url(re.compile("^((?!shift-before).)*$"))
    press(page.get_by_text("Shares", exact=True))
    page.wait_for_url(re.compile("shift-unit=Shares"))
    click(page, "flow", ".sankey-link")
    page.wait_for_url(re.compile("shift-before="))
    press(page.get_by_text("Step by step"))
    click(page, "steps", ".sankey-node .node-rect >> nth=3")
    page.wait_for_url(re.compile("shift-way="))
    assert chosen(page) > 0


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window(page, address, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{address}/shift?model=mini-7&shift-unit=Shares")
    main = page.get_by_test_id("stMain")
    figures = {"Before and after": "flow", "Step by step": "steps", "Outcome by outcome": "stayed"}
    for view, figure in figures.items():
        press(page.get_by_text(view, exact=True))
        page.locator(f"[class*=st-key-figure-{figure}] .sankey-link").first.wait_for()
        settled(page)
        assert main.evaluate("element => element.scrollWidth <= element.clientWidth")
