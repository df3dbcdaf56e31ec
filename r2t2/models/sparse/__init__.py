"""Sparse mixtures of transformers on the contract: `hf:NAME?OPTION=VALUE&...` (docs/sparse.md)."""
