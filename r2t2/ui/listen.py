"""What Streamlit's own elements do not tell or do: clicks on any figure, pictures as SVG."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

# Buttons are plain HTML with the figure's name and a format; plotly's own camera does the rest.
_DOWNLOADS = """
export default function () {
  const save = (event) => {
    const button = event.target.closest("[data-r2-figure]");
    if (!button) return;
    const plot = document.querySelector(
      `.st-key-figure-${CSS.escape(button.dataset.r2Figure)} .js-plotly-plot`);
    const camera = plot?.querySelector('.modebar-btn[data-attr="toImage"], ' +
      '.modebar-btn[data-title^="Download plot"]');
    if (!camera) return;
    const options = plot._context.toImageButtonOptions;
    const usual = options.format;
    options.format = button.dataset.r2Format;
    camera.click();
    options.format = usual;
  };
  document.addEventListener("click", save);
  return () => document.removeEventListener("click", save);
}
"""
# Streamlit's uploader takes no paste, so it is given the file as if it had been chosen.
_PASTES = """
export default function ({ data }) {
  const paste = (event) => {
    const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
    const input = document.querySelector(
      `.st-key-${CSS.escape(data.uploader)} input[type=file]`);
    if (!file || !input) return;
    event.preventDefault();
    const held = new DataTransfer();
    held.items.add(file);
    input.files = held.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  };
  document.addEventListener("paste", paste);
  return () => document.removeEventListener("paste", paste);
}
"""
# A link to a page first rewrites the query of the page that it leaves, and a page puts its choices
# into its address when it has run: as entries of their own both would be in the way of Back.
_HISTORY = """
export default function () {
  if (history.r2t2) return;
  history.r2t2 = true;
  const push = history.pushState.bind(history);
  let left = null;
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    if (link?.origin === location.origin && link.pathname !== location.pathname)
      left = location.href;
  }, true);
  history.pushState = (state, title, url) => {
    const to = new URL(url ?? location.href, location.href);
    if (to.pathname !== location.pathname) {
      left = null;
      push(state, title, url);
    } else if (left !== location.href) {
      history.replaceState(state, title, url);
    }
  };
}
"""
# Streamlit draws a graph anew, in the same element or in another, whenever it likes; its
# listeners are then gone. So it is looked for again and again, and known by its own emitter.
_CLICKS = """
export default function ({ data, setTriggerValue }) {
  let plot = null;
  let emitter = null;
  const clicked = (event) => {
    const point = event.points[0];
    const end = (node) => node === undefined ? null : (node.index ?? node.pointNumber ?? node);
    setTriggerValue("clicked", {
      number: point.pointNumber ?? point.index ?? null,
      trace: point.curveNumber ?? null,
      source: end(point.source),
      target: end(point.target),
      custom: point.customdata ?? null,
    });
  };
  const attach = () => {
    const found = document.querySelector(
      `.st-key-figure-${CSS.escape(data.figure)} .js-plotly-plot`);
    if (!found?.on || found._ev === emitter) return;
    plot = found;
    emitter = found._ev;
    plot.on("plotly_click", clicked);
  };
  attach();
  const timer = setInterval(attach, 250);
  return () => {
    clearInterval(timer);
    plot?.removeListener?.("plotly_click", clicked);
  };
}
"""
_downloads = st.components.v2.component("r2t2-downloads", js=_DOWNLOADS)
_pastes = st.components.v2.component("r2t2-pastes", js=_PASTES)
_history = st.components.v2.component("r2t2-history", js=_HISTORY)
_clicks = st.components.v2.component("r2t2-clicks", js=_CLICKS)


def downloads() -> None:
    """Make the PNG and SVG buttons below figures work; once, in the frame."""
    _downloads(key="downloads", height=0)


def pastes(uploader: str) -> None:
    """Let a picture that is pasted anywhere on the page go to an uploader, by its key."""
    _pastes(key=f"pastes-{uploader}", data={"uploader": uploader}, height=0)


def history() -> None:
    """Make every page one entry of the browser's history; once, in the frame."""
    _history(key="history", height=0)


def clicks(
    name: str, then: Callable[[dict[str, Any]], None] = lambda clicked: None
) -> dict[str, Any] | None:
    """What was just clicked on the figure that `show.figure` drew under a name.

    Parameters
    ----------
    then : is given what was clicked before the page runs again, so that it can change widgets.

    Returns
    -------
    None, or number and trace of what was clicked, and its customdata as custom; of a Sankey's
    link also its source and target (numbers of nodes), which are None where a node was clicked.
    """
    key = f"clicks-{name}"

    def changed() -> None:
        if clicked := st.session_state[key].clicked:
            then(clicked)

    result = _clicks(key=key, data={"figure": name}, height=0, on_clicked_change=changed)
    return result.clicked
