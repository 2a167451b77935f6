"""Intervals for a mean of losses in [0, 1], from nothing but their number and their sum.

`confidence_sequence` may be looked at after every label; `clopper_pearson` is narrower, and
holds for one look at a number of labels that was fixed beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from schemas.signals import Interval

#: The prior over the rate, Beta(1, 9): a mean of 10 %, where students are worth watching. It
#: decides where the interval is narrowest; the guarantee holds for any other as well.
PRIOR_A = 1.0
PRIOR_B = 9.0

#: halvings of an interval within [0, 1] after which a double has no more to give
HALVINGS = 60


def confidence_sequence(total: float, n: int, alpha: float = 0.05) -> Interval:
    """Bounds that hold at every n at once, however often they are looked at.

    Parameters
    ----------
    total: sum of the losses so far, in [0, n].
    n: their number, 1 or more.
    alpha: probability that the bounds ever exclude the true rate.

    Guarantee: P(there is an n at which the rate lies outside) <= alpha, if each loss, given the
    past, has the same mean q. For losses of 0 and 1 the mixture likelihood ratio

        R_n(q) = integral of p^k (1-p)^(n-k) dBeta(1, 9)(p) / (q^k (1-q)^(n-k))

    is a martingale with mean 1 under q; Ville's inequality bounds the chance that it ever reaches
    1/alpha, and the interval holds the q at which it has not. For graded losses one factor is
    f(x) = (p/q)^x ((1-p)/(1-q))^(1-x), which is convex in x, so that f(x) <= x f(1) + (1-x) f(0),
    whose mean is 1 when x has mean q: R_n is a supermartingale and the bound stands (wider than
    it need be). Where the rate moves, the interval describes no moment of it.

    Raises
    ------
    ValueError: n < 1, or a total outside [0, n].

    Source: Robbins (1970), Statistical methods related to the law of the iterated logarithm;
    Howard et al. (2021), arXiv 1810.08240.

    >>> seen = confidence_sequence(18, 100)
    >>> seen.estimate, round(seen.lower, 3), round(seen.upper, 3)
    (0.18, 0.083, 0.316)
    """
    _check(total, n)
    misses = n - total
    evidence = _log_beta(PRIOR_A + total, PRIOR_B + misses) - _log_beta(PRIOR_A, PRIOR_B)

    def excluded(rate: float) -> bool:
        return evidence - _log_likelihood(total, misses, rate) >= math.log(1 / alpha)

    mean = total / n
    return Interval(mean, _edge(excluded, 0.0, mean), _edge(excluded, 1.0, mean))


def clopper_pearson(total: float, n: int, alpha: float = 0.05) -> Interval:
    """Bounds for one look at a number of labels that was fixed beforehand.

    Exact for losses of 0 and 1. Graded losses vary less than 0/1 losses of the same mean, so
    that the bounds are wide enough for them in practice; that is not proven.

    Raises
    ------
    ValueError: n < 1, or a total outside [0, n].

    Source: Clopper & Pearson (1934), Biometrika 26.

    >>> seen = clopper_pearson(18, 100)
    >>> seen.estimate, round(seen.lower, 3), round(seen.upper, 3)
    (0.18, 0.11, 0.269)
    """
    from scipy.special import betaincinv

    _check(total, n)
    mean = total / n
    lower = float(betaincinv(total, n - total + 1, alpha / 2)) if total > 0 else 0.0
    upper = float(betaincinv(total + 1, n - total, 1 - alpha / 2)) if total < n else 1.0
    # the inverse is off by rounding where the sum is all but 0 or n
    return Interval(mean, min(lower, mean), max(upper, mean))


def _check(total: float, n: int) -> None:
    if n < 1 or not 0 <= total <= n:
        raise ValueError(f"a sum of {total} over {n} losses; need n >= 1 and 0 <= sum <= n")


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_likelihood(total: float, misses: float, rate: float) -> float:
    """Return k ln q + (n-k) ln(1-q), with 0 ln 0 = 0."""
    hit = total * math.log(rate) if total else 0.0
    return hit + (misses * math.log1p(-rate) if misses else 0.0)


def _edge(excluded: Callable[[float], bool], outside: float, inside: float) -> float:
    """Bisect for where `excluded` changes; on the outer side, so that rounding never narrows."""
    for _ in range(HALVINGS):
        middle = (outside + inside) / 2
        if middle in {outside, inside}:
            break
        if excluded(middle):
            outside = middle
        else:
            inside = middle
    return outside
