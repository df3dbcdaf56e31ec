"""Flips."""

from __future__ import annotations

import streamlit as st

from r2t2.ui.state import framed

framed()
st.title("Flips", anchor=False)
