"""One point of the quality curve: the disagreement of a student's labels, and how sure we are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from monitor.estimation.asymp_cs import TIGHTEST_AT, asymptotic_sequence, one_look
from monitor.estimation.beta_binomial import clopper_pearson, confidence_sequence
from monitor.estimation.wording import number, percent, span
from schemas.signals import Interval
from schemas.windows import Moments

#: fewer labels than this tell nothing that a person should act on
MIN_LABELS = 100

QualityState = Literal["within", "out", "unsure", "not enough labels"]


class JudgedWindow(msgspec.Struct, frozen=True, kw_only=True):
    """What one window said of one student in one segment: sums that add up over windows.

    `total` and `squares` are of the scores (`estimation.scores`) of all `tickets`.
    """

    segment: str
    model: str
    #: event time, seconds UTC
    start: float
    end: float
    tickets: int
    #: tickets whose loss was told, and those that were drawn and whose loss was not
    labels: int
    lost: int
    total: float
    squares: float
    #: losses of the uniform draw
    uniform: Moments

    @property
    def scores(self) -> Moments:
        """Moments of the scores of all tickets."""
        return Moments(self.tickets, self.total, self.squares)

    @property
    def is_uniform(self) -> bool:
        """Whether all of its labels came from the uniform draw."""
        return self.labels == self.uniform.n


class QualityEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about one student's disagreement on one segment."""

    segment: str
    model: str
    #: event time of the newest label, seconds UTC
    at: float
    #: labels of this student, and their mean with bounds that any number of looks leaves valid
    n: int
    lifetime: Interval | None
    #: the newest labels, and their mean with bounds for one look
    recent_n: int
    recent: Interval | None
    #: the disagreement that was accepted
    tolerance: float
    #: evidence against "within the tolerance": log of `level`'s e-value, 0 for none
    log_e: float
    #: a glance at this moment, which pages nobody: that is the `level` detector's office
    state: QualityState

    @property
    def sentence(self) -> str:
        """The estimate for people, with its figures."""
        if self.lifetime is None or self.recent is None:
            return "no labels yet"
        return (
            f"{self.state}: disagreement {percent(self.recent.estimate)} over the last "
            f"{number(self.recent_n)} labels ({span(self.recent)}, one look), "
            f"{percent(self.lifetime.estimate)} over all {number(self.n)} "
            f"({span(self.lifetime)}, any number of looks); limit {percent(self.tolerance)}"
        )


def total_of(windows: Sequence[JudgedWindow]) -> JudgedWindow:
    """Return the sums over windows of one stream; at least one of them."""
    first, last = windows[0], windows[-1]
    uniform = Moments()
    for window in windows:
        uniform = uniform.merge(window.uniform)
    return JudgedWindow(
        segment=first.segment,
        model=first.model,
        start=first.start,
        end=last.end,
        tickets=sum(window.tickets for window in windows),
        labels=sum(window.labels for window in windows),
        lost=sum(window.lost for window in windows),
        total=math.fsum(window.total for window in windows),
        squares=math.fsum(window.squares for window in windows),
        uniform=uniform,
    )


def newest(windows: Sequence[JudgedWindow], labels: int) -> JudgedWindow:
    """Return the sums over the newest windows that hold so many labels, or over all there are."""
    held = 0
    for first in range(len(windows) - 1, 0, -1):
        held += windows[first].labels
        if held >= labels:
            return total_of(windows[first:])
    return total_of(windows)


def band(window: JudgedWindow, alpha: float = 0.05, *, tightest_at: int = TIGHTEST_AT) -> Interval:
    """Bounds that any number of looks leaves valid; [0, 1] before the first label.

    Exact where every label came from the uniform draw. Else asymptotic, from 100 labels on; with
    fewer, exact again, of those labels alone that came from the uniform draw.
    """
    uniform = window.uniform
    if window.is_uniform or window.labels < MIN_LABELS:
        if not uniform.n:
            return Interval(0.0, 0.0, 1.0)
        return confidence_sequence(uniform.total, uniform.n, alpha)
    return asymptotic_sequence(window.scores, window.labels, alpha, tightest_at=tightest_at)


def glance(window: JudgedWindow) -> Interval:
    """Bounds for one look; [0, 1] before the first label. Exact where `band` is."""
    uniform = window.uniform
    if window.is_uniform or window.labels < MIN_LABELS:
        if not uniform.n:
            return Interval(0.0, 0.0, 1.0)
        return clopper_pearson(uniform.total, uniform.n)
    return one_look(window.scores, window.labels)


def estimate_quality(
    lifetime: JudgedWindow, recent: JudgedWindow, tolerance: float, *, log_e: float = 0.0
) -> QualityEstimate:
    """Judge where the disagreement stands.

    Parameters
    ----------
    lifetime: sums over all windows of this student in this segment.
    recent: sums over the newest of them.
    log_e: of the `level` detector, to rank segments by.

    Both intervals are ones of 95 %. `out` when one of them lies above the tolerance; `within`
    when the lifetime's lies below and the recent mean does too; `unsure` otherwise.

    >>> def window(n: int, total: float) -> JudgedWindow:
    ...     return JudgedWindow(segment="*", model="m1", start=0.0, end=600.0, tickets=20 * n,
    ...         labels=n, lost=0, total=20 * total, squares=0.0, uniform=Moments(n, total, total))
    >>> now = estimate_quality(window(4000, 300.0), window(500, 40.0), tolerance=0.1)
    >>> now.state
    'within'
    >>> print(now.sentence)  # doctest: +NORMALIZE_WHITESPACE
    within: disagreement 8.0 % over the last 500 labels (95 % interval 5.8 to 10.7 %, one look),
    7.5 % over all 4,000 (95 % interval 6.1 to 9.0 %, any number of looks); limit 10.0 %
    """
    known = lifetime.labels > 0
    always = band(lifetime) if known else None
    now = glance(recent) if recent.labels else None
    return QualityEstimate(
        segment=lifetime.segment,
        model=lifetime.model,
        at=lifetime.end,
        n=lifetime.labels,
        lifetime=always,
        recent_n=recent.labels,
        recent=now,
        tolerance=tolerance,
        log_e=log_e,
        state=_state(lifetime.labels, always, now, tolerance),
    )


def _state(
    n: int, lifetime: Interval | None, recent: Interval | None, tolerance: float
) -> QualityState:
    if lifetime is None or recent is None or n < MIN_LABELS:
        return "not enough labels"
    if lifetime.lower > tolerance or recent.lower > tolerance:
        return "out"
    if lifetime.upper <= tolerance and recent.estimate <= tolerance:
        return "within"
    return "unsure"
