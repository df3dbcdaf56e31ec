"""A report is one file that needs nothing else and shows every text as it was typed."""

import re

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from PIL import Image

from r2t2 import cards, report

TYPED = "</script><script>alert(1)</script> <b>x</b> **y** $z$ =1+1"


@pytest.fixture(scope="module")
def page() -> str:
    figure = go.Figure(go.Scatter(x=[0], y=[0], text=[TYPED], name="a"))
    return report.page(
        TYPED,
        [
            cards.question(TYPED, {"label": TYPED}),
            cards.picture(Image.new("RGB", (4, 4))),
            report.heading(TYPED),
            report.beside([report.figure(figure, "one", TYPED), report.figure(figure, "two", "")]),
            report.table(pd.DataFrame({TYPED: [TYPED, 0.12345, np.nan]}), TYPED),
        ],
    )


def without_plotly(page: str) -> str:
    """The page but for its longest script, which is the library."""
    scripts = re.findall(r"<script>.*?</script>", page, re.DOTALL)
    return page.replace(max(scripts, key=len), "")


def test_the_library_is_there_once(page):
    assert page.count("plotly.js v") == 1


def test_nothing_is_fetched(page):
    rest = without_plotly(page)
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", rest)
    assert "https://" not in rest
    assert "default-src 'none'" in rest


def test_texts_cannot_end_a_script_or_begin_a_tag(page):
    rest = without_plotly(page)
    assert "alert(1)</script>" not in rest
    assert "<b>x</b>" not in rest
    assert rest.count("&lt;b&gt;x&lt;/b&gt; **y** $z$ =1+1") >= 7


def test_both_themes_are_served(page):
    assert "prefers-color-scheme: dark" in page
    assert "color-scheme: light dark" in page


def test_a_figure_that_is_put_in_a_report_stays_as_it_was():
    figure = go.Figure(go.Scatter(x=[0], y=[0]))
    before = figure.to_json()
    report.figure(figure, "one", "")
    assert figure.to_json() == before


def test_numbers_are_short_and_missing_ones_a_dash():
    shown = report.table(pd.DataFrame({"loss": [0.12345, np.nan]}))
    assert "0.123" in shown
    assert "–" in shown
    assert "0.12345" not in shown
