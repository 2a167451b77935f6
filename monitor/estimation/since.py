"""Since when: the start from which the evidence against a student is strongest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

import msgspec

from monitor.estimation.betting import restart_share
from monitor.estimation.quality import JudgedWindow, band, glance, newest, total_of
from monitor.estimation.wording import bounds, number, percent, span
from schemas.signals import Interval

#: starts lie so many labels apart: each has a share of the 5 %, and there must not be too many
BLOCK = 50
#: labels of the glance that is named beside it, and on which the band since then is tightest
RECENT = 500


class Since(msgspec.Struct, frozen=True, kw_only=True):
    """From where on the evidence is strongest, and the mean from there on."""

    #: event time, seconds UTC
    start: float
    labels: int
    #: bounds of 95 % that survive the choice of the start, and of the moment
    interval: Interval


def since(windows: Sequence[JudgedWindow], labels: int, tolerance: float) -> Since:
    """Return the start with the most evidence that the mean is above the tolerance.

    Parameters
    ----------
    windows: the newest of a stream, oldest of them first; at least one.
    labels: of the stream in its lifetime, of which those of `windows` are the last.

    The start is picked by looking at the data, and at a moment picked by looking too. The
    interval survives both: the one of start b is given the share `restart_share(b)` of the 5 %,
    and all shares together are 1, so that with probability 95 % not one of them, at any time,
    misses a mean that has been the same since its start.
    """
    before = labels - sum(window.labels for window in windows)
    best = (-math.inf, 0, 0)
    block = None
    suffixes = _suffixes(windows)
    for first, (window, suffix) in enumerate(zip(windows, suffixes, strict=True)):
        if before // BLOCK != block:
            block = before // BLOCK
            best = max(best, (_evidence(suffix, block, tolerance), first, block))
        before += window.labels
    _, first, block = best
    chosen = suffixes[first]
    return Since(
        start=chosen.start,
        labels=chosen.labels,
        interval=band(chosen, 0.05 * restart_share(block), tightest_at=RECENT),
    )


def _suffixes(windows: Sequence[JudgedWindow]) -> list[JudgedWindow]:
    """Return the sums from each window to the last."""
    sums = accumulate(reversed(windows), lambda later, window: total_of([window, later]))
    return list(sums)[::-1]


def _evidence(window: JudgedWindow, block: int, tolerance: float) -> float:
    """Return about the log of what the luckiest gambler won who came in at a block.

    A likelihood ratio, from sums alone: it only picks a start; no guarantee hangs on it.
    """
    share = math.log(restart_share(block))
    if not window.labels:
        return share
    if not window.is_uniform:
        excess = window.scores.mean - tolerance
        spread = window.scores.variance / window.tickets
        return share + (excess**2 / (2 * spread) if excess > 0 and spread > 0 else 0.0)
    mean, n = window.uniform.mean, window.uniform.n
    if mean <= tolerance:
        return share
    wrong = n * mean * math.log(mean / tolerance)
    right = n * (1 - mean) * math.log((1 - mean) / (1 - tolerance)) if mean < 1 else 0.0
    return share + wrong + right


def describe(began: Since, windows: Sequence[JudgedWindow], lifetime: JudgedWindow) -> str:
    """Say how bad it is, since when and beside what, in one sentence without its end.

    Parameters
    ----------
    began, windows: what `since` said of these windows.
    lifetime: sums over all windows of this student in this segment.

    >>> from schemas.windows import Moments
    >>> def window(at: int, wrong: int) -> JudgedWindow:
    ...     return JudgedWindow(segment="*", model="m1", start=600.0 * at, end=600.0 * (at + 1),
    ...         tickets=1000, labels=50, lost=0, total=20.0 * wrong, squares=0.0,
    ...         uniform=Moments(50, wrong, wrong))
    >>> seen = [*(window(at, 4) for at in range(20)), window(20, 15), window(21, 17)]
    >>> began = since(seen, labels=1100, tolerance=0.1)
    >>> print(describe(began, seen, total_of(seen)))  # doctest: +NORMALIZE_WHITESPACE
    disagreement 32.0 % over the last 100 labels, where the evidence begins (95 % interval 12.9 to
    56.6 %, any number of looks); last 500 labels 12.8 % (95 % interval 10.0 to 16.0 %, one look);
    all 1,100 labels of this student 10.2 % (95 % interval 7.4 to 13.4 %, any number of looks)
    """
    recent, always = newest(windows, RECENT), band(lifetime)
    return (
        f"disagreement {percent(began.interval.estimate)} over the last {number(began.labels)} "
        f"labels, where the evidence begins ({span(began.interval)}, any number of looks); "
        f"last {number(recent.labels)} labels {bounds(glance(recent), 'one look')}; all "
        f"{number(lifetime.labels)} labels of this student {bounds(always, 'any number of looks')}"
    )
