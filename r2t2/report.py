"""A report as one HTML file that needs nothing else: no network, no folder beside it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from r2t2 import cards
from r2t2.figures import style

# Nothing is fetched, whatever a text in the report says.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)
_CSS = """
:root { color-scheme: light dark; --text: #1d2127; --page: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e7eb; --page: #0f1217; } }
body { color: var(--text); background: var(--page); max-width: 1080px; margin: 2rem auto;
  padding: 0 1rem; font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
figure { margin: 1rem 0; } figcaption { font-size: .85rem; opacity: .75; }
table { border-collapse: collapse; font-size: .85rem; width: 100%; }
th, td { text-align: left; padding: .25rem .6rem .25rem 0; overflow-wrap: break-word;
  border-bottom: 1px solid color-mix(in srgb, currentColor 16%, transparent); }
.r2-beside { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(var(--least), 100%), 1fr)); }
.r2-head { display: grid; gap: 1.2rem; grid-template-columns: minmax(120px, 256px) 1fr; }
"""


def page(title: str, parts: Sequence[str]) -> str:
    """The file.

    Parameters
    ----------
    title : plain text.
    parts : HTML, from the functions below and from `r2t2.cards`.
    """
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{cards.CSS}{_CSS}</style>"
        f"<script>{get_plotlyjs()}</script></head><body><h1>{escape(title)}</h1>"
        f"{''.join(parts)}</body></html>"
    )


def heading(text: str) -> str:
    """The title of a section."""
    return f"<h2>{escape(text)}</h2>"


def figure(drawn: go.Figure, name: str, caption: str) -> str:
    """A figure that can be hovered and zoomed, with a sentence about it.

    Parameters
    ----------
    name : unique in the report; letters and hyphens.
    """
    # Without a theme of the app's, grid lines get a colour that suits a light and a dark page.
    line = "rgba(133,140,150,0.25)"
    drawn = go.Figure(drawn).update_xaxes(gridcolor=line).update_yaxes(gridcolor=line)
    body = drawn.to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=name,
        config={**style.modebar(name), "responsive": True},
    )
    return f"<figure>{body}<figcaption>{escape(caption)}</figcaption></figure>"


def table(rows: pd.DataFrame, caption: str = "") -> str:
    """A table; numbers to three decimals, missing ones as a dash."""
    body = rows.to_html(index=False, border=0, na_rep="–", float_format="{:.3f}".format)
    return f"<figure>{body}<figcaption>{escape(caption)}</figcaption></figure>"


def beside(parts: Sequence[str], least: int = 420) -> str:
    """Parts side by side, as many as fit; none narrower than so many pixels."""
    return f'<div class="r2-beside" style="--least:{least}px">{"".join(parts)}</div>'
