"""What Streamlit's own elements do not tell or do: clicks on any figure, pictures as SVG."""

from __future__ import annotations

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
# The graph's element is made anew now and then, so it is looked for again and again.
_CLICKS = """
export default function ({ data, setTriggerValue }) {
  let plot = null;
  const clicked = (event) => {
    const point = event.points[0];
    const end = (node) => node === undefined ? null : (node.index ?? node.pointNumber ?? node);
    setTriggerValue("clicked", {
      number: point.pointNumber ?? point.index ?? null,
      trace: point.curveNumber ?? null,
      source: end(point.source),
      target: end(point.target),
    });
  };
  const attach = () => {
    const found = document.querySelector(
      `.st-key-figure-${CSS.escape(data.figure)} .js-plotly-plot`);
    if (!found || !found.on || found === plot) return;
    plot = found;
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
_clicks = st.components.v2.component("r2t2-clicks", js=_CLICKS)


def downloads() -> None:
    """Make the PNG and SVG buttons below figures work; once, in the frame."""
    _downloads(key="downloads", height=0)


def clicks(name: str) -> dict[str, Any] | None:
    """What was just clicked on the figure that `show.figure` drew under a name.

    Returns
    -------
    None, or number and trace of what was clicked; of a Sankey's link also its source and target
    (numbers of nodes), which are None where a node was clicked.
    """
    result = _clicks(
        key=f"clicks-{name}",
        data={"figure": name},
        height=0,
        on_clicked_change=lambda: None,
    )
    return result.clicked
