"""The frame of R2-T2 Studio: navigation and sidebar. Start it with `make run`."""

from __future__ import annotations

from functools import partial

import streamlit as st

from r2t2.models import available
from r2t2.models.names import titles
from r2t2.paths import reference_title
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
    names = titles(available())
    model = (
        kept(
            "model",
            "Model",
            list(names),
            names.__getitem__,
            help="Large models are offered once they are added from a terminal:  \n"
            "`python -m r2t2 models add hf:FOLDER_OR_HUB_NAME`",
        )
        or ""
    )
    kept(
        "reference",
        "Reference set",
        engine.references(model),
        partial(reference_title, model=model),
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
