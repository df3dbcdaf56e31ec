"""The frame of R2-T2 Studio: navigation and sidebar. Start it with `make run`."""

from __future__ import annotations

import streamlit as st

from r2t2.models import available
from r2t2.ui import engine, listen, runs, show
from r2t2.ui.state import kept, menu, pages


@st.fragment(run_every="15s")
def device() -> None:
    """The device and the memory in use, kept up to date."""
    name, memory = engine.device()
    st.caption(f"**Device** {name}  \n{memory}")


st.set_page_config("R2-T2 Studio", show.icon(), layout="wide")
st.html(show.STYLE)
page = pages()
with st.sidebar:
    links = st.container(gap="xxsmall")
    model = kept("model", "Model", available()) or ""
    kept(
        "reference",
        "Reference set",
        engine.references(model),
        placeholder="none built yet",
        help="The labelled samples whose neighbours re-route a sample (section 3).",
    )
    kept(
        "runs",
        "Run set",
        runs.sets(model),
        runs.set_label,
        placeholder="no runs yet",
        help="The runs that the pages show: those of one model and reference set, or all.",
    )
    device()
    with links:
        menu()
listen.downloads()
listen.history()
page.run()
