"""Where selections live: in widgets bound to the address, so that a copied one restores them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st
from streamlit.navigation.page import Page

from r2t2.figures.style import label
from r2t2.rerouting.settings import COMPARED

# Page -> its title and icon, in the order of the menu.
_TITLES = {
    "overview": ("Overview", "dashboard"),
    "inspect": ("Inspect", "search"),
    "shift": ("Expert shift", "alt_route"),
    "flips": ("Flips", "swap_vert"),
    "results": ("Results", "leaderboard"),
    "compare": ("Compare", "compare_arrows"),
    "references": ("Reference set", "scatter_plot"),
    "runs": ("Runs", "play_circle"),
}
PAGES = {name: f"pages/{name}.py" for name in _TITLES}
# Choices of the sidebar, in the address of every page.
_FRAME = ("model", "reference", "runs")


def pages() -> Page:
    """The page that the address asks for.

    Pages have no icon: Streamlit would have the browser fetch it, as the tab's, from Google.
    """
    return st.navigation(
        [
            st.Page(
                PAGES[name],
                title=title,
                url_path=name if name != "overview" else None,
                default=name == "overview",
            )
            for name, (title, _) in _TITLES.items()
        ],
        position="hidden",
    )


def menu() -> None:
    """Links to all pages.

    They carry what the sidebar says, which Streamlit's own menu would drop from the address.
    """
    for name in PAGES:
        link(name)


def link(name: str, **selection: Any) -> None:
    """A link to a page, under its own title and icon."""
    title, icon = _TITLES[name]
    st.page_link(
        PAGES[name],
        label=title,
        icon=f":material/{icon}:",
        query_params=address(**selection),
    )


def framed() -> None:
    """Make sure that a page runs inside app.py; the first line of every page.

    Streamlit takes a folder called pages for an app without `st.navigation` until it has been
    called once, so that the first visit to a fresh server, if it is to a page's own address,
    runs the page alone. Calling it here, once, puts that right.
    """
    if "model" not in st.session_state:
        pages()
        st.rerun()


def kept(
    name: str,
    label: str,
    options: Sequence[str],
    format_func: Callable[[str], str] = str,
    default: str = "",
    **arguments: Any,
) -> str | None:
    """A choice that several pages share, in the address of each.

    A change of page clears the address, bound widgets of the frame included, and forgets a
    widget whose first run it interrupts; so the choice is noted beside the widget and written
    to the address in every run.

    Parameters
    ----------
    default : chosen where nothing was yet; the first option where there is no such.
    """
    if not options:
        # Another widget: the browser would go on to show of this one that it is empty.
        st.session_state[name] = None
        st.selectbox(label, [], key=f"no-{name}", disabled=True, **arguments)
        return None
    noted = f"kept-{name}"
    asked: str = st.query_params.get(name, st.session_state.get(noted, default))
    if asked not in options:
        asked = default
    if st.session_state.get(name) not in options:
        st.session_state.pop(name, None)  # of another model, or deleted
    chosen = st.selectbox(
        label,
        list(options),
        index=list(options).index(asked) if asked in options else 0,
        key=name,
        format_func=format_func,
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


def address(**selection: Any) -> dict[str, str | list[str]]:
    """The query of a page's address for a selection; the sidebar's is added.

    A strategy is given by its name and written as the widgets of Inspect write it; one that is
    not run there unasked is asked for.
    """
    name = selection.get("strategy")
    if name is not None:
        selection["strategy"] = label(name)
        if name not in COMPARED:
            selection["strategies"] = [label(one) for one in (*COMPARED[1:], name)]
    frame = {name: st.session_state.get(name) for name in _FRAME}
    return {
        name: value if isinstance(value, list) else str(value)
        for name, value in {**frame, **selection}.items()
        if value is not None
    }
