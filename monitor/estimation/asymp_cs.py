"""Intervals for the mean of doubly robust scores: one that any number of looks leaves valid."""

from __future__ import annotations

import math

from schemas.signals import Interval
from schemas.windows import Moments

#: labels at which the band of a student's lifetime is tightest
TIGHTEST_AT = 5000
#: standard deviations of a normal that 95 % lie within
TWO_SIDED = 1.959964


def asymptotic_sequence(
    scores: Moments, labels: int, alpha: float = 0.05, *, tightest_at: int = TIGHTEST_AT
) -> Interval:
    """Bounds that hold at all times at once, as the number of scores grows.

    Parameters
    ----------
    scores: moments of the scores of *all* tickets, labelled or not.
    labels: tickets among them that were labelled; 1 or more.
    alpha: probability that the bounds ever exclude the mean, from some number of labels on.
    tightest_at: labels at which the band is tightest, for its size: a choice made beforehand,
        without influence on the guarantee.

    Guarantee: an asymptotic one. It needs scores with a variance and enough labels for the
    central limit theorem: 100 at least. Scores need not be alike: their running mean is what is
    covered. The variance is taken as if one label more had shown a loss, because a hundred labels
    with no loss among them would be certain otherwise: by simulation a rate of 2 % was missed at
    some look from 100 labels on in 9 % of runs without it, and in 4 % with it
    (`tests/bench/bench_bands.py`).

    Source: Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, arXiv 2103.06476, eq. (1).

    >>> band = asymptotic_sequence(Moments(10_000, 800.0, 16_000.0), labels=500)
    >>> band.estimate, round(band.lower, 3), round(band.upper, 3)
    (0.08, 0.031, 0.129)
    """
    n = scores.n
    spread = math.sqrt(_variance(scores, labels))
    log_inverse = -2 * math.log(alpha)
    rho = (log_inverse + math.log(log_inverse + 1)) / (n / labels * tightest_at)
    grown = n * rho + 1
    half = spread * math.sqrt(2 * grown / (n * n * rho) * math.log(math.sqrt(grown) / alpha))
    return _within(scores.mean, half)


def one_look(scores: Moments, labels: int) -> Interval:
    """Bounds of 95 % for one look, by the central limit theorem.

    >>> one_look(Moments(10_000, 800.0, 16_000.0), labels=500).upper < 0.106
    True
    """
    return _within(scores.mean, TWO_SIDED * math.sqrt(_variance(scores, labels) / scores.n))


def _variance(scores: Moments, labels: int) -> float:
    """Variance of the scores, with one labelled loss more: its score is about n / labels."""
    return scores.variance + scores.n / labels**2


def _within(mean: float, half: float) -> Interval:
    """A mean loss lies in [0, 1], whatever noise says of it."""
    estimate = min(1.0, max(0.0, mean))
    return Interval(
        estimate, min(estimate, max(0.0, mean - half)), max(estimate, min(1.0, mean + half))
    )
