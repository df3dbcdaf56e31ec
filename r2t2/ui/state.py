"""Where selections live: in widgets bound to the address, so that a copied one restores them."""

from __future__ import annotations

from typing import Any

import streamlit as st
from streamlit.navigation.page import Page

PAGES = {"overview": "pages/overview.py", "inspect": "pages/inspect.py"}
_ICONS = {"overview": ":material/dashboard:", "inspect": ":material/search:"}


def navigation() -> Page:
    """The page that the address asks for, and the menu of all of them."""
    return st.navigation(
        [
            st.Page(path, title=name.capitalize(), icon=_ICONS[name], default=name == "overview")
            for name, path in PAGES.items()
        ]
    )


def framed() -> None:
    """Make sure that a page runs inside app.py; the first line of every page.

    Streamlit takes a folder called pages for an app without `st.navigation` until it has been
    called once, so that the first visit to a fresh server, if it is to a page's own address,
    runs the page alone. Calling it here, once, puts that right.
    """
    if "model" not in st.session_state:
        navigation()
        st.rerun()


def kept(name: str, label: str, options: list[str], **arguments: Any) -> str | None:
    """A choice of the frame's, in the address of every page.

    A change of page clears the address, bound widgets of the frame included, and forgets a
    widget whose first run it interrupts; so the choice is noted beside the widget and written
    to the address in every run.
    """
    noted = f"kept-{name}"
    asked = st.query_params.get(name, st.session_state.get(noted))
    chosen = st.selectbox(
        label,
        options,
        index=options.index(asked) if asked in options else 0,
        key=name,
        **arguments,
    )
    if chosen is not None:
        st.query_params[name] = st.session_state[noted] = chosen
    return chosen


def bound(name: str) -> dict[str, Any]:
    """Arguments that make a widget's value `name` in the address and in the session."""
    return {"key": name, "bind": "query-params"}


def get(name: str, default: Any) -> Any:
    """A bound widget's value, before the widget is drawn."""
    return st.session_state.get(name, default)


def put(**values: Any) -> None:
    """Give bound widgets other values; to be called from a button's callback."""
    for name, value in values.items():
        st.session_state[name] = value


def address(model: str, **selection: Any) -> dict[str, str]:
    """The query of a page's address for a selection, the sidebar's included."""
    return {"model": model, **{name: str(value) for name, value in selection.items()}}
