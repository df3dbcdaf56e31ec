"""Lists of samples: their pictures and questions, each a step from Inspect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st
from PIL import Image

from r2t2.models import available
from r2t2.ui import show
from r2t2.ui.engine import Picked, thumbnail
from r2t2.ui.state import PAGES, address, bound

PER_PAGE = 8


def gallery(
    rows: pd.DataFrame,
    name: str,
    caption: str,
    facts: Callable[[dict[str, Any]], str] = lambda row: "",
    across: int = 4,
    **selection: Any,
) -> None:
    """The samples of some rows, a few at a time, each with a link that opens it in Inspect.

    Parameters
    ----------
    rows : model, benchmark, seed, position and whatever `facts` reads.
    name : of the list on its page, and of its file.
    caption : one sentence about the list; Markdown.
    facts : a row -> what is said of it, as plain text.
    across : so many beside each other.
    selection : what else the address of Inspect is given, e.g. strategy="ngd".
    """
    if rows.empty:
        st.caption("No samples.")
        return
    pages = -(-len(rows) // PER_PAGE)
    page = st.pagination(pages, **bound(f"{name}-page")) if pages > 1 else 1
    here = available()
    shown = rows.iloc[(page - 1) * PER_PAGE : page * PER_PAGE]
    records = shown.to_dict("records")
    for tile, row in zip(show.tiles(name, len(records), across), records, strict=True):
        with tile:
            _card(row, facts(row), row["model"] in here, selection)
    show.under(rows, name, caption)


def _card(row: dict[str, Any], said: str, loadable: bool, selection: dict[str, Any]) -> None:
    ask = Picked(str(row["benchmark"]), int(row["seed"]), int(row["position"]))
    picture, question = look(ask)
    if picture is not None:
        st.image(picture, width="stretch", alt="The sample's picture")
    st.text(question)
    st.caption(f"{row['benchmark']} {row['position']}, seed {row['seed']}")
    if said:
        st.text(said)
    if not loadable:
        st.caption("Its model's checkpoint is not here.")
        return
    of = {"benchmark": ask.benchmark, "seed": ask.seed, "sample": ask.position}
    st.page_link(
        PAGES["inspect"],
        label="Inspect",
        icon=":material/arrow_forward:",
        query_params=address(**{"model": row["model"], **of, **selection}),
    )


def look(ask: Picked) -> tuple[Image.Image | None, str]:
    """A sample's picture, small, and its question; no picture and why, where it is not here."""
    try:
        return thumbnail(ask, 256), ask.sample().question
    except (KeyError, IndexError, OSError, ValueError):
        return None, f"{ask.benchmark} {ask.position}: this benchmark's samples are not here"
