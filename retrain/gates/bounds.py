"""Bounds of a mean that hold at every look: a gambler bets against it, and grows rich if it is wrong.

He multiplies his money by 1 + lam w (m - x) at each row. If the mean of x is m or more, he gains
nothing on average, so that he ever holds 1/alpha times his money with probability alpha at most,
however often somebody looks (Ville's inequality). A mean at which he does is ruled out.

One stake is the best for one distance and one spread; a grid of stakes shares the money, and
nothing has to be guessed. Each stake is fixed before the first row, so that the order of rows
does not count, and rows with one value and one weight are one term.

Sources: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS
B 2024, arXiv 2010.09686; Choe and Ramdas, "Comparing sequential forecasters", arXiv 2110.00115,
for paired losses.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

#: shares of the money that are staked. The best one is near (m - mean) / variance: a margin of 2
#: points and students that differ in 4 of 100 rows want 0.5; smaller stakes than these would need
#: more rows than a deadline lets come
STAKES = (0.05, 0.1, 0.2, 0.4, 0.8)
#: share of the money that one row may take
_AT_RISK = 0.9
#: a bound of a mean from below may be wrong so many times as often as the one from above: it
#: costs a retraining to refuse a good student, and quality to let a bad one serve
REFUSING = 2.0


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate with its two one-sided bounds."""

    estimate: float
    lower: float
    upper: float


def mean_bounds(
    values: np.ndarray, weights: np.ndarray, alpha: float, *, lowest: float = 0.0
) -> Bounds:
    """Return the weighted mean of values in [lowest, 1] with its bounds; no row: anything.

    Shapes: values, weights [rows], weights in (0, 1]: an inverse inclusion probability, as a
    share of the largest one.

    Guarantee: the upper bound is ever below the mean with probability `alpha` at most, the lower
    one ever above it with `REFUSING` times that, over all looks at more and more rows.

    Assumptions: whatever the earlier rows were, the next ticket's value has this mean over the
    traffic, and it was drawn with the probability that its weight states. Rows need not be
    independent. When a later row is the rarest so far, all weights shrink, and the stakes with
    them: that is no longer one gambler, and the promise is approximate (`bench_gates.py` measures
    it).

    >>> few, many = (mean_bounds(np.zeros(n), np.ones(n), 0.05).upper for n in (80, 800))
    >>> round(few, 3), round(many, 3)
    (0.071, 0.007)
    """
    if len(values) == 0:
        return Bounds(estimate=0.0, lower=lowest, upper=1.0)
    return Bounds(
        estimate=float(np.average(values, weights=weights)),
        lower=-_upper(-values, weights, REFUSING * alpha, -lowest),
        upper=_upper(values, weights, alpha, 1.0),
    )


def rows_needed(loss: float, limit: float, alpha: float) -> int | None:
    """Return about how many rows show that a student with this loss is below a limit.

    None: the bets do not grow at this loss.

    >>> rows_needed(0.06, 0.1, 0.05), rows_needed(0.0, 0.1, 0.05), rows_needed(0.099, 0.1, 0.05)
    (457, 60, None)
    """
    staked = stakes(limit, 1.0)
    growth = loss * np.log1p(staked * (limit - 1.0)) + (1.0 - loss) * np.log1p(staked * limit)
    best = float(growth.max())
    return math.ceil(math.log(len(STAKES) / alpha) / best) if best > 0 else None


def _upper(values: np.ndarray, weights: np.ndarray, alpha: float, highest: float) -> float:
    """Return the smallest mean that is ruled out; money only grows with the mean bet against."""
    rows, counts = np.unique(np.stack([values, weights]), axis=1, return_counts=True)
    low, high = float(rows[0].min()), highest
    if low >= highest:
        return highest
    for _ in range(40):
        middle = (low + high) / 2.0
        if log_money(rows, counts, middle, highest) >= -math.log(alpha):
            high = middle
        else:
            low = middle
    return high


def log_money(rows: np.ndarray, counts: np.ndarray, mean: float, highest: float) -> float:
    """Return the log of the gambler's money, of 1, after bets against "the mean is this or more".

    Parameters
    ----------
    rows: distinct pairs of a value and its weight. Shape [2, pairs].
    counts: how often each came. Shape [pairs].
    highest: that a value can be; the mean is below it.

    >>> rows = np.array([[0.0, 1.0], [1.0, 1.0]])  # right and wrong answers, of equal weight
    >>> round(log_money(rows, np.array([97, 3]), 0.1, 1.0), 2)
    2.44
    """
    values, weights = rows
    won = np.log1p(np.outer(weights * (mean - values), stakes(mean, highest)))
    return float(np.logaddexp.reduce(counts @ won)) - math.log(len(STAKES))


def stakes(mean: float, highest: float) -> np.ndarray:
    """Return the share of the money on each grid point: no row may take more than 90 % of it."""
    shares: np.ndarray = np.minimum(STAKES, _AT_RISK / (highest - mean))
    return shares
