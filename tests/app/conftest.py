"""The app without a browser, on a small cache and on an empty one."""

from collections.abc import Callable
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

import r2t2.models
from r2t2.ui import engine

APP = str(Path(__file__).parents[2] / "app.py")


def open_page(page: str, **query: str) -> AppTest:
    """A page by name, as its address with a query would open it."""
    test = AppTest.from_file(APP, default_timeout=120)
    if page != "overview":
        # Not by a change of page, which would clear the address.
        test._page_hash = test._finished_page_script_hash = calc_hash(page)
    test.query_params.update(query)
    test.run()
    assert not test.exception, test.exception
    return test


@pytest.fixture
def app(small_cache, monkeypatch) -> Callable[..., AppTest]:
    """Opens a page on the small cache: app("inspect", k="2")."""
    monkeypatch.setenv("R2T2_CACHE", str(small_cache))
    st.cache_data.clear()
    return lambda page, **query: open_page(page, **{"model": "mini-7", **query})


@pytest.fixture
def empty_app(tmp_path, monkeypatch):
    """Opens a page with nothing in the cache, and no checkpoint that ships."""
    monkeypatch.setenv("R2T2_CACHE", str(tmp_path))
    monkeypatch.setattr(r2t2.models, "shipped_checkpoint", lambda: tmp_path)
    st.cache_data.clear()
    engine.engine.clear()
    yield open_page
    engine.engine.clear()


@pytest.fixture
def html() -> Callable[[AppTest], str]:
    """All of a page's own HTML."""
    return lambda test: " ".join(block.proto.body for block in test.get("html"))
