"""How things look: the frame's style, figures and tables with their captions, cards."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from PIL import Image, ImageDraw

from r2t2 import cards
from r2t2.figures import style
from r2t2.models.names import title
from r2t2.paths import reference_title

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

_CSS = """
.stMainBlockContainer { padding-top: 3rem; max-width: 1320px; }
.r2-button { display: block; width: 100%; margin-bottom: .5rem; padding: .35rem .75rem;
  min-height: 2.35rem; font: inherit; color: inherit; background: transparent; cursor: pointer;
  border: 1px solid color-mix(in srgb, currentColor 20%, transparent); border-radius: 6px; }
.r2-button:hover, .r2-button:focus-visible { border-color: currentColor; }
/* A picture has its place before it has come: a link below it must not move under the pointer. */
[class*="st-key-tile-"] img { aspect-ratio: 1; object-fit: contain; }
/* What only listens takes no room. */
.st-key-downloads, .st-key-history, [class*="st-key-clicks-"], [class*="st-key-pastes-"] {
  position: absolute; height: 0; }
/* What scrolls by itself keeps the widgets' hidden inputs inside, or the page gets their length. */
[class*="st-key-scroll-"] { position: relative; }
.r2-steps { display: grid; gap: .8rem;
  grid-template-columns: repeat(auto-fit, minmax(210px, 1fr)); }
.r2-steps h4 { margin: 0 0 .3rem; padding: 0; font-size: .95rem; }
.r2-steps p { margin: 0; font-size: .88rem; line-height: 1.45; }
.r2-steps code { font-size: .82rem; }
"""
STYLE = f"<style>{cards.CSS}{_CSS}</style>"


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


def tiles(name: str, count: int, across: int) -> Iterator[DeltaGenerator]:
    """Bordered places for samples, in rows; their pictures keep their room while they load.

    Parameters
    ----------
    name : of the list on its page.
    across : so many beside each other.
    """
    for start in range(0, count, across):
        for column, number in zip(st.columns(across), range(start, count), strict=False):
            yield column.container(border=True, height="stretch", key=f"tile-{name}-{number}")


def literal(text: str) -> str:
    """A text for a label, which is Markdown, that shows as it was typed."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|$<>:~&])", r"\\\1", text)


def reference(name: str, model: str) -> str:
    """A reference set and its model, as people read them."""
    own = reference_title(name, model)
    return name if own == name else f"{title(model)}: {own}"


def figure(figure: go.Figure, data: pd.DataFrame, name: str, caption: str, **arguments: Any) -> Any:
    """A figure with one sentence about it, to download; what `st.plotly_chart` returns.

    Parameters
    ----------
    name : of its files, and of the figure on its page (`listen.clicks`); letters and hyphens.
    caption : Markdown; texts of a user's must not be in it.
    arguments : of `st.plotly_chart`.
    """
    drawn = st.plotly_chart(
        figure,
        key=f"figure-{name}",
        config=style.modebar(name, selects="on_select" in arguments),
        alt=caption,
        width="stretch",
        **arguments,
    )
    under(data, name, caption, picture=True)
    return drawn


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


def failure(error: Exception, title: str = "This cannot be shown yet.") -> None:
    """What went wrong, in the error's own words."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    st.error(title, icon=":material/error:")
    st.text(text[:1].upper() + text[1:])


def number(value: float, digits: int = 2) -> str:
    """A number of a card or table; a dash where there is none."""
    return "–" if pd.isna(value) else f"{value:.{digits}f}"


def question(text: str, facts: dict[str, Any]) -> None:
    """A question as it was typed, with what is known of it below."""
    st.html(cards.question(text, facts))
