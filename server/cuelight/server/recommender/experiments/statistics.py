"""How sure it is that variants differ: intervals and tests of shares of users.

Users are the units: they were assigned one by one, so they are independent of each other, which the likes of one user
are not. Every test here is about one look at a time that was set beforehand.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binomtest, chisquare, fisher_exact

__all__ = ["CONFIDENCE", "Interval", "Proportion", "difference", "p_of_difference", "p_of_split"]

CONFIDENCE = 0.95
_FEWEST_EXPECTED = 5.0
"""Below so many expected in a cell the normal approximation is poor. Source: Cochran, Biometrics 10, 1954."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Bounds that hold the true value in 95 of 100 such experiments."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Proportion:
    """`count` of `total` units, total above 0."""

    count: int
    total: int

    @property
    def rate(self) -> float:
        """The share, 0 to 1."""
        return self.count / self.total

    def interval(self) -> Interval:
        """Return the score interval of the share. Source: Wilson, Probable inference, JASA 22, 1927."""
        found = binomtest(self.count, self.total).proportion_ci(CONFIDENCE, method="wilson")
        return Interval(float(found.low), float(found.high))


def difference(first: Proportion, second: Proportion) -> Interval:
    """Return the interval of the second share less the first.

    Source: Newcombe, Interval estimation for the difference between independent proportions, Statistics in Medicine 17,
    1998, method 10: from both Wilson intervals.
    """
    change = second.rate - first.rate
    one, other = first.interval(), second.interval()
    return Interval(
        change - math.hypot(second.rate - other.low, one.high - first.rate),
        change + math.hypot(other.high - second.rate, first.rate - one.low),
    )


def p_of_difference(first: Proportion, second: Proportion) -> float:
    """Return how likely shares at least so far apart are where there is no difference: two-sided, 0 to 1.

    By the z-test of two proportions with their pooled variance, or by Fisher's exact test where fewer than 5 are
    expected in a cell. Source: Fleiss, Levin and Paik, Statistical methods for rates and proportions, 2003, chapter 3.
    """
    totals = (first.total, second.total)
    pooled = (first.count + second.count) / sum(totals)
    if min(totals) * min(pooled, 1 - pooled) < _FEWEST_EXPECTED:
        cells = [[one.count, one.total - one.count] for one in (first, second)]
        return float(fisher_exact(cells).pvalue)
    deviation = math.sqrt(pooled * (1 - pooled) * (1 / first.total + 1 / second.total))
    return math.erfc(abs(second.rate - first.rate) / deviation / math.sqrt(2))


def p_of_split(users: Sequence[int], shares: Sequence[float]) -> float | None:
    """Return how likely users at least so unevenly split are where `shares` (above 0, adding up to 1) assigned them.

    None where fewer than 5 users are expected in a variant. By the chi-square test; source: Fabijan et al., Diagnosing
    sample ratio mismatch in online controlled experiments, KDD 2019.
    """
    expected = [share * sum(users) for share in shares]
    if len(users) < 2 or min(expected) < _FEWEST_EXPECTED:
        return None
    return float(chisquare(users, expected).pvalue)
