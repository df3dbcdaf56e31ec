"""The statistics that tables of accuracies need.

Written out, because to import `scipy.stats` takes a second, a third of what a page may take.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

# Of the normal distribution, 95 % lies within so many standard deviations.
Z = 1.959964


def interval(right: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, as fractions.

    Reference: Wilson (1927), Probable inference, the law of succession, and statistical
    inference.
    """
    centre = (right + Z**2 / 2) / (n + Z**2)
    half = Z / (n + Z**2) * math.sqrt(right * (n - right) / n + Z**2 / 4)
    return max(centre - half, 0.0), min(centre + half, 1.0)


def mcnemar(gained: int, lost: int) -> float:
    """McNemar's exact two-sided p for paired outcomes: discordant pairs against a fair coin."""
    few, n = min(gained, lost), gained + lost
    # Both tails of the binomial distribution: its term at `few`, and the ratios of those before.
    term = math.lgamma(n + 1) - math.lgamma(few + 1) - math.lgamma(n - few + 1) - n * math.log(2)
    before = np.cumprod(np.arange(few, 0, -1) / np.arange(n - few + 1, n + 1)).sum()
    return min(1.0, 2 * math.exp(term) * (1 + float(before)))


def paired_difference(gained: int, lost: int, n: int) -> tuple[float, float]:
    """The difference of two paired shares and its standard error, as fractions.

    Each discordant count is taken for one more than it is, so that pairs that all agree do not
    pass for certainty.

    Reference: Bonett and Price (2012), Adjusted Wald confidence interval for a difference of
    binomial proportions based on paired data.
    """
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    return up - down, math.sqrt((up + down - (up - down) ** 2) / (n + 2))


def holm(p: Sequence[float]) -> list[float]:
    """p values of several comparisons, corrected so that one test in twenty errs in all.

    Reference: Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    corrected = [1.0] * len(p)
    highest = 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = highest
    return corrected
