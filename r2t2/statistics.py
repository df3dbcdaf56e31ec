"""The two statistics that every table of accuracies needs."""

from __future__ import annotations

from scipy.stats import binomtest


def interval(right: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, as fractions."""
    bounds = binomtest(right, n).proportion_ci(method="wilson")
    return float(bounds.low), float(bounds.high)


def mcnemar(gained: int, lost: int) -> float:
    """McNemar's exact two-sided p for paired outcomes: discordant pairs against a fair coin."""
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
