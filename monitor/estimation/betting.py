"""Wealth of bets against "the mean loss is at most the tolerance", with restarts.

A gambler who stakes the share lam of his money on "x is above the tolerance" multiplies it by
1 + lam (x - tau) with each score x. While E[x | past] <= tau he gains nothing on average, so
that wealth of 100 from 1 is seen with probability 1 % at most: however long he plays and however
often he looks (Ville's inequality). That is the whole of the guarantee: no independence, no
fixed sample size, no model of the traffic.

Two things make it fast. A grid of stakes, each the best one for another size of harm, shares the
money. And new money comes in at each block (`restart_share`), because wealth lost in a long good
time would have to be won back before a bad one is seen.

Sources: Waudby-Smith & Ramdas, arXiv 2010.09686 (betting on a mean); Shin, Ramdas & Rinaldo,
arXiv 2203.03532 (sums over restarts).
"""

from __future__ import annotations

#: harms that the stakes are best for, as multiples of the tolerance
HARMS = (1.1, 1.25, 1.5, 2.0, 3.0, 5.0)

#: a stake may lose at most this share of the money on the lowest score that there can be
MOST_AT_RISK = 0.9

#: wealth is capped here at each new block, so that it never overflows before the next one; a cap
#: only lowers it, and the alarm has long been raised
RICHEST = 1e200


def stakes(tolerance: float, variance: float, lowest: float = 0.0) -> tuple[float, ...]:
    """Return the share of the money that each gambler of the grid stakes on a score.

    Parameters
    ----------
    tolerance: the mean that was accepted, in (0, 1).
    variance: of a score about the tolerance; tau (1 - tau) for plain losses. A guess: a wrong one
        costs speed, never the guarantee.
    lowest: how far below 0 a score can lie (0 for plain losses).

    They must be fixed before the scores they are used on are known: a stake that depended on the
    present ticket would weigh the mean anew.

    >>> [round(stake, 2) for stake in stakes(0.1, 0.09)]
    [0.11, 0.28, 0.56, 1.11, 2.22, 4.44]
    """
    most = MOST_AT_RISK / (tolerance + lowest)
    return tuple(min((harm - 1) * tolerance / variance, most) for harm in HARMS)


def restart_share(block: int) -> float:
    """Return the share of the starting money that comes in with a block; all blocks share 1.

    Half starts at once; the rest comes ever more slowly, so that there is some for ever.

    >>> restart_share(0), round(restart_share(1), 4)
    (0.5, 0.0335)
    """
    return 0.5 * (block**-0.1 - (block + 1) ** -0.1) if block else 0.5
