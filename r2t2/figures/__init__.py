"""Figures: DataFrame in, plotly Figure out; a module for each kind of page."""
