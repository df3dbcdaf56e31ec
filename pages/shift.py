"""Expert shift: which expert leads before re-routing, which after, and whether that helps."""

from __future__ import annotations

import streamlit as st

from r2t2.ui import filters, runs, shift, show, specs
from r2t2.ui.state import framed

framed()
st.title("Expert shift", anchor=False)
st.caption(
    "Which expert leads (is top-1) before re-routing, which after, and what became of the answer."
)
every = runs.chosen()
found = [run for run in every if run.spec.strategy != "base"]
if not found:
    show.empty(
        "No runs of a strategy in this run set",
        "Shifts appear here as soon as a strategy has been run on a benchmark:",
        "python -m r2t2 run --strategy ngd",
    )
    st.stop()
experts = shift.experts(found)
boxes = st.columns([3, 3, 3, 2])
with boxes[0]:
    of_benchmark = filters.benchmark(found)
with boxes[1]:
    picked = filters.strategy(of_benchmark)
with boxes[2]:
    site = shift.site(picked)
with boxes[3]:
    shares = shift.shares()
telling = shift.telling(picked, site)
if not telling:
    shift.missing(picked, "ends")
    st.stop()
for said in shift.notes(telling, picked):
    st.caption(said)
shift.body(telling, specs.controls(telling, every), shift.Look(experts, site, shares))
