"""How things look: the frame's style, figures and tables with their captions, cards."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from PIL import Image, ImageDraw

from r2t2.figures import style

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
.r2-button { display: block; width: 100%; margin-bottom: .5rem; padding: .35rem .75rem;
  min-height: 2.35rem; font: inherit; color: inherit; background: transparent; cursor: pointer;
  border: 1px solid color-mix(in srgb, currentColor 20%, transparent); border-radius: 6px; }
.r2-button:hover, .r2-button:focus-visible { border-color: currentColor; }
/* What only listens takes no room. */
.st-key-downloads, [class*="st-key-clicks-"] { position: absolute; height: 0; }
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
        pen.rectangle((4 + 20 * i, 60 - height, 19 + 20 * i, 60), style.PALETTE[i])
    return image


def escape(text: str) -> str:
    """A text for HTML that shows as it was typed."""
    return html.escape(text)


def figure(figure: go.Figure, data: pd.DataFrame, name: str, caption: str) -> None:
    """A figure with one sentence about it, to download as a picture and as its data.

    Parameters
    ----------
    name : of its files, and of the figure on its page (`listen.clicks`); letters and hyphens.
    caption : Markdown; texts of a user's must not be in it.
    """
    st.plotly_chart(
        figure, key=f"figure-{name}", config=style.modebar(name), alt=caption, width="stretch"
    )
    under(data, name, caption, picture=True)


def table(data: pd.DataFrame, name: str, caption: str, **arguments: Any) -> Any:
    """A table with one sentence about it, to download; what `st.dataframe` returns.

    Parameters
    ----------
    arguments : of `st.dataframe`.
    """
    shown = st.dataframe(data, key=f"table-{name}", hide_index=True, **arguments)
    under(data, name, caption)
    return shown


def under(data: pd.DataFrame, name: str, caption: str, picture: bool = False) -> None:
    """The line below a figure or a table: what it shows, and what can be downloaded."""
    row = st.container(horizontal=True, wrap=False, horizontal_alignment="distribute", gap="small")
    row.caption(caption)
    with row.popover("", icon=":material/download:", type="tertiary", help="Download"):
        if picture:
            # Handled in the browser (`listen.downloads`), where the figure is.
            st.html(
                "".join(
                    f'<button type="button" class="r2-button" data-r2-figure="{name}" '
                    f'data-r2-format="{kind}">Figure as {kind.upper()}</button>'
                    for kind in ("png", "svg")
                )
            )
        # Made when they are clicked: writing a large table takes longer than a page.
        for kind, write in (("CSV", _csv), ("Parquet", _parquet)):
            st.download_button(
                f"Data as {kind}",
                partial(write, data),
                f"r2t2-{name}.{kind.lower()}",
                key=f"{kind.lower()}-{name}",
                on_click="ignore",
                width="stretch",
            )


def _csv(data: pd.DataFrame) -> bytes:
    return data.to_csv(index=False).encode()


def _parquet(data: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    data.to_parquet(buffer, index=False)
    return buffer.getvalue()


def empty(title: str, text: str, command: str = "") -> None:
    """What stands where there is nothing to show yet: why, and what to do."""
    with st.container(border=True):
        st.markdown(f"**{title}**")
        st.write(text)
        if command:
            st.code(command, language="bash")


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
            colour = style.CORRECT if self.correct else style.WRONG
            word = "correct" if self.correct else "wrong"
            parts.append(f'<span style="color:{colour}">{style.GLYPHS[self.correct]} {word}</span>')
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
