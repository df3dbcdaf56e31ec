"""Expert shift."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from r2t2.ui import filters, listen, runs, show
from r2t2.ui.state import framed

framed()
st.title("Expert shift", anchor=False)
a = filters.benchmark(runs.chosen())
b = filters.strategy(a)
f = go.Figure(
    go.Sankey(
        node={"label": ["a", "b", "c", "d"]},
        link={"source": [0, 1], "target": [2, 3], "value": [3, 4]},
    )
)
show.figure(f, pd.DataFrame({"x": [1]}), "flow", "A caption.")
st.write(listen.clicks("flow"))
st.write(len(b))
