"""The sections of Inspect, one module each, from the choice of a sample to its export."""
