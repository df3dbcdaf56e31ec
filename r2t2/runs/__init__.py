"""The run cache: what a run is, where it is kept, and what computes it."""
