"""One point of the quality curve: the disagreement of a student's labels, and how sure we are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

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


def estimate_quality(
    *,
    segment: str,
    model: str,
    at: float,
    losses: Moments,
    recent: Sequence[float],
    tolerance: float,
) -> QualityEstimate:
    """Judge where the disagreement stands.

    Parameters
    ----------
    losses: moments of all labels of this student in [0, 1]; they merge over shards and windows.
    recent: the newest of those losses, as many as the recent figure shall rest on.

    Both intervals are ones of 95 %. `out` when the lifetime's or the recent interval lies above the tolerance; `within` when the
    lifetime's lies below and the recent mean does too; `unsure` otherwise.

    >>> now = estimate_quality(
    ...     segment="*", model="m1", at=0.0, losses=Moments(4000, 300.0, 300.0),
    ...     recent=[0.0] * 460 + [1.0] * 40, tolerance=0.1)
    >>> now.state
    'within'
    >>> print(now.sentence)  # doctest: +NORMALIZE_WHITESPACE
    within: disagreement 8.0 % over the last 500 labels (95 % interval 5.8 to 10.7 %, one look),
    7.5 % over all 4,000 (95 % interval 6.1 to 9.0 %, any number of looks); limit 10.0 %
    """
    lifetime = confidence_sequence(losses.total, losses.n) if losses.n else None
    window = clopper_pearson(sum(recent), len(recent)) if recent else None
    return QualityEstimate(
        segment=segment,
        model=model,
        at=at,
        n=losses.n,
        lifetime=lifetime,
        recent_n=len(recent),
        recent=window,
        tolerance=tolerance,
        state=_state(losses.n, lifetime, window, tolerance),
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
