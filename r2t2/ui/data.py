"""Benchmarks and datasets on a page: which are here, how to get others, and taking in your own."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO

import pandas as pd
import streamlit as st

from r2t2.data import benchmarks
from r2t2.ui import show

_HELP = """A .zip that holds one table (.csv, .tsv, .jsonl or .parquet) and its pictures. The table
has the columns image (a path beside it), question and answer and, if you like, choices ("|"
between them), answers, category, hint and id."""


def panel() -> None:
    """A list of datasets, and a form that takes in another one."""
    with st.expander("Benchmarks and datasets", icon=":material/database:"):
        rows = pd.DataFrame(benchmarks.listed())
        show.table(
            rows.sort_values("here", ascending=False, kind="stable"),
            "data",
            "The paper's datasets and your own. What is here can be run (a benchmark) or made a "
            "reference set of; the others are fetched, or taken from their official files, by "
            "`python -m r2t2 data get NAME`.",
        )
        _form()


def _form() -> None:
    with st.form("data-add", clear_on_submit=False, border=False):
        st.markdown("**Add your own**")
        file = st.file_uploader(
            "Pictures and their table",
            type="zip",
            max_upload_size=500,
            help=_HELP,
            key="data-file",
        )
        left, right = st.columns(2)
        name = left.text_input(
            "Name",
            max_chars=50,
            placeholder="small letters, digits, - and _",
            key="data-name",
        )
        role = right.selectbox("Use", ("benchmark", "reference"), key="data-role")
        sent = st.form_submit_button("Add", icon=":material/add:")
    if sent:
        st.session_state["data-added"] = None
        if file is None:
            st.session_state["data-added"] = ValueError("choose a .zip file first")
        else:
            _take_in(file, name.strip(), role)
    done = st.session_state.get("data-added")
    if isinstance(done, Exception):
        show.failure(done, "Nothing was added.")
    elif done is not None:
        st.success(done, icon=":material/check:")


def _take_in(file: BinaryIO, name: str, role: str) -> None:
    from r2t2.data.own import add

    try:
        with st.spinner("Reading …"), tempfile.TemporaryDirectory() as folder:
            kept = Path(folder) / "upload.zip"
            with kept.open("wb") as target:
                shutil.copyfileobj(file, target)
            size = add(kept, name, role).manifest["size"]
    except (ValueError, OSError) as error:
        st.session_state["data-added"] = error
        return
    use = (
        f"start runs on it above, or with python -m r2t2 run --benchmark {name}"
        if role == "benchmark"
        else f"build a reference set with python -m r2t2 reference build --dataset {name}"
    )
    st.session_state["data-added"] = f"{name} has {size:,} samples: {use}"
    st.rerun()
