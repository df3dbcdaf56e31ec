"""Where a model mixes its experts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Site:
    """One place where a router mixes experts.

    Parameters
    ----------
    name : as it is shown.
    experts : the names of the experts mixed there; the same name at several sites is the
        same expert in several layers.
    """

    name: str
    experts: tuple[str, ...]


def expert_names(sites: Sequence[Site]) -> tuple[str, ...]:
    """Every expert's name once, in order of first appearance."""
    return tuple(dict.fromkeys(name for site in sites for name in site.experts))
