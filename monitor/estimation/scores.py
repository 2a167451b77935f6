"""Doubly robust scores: what each ticket says about the loss, whether or not it was labelled.

The score of a ticket is what was expected of it, corrected by what the teacher said where it was
asked, in the measure in which asking was unlikely:

    x = g + S (d - g) / pi

with g the expectation, pi the inclusion probability (both fixed before the ticket's loss d was
known) and S = 1 where the ticket was labelled. Its mean is the mean of d, whatever g and pi are:
the sampling policy may change at any time and nothing is weighed anew. The better g, the smaller
the variance. With g equal to the tolerance and one pi for all, a ticket that was not labelled
says exactly nothing, and the bets of `betting` are those on plain losses.

Sources: Robins, Rotnitzky & Zhao (1994), augmented inverse-probability weighting; Zrnic & Candes,
arXiv 2403.03208 (active inference).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from schemas.windows import Moments

#: no score of a ticket with a calibrated expectation lies further below 0 than this
DEEPEST = 3.0

#: relative error that a score may have by its computation
ROUNDING = 1e-9


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """The scores of one student's tickets of one segment in one window.

    Order does not count, and scores of partitions add up: `merge` is associative and commutative.

    >>> quiet = Scores(at=600.0, values=((0.1, 190), (0.0, 10)), labels=10, lowest=1.9)
    >>> quiet.moments.n, round(quiet.moments.mean, 3)
    (200, 0.095)
    """

    #: end of the window, event time, seconds UTC
    at: float
    #: (score, how many tickets have it), ascending by score
    values: tuple[tuple[float, int], ...]
    #: tickets among them whose loss the teacher told
    labels: int = 0
    #: tickets among them that were drawn, and whose loss nobody told in time: they count as if
    #: they had not been drawn, which is right while losing does not depend on the loss
    lost: int = 0
    #: how far below 0 a score can lie under the plan of this window (not: how far one does)
    lowest: float = 0.0
    #: whether the plan (not: what came of it) expected the tolerance of every ticket and asked
    #: about all with one probability, as it does until something is calibrated
    uniform: bool = False

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "values", tuple(sorted(self.values)))

    @property
    def usable(self) -> bool:
        """Whether each score is finite and none lies below what the plan allows."""
        allowed = -self.lowest - ROUNDING * (1 + self.lowest)
        return all(allowed <= value < math.inf for value, _ in self.values)

    @property
    def moments(self) -> Moments:
        """Number of tickets, sum of scores, sum of their squares."""
        return Moments(
            sum(count for _, count in self.values),
            sum(value * count for value, count in self.values),
            sum(value * value * count for value, count in self.values),
        )

    def merge(self, other: Scores) -> Scores:
        """The scores of both sets of tickets; they end when the later one ends."""
        values: Counter[float] = Counter()
        for value, count in (*self.values, *other.values):
            values[value] += count
        return Scores(
            at=max(self.at, other.at),
            values=tuple(values.items()),
            labels=self.labels + other.labels,
            lost=self.lost + other.lost,
            lowest=max(self.lowest, other.lowest),
            uniform=self.uniform and other.uniform and self.lowest == other.lowest,
        )


class Belief(NamedTuple):
    """How a calibration is used: g = base + trust * calibrated; both lie in [0, 1].

    Where it is not believed, all tickets are expected to be as bad as tickets are on average.
    """

    base: float
    trust: float


def expectation(calibrated: float, probability: float, belief: Belief) -> float:
    """Return g: a calibrated error probability, as far as it may be used.

    Parameters
    ----------
    calibrated: P(loss) in [0, 1], of a model fitted on earlier labels.
    probability: inclusion probability of the ticket, in (0, 1].
    belief: how good the calibration was of late.

    The cap keeps every score above `-DEEPEST`: without one, a single label of a ticket that was
    unlikely to be asked about could take all that a bet has won.
    """
    believed = min(1.0, belief.base + belief.trust * calibrated)
    if probability >= 1:
        return believed
    return min(believed, DEEPEST * probability / (1 - probability))


def score(expected: float, probability: float, loss: float | None) -> float:
    """Return x of one ticket; `loss` None: it was not labelled.

    >>> round(score(0.1, 0.05, None), 3), round(score(0.1, 0.05, 0.0), 3)
    (0.1, -1.9)
    """
    return expected if loss is None else expected + (loss - expected) / probability


def plain(losses: Iterable[float], at: float) -> Scores:
    """Return the scores of tickets that were all labelled: their losses.

    >>> plain([1.0, 0.0, 0.0], at=0.0).values
    ((0.0, 2), (1.0, 1))
    """
    counted = Counter(losses)
    return Scores(at=at, values=tuple(counted.items()), labels=counted.total(), uniform=True)
