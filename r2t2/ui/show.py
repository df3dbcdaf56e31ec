"""How things look: the frame's style, figures and tables with their captions, cards."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from PIL import Image, ImageDraw

from r2t2 import figures

# Colours are mixed from the text's own, so that one style serves the light and the dark theme.
STYLE = """
<style>
.stMainBlockContainer { padding-top: 3rem; max-width: 1320px; }
.r2-grid { display: grid; gap: .7rem; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); }
.r2-card { border: 1px solid color-mix(in srgb, currentColor 16%, transparent);
  border-radius: 6px; padding: .75rem .85rem; min-width: 0; overflow-wrap: anywhere; }
.r2-card img { width: 100%; border-radius: 4px; display: block; margin-bottom: .5rem; }
.r2-name { font-size: .8rem; font-weight: 600; display: flex; gap: .4rem; align-items: baseline;
  justify-content: space-between; }
.r2-mark { font-size: .68rem; font-weight: 600; white-space: nowrap; padding: 0 .35rem;
  border: 1px solid currentColor; border-radius: 99px; opacity: .75; }
.r2-answer { font-size: 1.45rem; font-weight: 650; line-height: 1.25; margin: .1rem 0 .25rem;
  white-space: pre-wrap; }
.r2-verdict { font-size: .82rem; font-weight: 600; min-height: 1.4em; }
.r2-rows { display: grid; grid-template-columns: auto 1fr; gap: .1rem .6rem; font-size: .78rem;
  margin-top: .45rem; padding-top: .45rem;
  border-top: 1px solid color-mix(in srgb, currentColor 12%, transparent); }
.r2-rows > :nth-child(odd) { opacity: .68; }
.r2-rows > :nth-child(even) { text-align: right;
  font-variant-numeric: tabular-nums; }
.r2-bar { height: 4px; border-radius: 2px; margin-top: .1rem;
  background: color-mix(in srgb, currentColor 12%, transparent); }
.r2-bar > div { height: 100%; border-radius: 2px; background: currentColor; opacity: .65; }
.r2-dot { display: inline-block; width: .6em; height: .6em; border-radius: 2px;
  margin-right: .35em; }
.r2-question { font-size: 1.15rem; font-weight: 600; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.r2-small { font-size: .82rem; opacity: .75; overflow-wrap: anywhere; white-space: pre-wrap; }
.r2-steps { display: grid; gap: .8rem;
  grid-template-columns: repeat(auto-fit, minmax(210px, 1fr)); }
.r2-steps h4 { margin: 0 0 .3rem; padding: 0; font-size: .95rem; }
.r2-steps p { margin: 0; font-size: .88rem; line-height: 1.45; }
.r2-steps code { font-size: .82rem; }
</style>
"""


def icon() -> Image.Image:
    """The browser tab's: three routing weights."""
    image = Image.new("RGBA", (64, 64))
    pen = ImageDraw.Draw(image)
    for i, height in enumerate((26, 56, 40)):
        pen.rectangle((4 + 20 * i, 60 - height, 19 + 20 * i, 60), figures.PALETTE[i])
    return image


def escape(text: str) -> str:
    """A text for HTML that shows as it was typed."""
    return html.escape(text)


def figure(figure: go.Figure, data: pd.DataFrame, name: str, caption: str) -> None:
    """A figure with one sentence about it and its data as CSV; its own bar saves a picture."""
    st.plotly_chart(figure, key=f"figure-{name}", config=figures.modebar(name), alt=caption)
    under(data, name, caption)


def under(data: pd.DataFrame, name: str, caption: str) -> None:
    """The line below a figure or a table: what it shows, and its data to download."""
    row = st.container(horizontal=True, wrap=False, horizontal_alignment="distribute", gap="medium")
    row.caption(caption)
    row.download_button(
        "CSV",
        data.to_csv(index=False).encode(),
        f"r2t2-{name}.csv",
        "text/csv",
        key=f"csv-{name}",
        type="tertiary",
        icon=":material/download:",
        help="The data as CSV",
        on_click="ignore",
    )


def failure(error: Exception) -> None:
    """What went wrong, in the error's own words."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    st.error("This cannot be shown yet.", icon=":material/error:")
    st.text(text[:1].upper() + text[1:])


def number(value: float, digits: int = 2) -> str:
    """A number of a card or table; a dash where there is none."""
    return "–" if pd.isna(value) else f"{value:.{digits}f}"


@dataclass(frozen=True)
class Card:
    """What a strategy made of one sample.

    Parameters
    ----------
    name : of the strategy.
    answer, confidence : of the model under the strategy's routing.
    correct : None where no label is known.
    changed : whether the answer is another than the base's.
    expert, colour : the top-1 expert and its colour.
    passes, milliseconds : what it cost; passes are (forward, backward).
    reads_label : whether it had to read the sample's own label.
    """

    name: str
    answer: str
    confidence: float
    correct: bool | None
    changed: bool
    expert: str
    colour: str
    passes: tuple[int, int]
    milliseconds: float
    reads_label: bool

    def html(self, base: Card | None) -> str:
        """The card; `base` is the one it is compared with."""
        mark = '<span class="r2-mark">reads the label</span>' if self.reads_label else ""
        rows = {
            "confidence": f"{self.confidence:.0%}",
            "top-1 expert": f'<span class="r2-dot" style="background:{self.colour}"></span>'
            + escape(self.expert),
            "passes": "{} + {}".format(*self.passes),
            "time": f"{self.milliseconds:.0f} ms",
        }
        if base is not None:
            points = round(100 * (self.confidence - base.confidence))
            rows["confidence"] += f" ({points:+d})".replace("-", "−").replace("+0", "±0")
        return (
            f'<div class="r2-card"><div class="r2-name"><span>{escape(self.name)}</span>{mark}'
            f'</div><div class="r2-answer">{escape(self.answer)}</div>'
            f'<div class="r2-verdict">{self._verdict(base)}</div>'
            f'<div class="r2-bar"><div style="width:{100 * self.confidence:.0f}%"></div></div>'
            f"{_rows(rows)}</div>"
        )

    def _verdict(self, base: Card | None) -> str:
        parts = []
        if self.correct is not None:
            colour = figures.CORRECT if self.correct else figures.WRONG
            word = "correct" if self.correct else "wrong"
            parts.append(
                f'<span style="color:{colour}">{figures.GLYPHS[self.correct]} {word}</span>'
            )
        if base is not None:
            parts.append("changed" if self.changed else "as base")
        return " · ".join(parts)


def cards(shown: Sequence[Card]) -> None:
    """Strategies side by side, the first being the base."""
    base = shown[0]
    grid = "".join(card.html(None if card is base else base) for card in shown)
    st.html(f'<div class="r2-grid">{grid}</div>')


def pictures(items: Sequence[tuple[Image.Image, str, dict[str, str]]]) -> None:
    """Pictures with a text and a few facts each, as many beside each other as fit."""
    grid = []
    for image, text, facts in items:
        grid.append(
            f'<div class="r2-card"><img src="{_data_uri(image)}" alt="">'
            f'<div class="r2-small">{escape(text)}</div>'
            f"{_rows({name: escape(value) for name, value in facts.items()})}</div>"
        )
    st.html(f'<div class="r2-grid">{"".join(grid)}</div>')


def question(text: str, facts: dict[str, Any]) -> None:
    """A question as it was typed, with what is known of it below."""
    listed = " · ".join(f"{escape(k)}: {escape(str(v))}" for k, v in facts.items() if v)
    st.html(f'<div class="r2-question">{escape(text)}</div><div class="r2-small">{listed}</div>')


def _rows(values: dict[str, str]) -> str:
    """Names and values (HTML) below each other."""
    pairs = (f"<span>{name}</span><span>{value}</span>" for name, value in values.items())
    return f'<div class="r2-rows">{"".join(pairs)}</div>'


def _data_uri(image: Image.Image) -> str:
    small = image.convert("RGB")
    small.thumbnail((256, 256))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
