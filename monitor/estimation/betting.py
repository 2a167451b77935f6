"""Wealth of bets against "the mean loss is at most the tolerance", with restarts.

A gambler who stakes the share lam of his money on "x is above the tolerance" multiplies it by
1 + lam (x - tau) with each score x. While E[x | past] <= tau he gains nothing on average, so
that wealth of 100 from 1 is seen with probability 1 % at most: however long he plays and however
often he looks (Ville's inequality). That is the whole of the guarantee: no independence, no
fixed sample size, no model of the traffic.

Two things make it fast. A grid of stakes, each the best one for another size of harm, shares the
money. And new money comes in at each block (`restart_share`), because wealth lost in a long good
time would have to be won back before a bad one is seen.

Wealth is kept as its logarithm. What a gambler wins within a block is a sum over tickets, so that
their order does not count and partitions add up; only the sealing of blocks has an order.

Sources: Waudby-Smith & Ramdas, arXiv 2010.09686 (betting on a mean); Shin, Ramdas & Rinaldo,
arXiv 2203.03532 (sums over restarts).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from monitor.estimation.scores import Scores
from schemas.windows import Moments

#: harms that the stakes of the tolerance alarm are best for, as multiples of the tolerance
HARMS = (1.1, 1.25, 1.5, 2.0, 3.0, 5.0)

#: and the share of the money that each of these gamblers begins with: the middle ones, whose
#: neighbours cover for them on both sides, are of use for more harms than the outer ones
PURSES = (1 / 12, 2 / 12, 3 / 12, 3 / 12, 2 / 12, 1 / 12)

#: a stake may lose at most this share of the money on the lowest score that there can be
MOST_AT_RISK = 0.9

#: labels from which a block is full: stakes are fixed and new money comes in at its beginning
BLOCK = 50

#: blocks that the first guess of a variance is worth, and blocks that its running mean remembers
PRIOR_BLOCKS, MEMORY = 20, 400


def stakes(
    limit: float, aims: Sequence[float], variance: float, lowest: float = 0.0
) -> tuple[float, ...]:
    """Return the share of the money that each gambler stakes on a score.

    Parameters
    ----------
    limit: the mean that is bet against, in (0, 1).
    aims: the means that the stakes are the best ones for.
    variance: mean square of a score's distance from the limit; tau (1 - tau) for plain losses. A
        guess: a wrong one costs speed, never the guarantee.
    lowest: how far below 0 a score can lie (0 for plain losses).

    They must be fixed before the scores they are used on are known: a stake that depended on the
    present ticket would weigh the mean anew.

    >>> [round(stake, 2) for stake in stakes(0.1, [0.11, 0.2, 0.5], 0.09)]
    [0.11, 1.11, 4.44]
    """
    most = MOST_AT_RISK / (limit + lowest)
    return tuple(min(max(0.0, (aim - limit) / variance), most) for aim in aims)


def restart_share(block: int) -> float:
    """Return the share of the starting money that comes in with a block; all blocks share 1.

    Half starts at once; the rest comes ever more slowly, so that there is some for ever.

    >>> restart_share(0), round(restart_share(1), 4)
    (0.5, 0.0335)
    """
    return 0.5 * (block**-0.1 - (block + 1) ** -0.1) if block else 0.5


def uniform_variance(tolerance: float, lowest: float) -> float:
    """Return the variance of a score under a plan that knows nothing, where the mean is accepted.

    Such a plan asks about all tickets with one probability pi, and expects the tolerance of each;
    no score of it lies further below 0 than `lowest` = tau (1 - pi) / pi. The variance is
    tau (1 - tau) / pi, and the stakes that follow are those on plain losses, times pi.

    >>> round(uniform_variance(0.1, 0.0), 3), round(uniform_variance(0.1, 1.9), 3)
    (0.09, 1.8)
    """
    return (1 - tolerance) * (tolerance + lowest)


class Block(msgspec.Struct, array_like=True):
    """The open block: what its stakes were fixed by, and the sums of its scores."""

    lowest: float = 0.0
    uniform: bool = True
    labels: int = 0
    #: of the scores of its tickets
    moments: Moments = Moments()

    def takes(self, scores: Scores) -> bool:
        """Whether these scores may still be bet on with this block's stakes."""
        return not self.moments.n or (self.labels < BLOCK and scores.lowest <= self.lowest)

    def add(self, scores: Scores) -> None:
        """Count scores in; the first ones of a block say what its plan is."""
        if not self.moments.n:
            self.lowest, self.uniform = scores.lowest, scores.uniform
        self.labels += scores.labels
        self.moments = self.moments.merge(scores.moments)


def distance(moments: Moments, limit: float) -> float:
    """Return the mean square of the distance of scores from a limit.

    >>> distance(Moments(4, 1.0, 1.0), 0.25)
    0.1875
    """
    return (moments.squares - 2 * limit * moments.total) / moments.n + limit * limit


def remembered(mean: float, value: float, blocks: int) -> float:
    """Return a running mean after one more block, when it knew so many; it forgets the oldest."""
    return mean + (value - mean) / (min(blocks, MEMORY) + 1)


def winnings(scores: Scores, limit: float, staked: Sequence[float]) -> list[float]:
    """Return the log of the factor by which each gambler's money grew over some scores.

    >>> [round(won, 3) for won in winnings(Scores(at=0.0, values=((0.0, 9), (1.0, 1))), 0.1, [1.0])]
    [-0.306]
    """
    values, counts = np.array(scores.values).T
    logs = np.log1p(np.multiply.outer(np.array(staked), values - limit))
    return [float(won) for won in (logs * counts).sum(axis=1)]


def shared(wealth: Sequence[float], purses: Sequence[float]) -> float:
    """Return the log of the money of all gamblers together.

    Parameters
    ----------
    wealth: log of what each has made of every 1 that he was given.
    purses: his share of what is given out; they sum to 1.

    >>> round(math.exp(shared([0.0, math.log(5)], [0.25, 0.75])), 3)
    4.0
    """
    return float(np.logaddexp.reduce(np.add(wealth, np.log(purses))))


def paid_in(wealth: Sequence[float], share: float) -> list[float]:
    """Return the log wealth of the gamblers, each for every 1 of his, after new money came in."""
    return [float(money) for money in np.logaddexp(wealth, math.log(share))]
