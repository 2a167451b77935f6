"""Many streams, one promise: how the false-alarm probability is shared, and how they are ranked.

Each segment has its own `level`. If stream s pages at evidence 1 / (w_s delta), and the weights
w_s add up to 1 at most, the chance that any of them ever pages falsely is delta at most, however
the streams depend on each other (a union bound over Ville's inequality; "weighted e-Bonferroni").

Sources: Vovk & Wang (2021), E-values: calibration, combination and applications, arXiv
1912.06116 (means of e-values); Wang & Ramdas, arXiv 2009.02824 (e-BH).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from monitor.estimation.quality import MIN_LABELS

#: all traffic, as a segment
ALL = "*"

#: shares of all traffic, of the segments known when a generation begins, and of those born later
OVERALL, KNOWN, LATER = 0.5, 0.4, 0.1

#: share of false ones among the segments that are shown as standing out, on average at most
FALSE_SHARE = 0.05

Standing = Literal["stands out", "does not stand out", "not enough labels"]


class Weights(msgspec.Struct, frozen=True):
    """Shares of the false-alarm probability during one generation: once given, never changed.

    >>> weights = share_out({"channel=mail": 8100, "channel=chat": 900})
    >>> weights.of("*"), round(weights.of("channel=mail"), 2), round(weights.of("channel=chat"), 2)
    (0.5, 0.3, 0.1)
    >>> round(weights.admit(["language=de"]).of("language=de"), 4)
    0.0608
    """

    #: share by segment; the segment of all traffic is among them
    shares: dict[str, float]
    #: segments that were admitted after the generation began
    born_later: int = 0

    def of(self, segment: str) -> float:
        """Return the share of a segment.

        Raises
        ------
        KeyError: it was neither known at the beginning nor admitted.
        """
        return self.shares[segment]

    def admit(self, segments: Iterable[str]) -> Weights:
        """Return weights in which these segments have a share too; nobody else's changes.

        The j-th newcomer of a generation gets 0.1 x 6 / (pi^2 j^2): there is some left for ever.
        Newcomers of one call are taken in alphabetical order.
        """
        shares, born_later = dict(self.shares), self.born_later
        for segment in sorted(set(segments) - shares.keys()):
            born_later += 1
            shares[segment] = LATER * 6 / (math.pi * born_later) ** 2
        return Weights(shares, born_later)


def share_out(tickets: Mapping[str, int]) -> Weights:
    """Return the weights with which a generation begins.

    Parameters
    ----------
    tickets: recent traffic of each segment; all traffic (`*`) may be among them.

    All traffic gets a half; the segments share 0.4 by the square root of their traffic, so that
    small ones are not deaf; 0.1 is kept for segments yet unknown. Where there are no segments
    all traffic gets the 0.4 too.
    """
    roots = {name: math.sqrt(n) for name, n in sorted(tickets.items()) if n > 0 and name != ALL}
    if not roots:
        return Weights({ALL: OVERALL + KNOWN})
    total = math.fsum(roots.values())
    return Weights({ALL: OVERALL, **{name: KNOWN * root / total for name, root in roots.items()}})


class Evidence(NamedTuple):
    """What a segment's `level` holds against its student, at a moment."""

    segment: str
    #: log of the e-value, and the labels that it rests on
    log_e: float
    labels: int


class Ranked(NamedTuple):
    """A segment's place among the others."""

    segment: str
    log_e: float
    labels: int
    standing: Standing


def together(evidence: Sequence[Evidence]) -> float:
    """Return the log of the e-value against "every segment is within its tolerance".

    The mean of e-values is one, whatever their dependence: it sees a small harm that is
    everywhere. For ranking and for looking at; it pages nobody.

    Raises
    ------
    ValueError: no evidence.
    """
    if not evidence:
        raise ValueError("no evidence; need that of one segment at least")
    return float(np.logaddexp.reduce([one.log_e for one in evidence])) - math.log(len(evidence))


def rank(evidence: Iterable[Evidence]) -> list[Ranked]:
    """Return segments, most evidence first; those with fewer than 100 labels last.

    Which ones stand out is decided by e-BH among those with enough labels: on average at most
    5 % of the ones shown as standing out are in fact within their tolerance. It holds for one
    reading: a segment that stood out yesterday need not today, and nothing may latch it.

    >>> [one.standing for one in rank([Evidence("channel=mail", 6.0, 900),
    ...     Evidence("channel=chat", 0.3, 400), Evidence("language=fi", 2.0, 12)])]
    ['stands out', 'does not stand out', 'not enough labels']
    """
    order = sorted(evidence, key=lambda one: (one.labels < MIN_LABELS, -one.log_e, one.segment))
    known = [one for one in order if one.labels >= MIN_LABELS]
    shown = max(
        (
            place
            for place, one in enumerate(known, 1)
            if one.log_e >= math.log(len(known) / (place * FALSE_SHARE))
        ),
        default=0,
    )
    return [Ranked(*one, _standing(place, shown, len(known))) for place, one in enumerate(order)]


def _standing(place: int, shown: int, known: int) -> Standing:
    if place >= known:
        return "not enough labels"
    return "stands out" if place < shown else "does not stand out"
