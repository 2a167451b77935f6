"""The summary of one segment's traffic in one slice of event time, as sums that add up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

import msgspec

_Key = TypeVar("_Key", str, int)

#: More predicted classes than this in one window are counted under OTHER.
MAX_CLASSES = 512
OTHER = "__other__"


def strata_key(plan: int, model: str) -> str:
    """Name a student's pairs under one version of the sampling plan, in `WindowSummary.strata`.

    >>> strata_key(3, "m1")
    '3/m1'
    """
    return f"{plan}/{model}"


class Moments(msgspec.Struct, frozen=True, array_like=True):
    """Count, sum and sum of squares of the finite values of one quantity."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    def merge(self, other: Moments) -> Moments:
        """Moments of both sets of values together."""
        return Moments(self.n + other.n, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        """Mean of the values; NaN when there are none."""
        return self.total / self.n if self.n else math.nan

    @property
    def variance(self) -> float:
        """Population variance of the values, never below 0; NaN when there are none."""
        return max(0.0, self.squares / self.n - self.mean**2) if self.n else math.nan


class WindowSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Counts and sums of one segment's pairs asked in `[start, start + length)`.

    `merge` is associative and commutative, so that partitions can be summarised apart. The sums
    are of floats: two orders of merging agree to rounding, not to the bit.

    >>> a = WindowSummary(segment="*", start=0.0, length=60.0, pairs=2, models={"m1": 2})
    >>> b = WindowSummary(segment="*", start=0.0, length=60.0, pairs=1, models={"m2": 1})
    >>> a.merge(b).models
    {'m1': 2, 'm2': 1}
    """

    segment: str
    #: seconds UTC, and seconds
    start: float
    length: float
    pairs: int = 0
    #: tickets whose grace ran out in this slice: they were asked that much earlier
    unanswered: int = 0
    #: pairs by the version of the model that answered, and by the answer it gave
    models: dict[str, int] = {}
    classes: dict[str, int] = {}
    #: pairs that a student answered, by `strata_key` and stratum: what the estimates take for the
    #: traffic. A pair that came after its own slice was closed is counted here, and here alone,
    #: in the oldest slice that was open
    strata: dict[str, dict[int, int]] = {}
    confidence: Moments = Moments()
    text_length: Moments = Moments()
    latency_ms: Moments = Moments()
    cost_usd: Moments = Moments()
    #: what follows is of all traffic only: where `segment` is `*`
    #: how those values are spread: count by bin (`monitor.features` says which bin is what)
    confidence_bins: dict[int, int] = {}
    text_length_bins: dict[int, int] = {}
    latency_bins: dict[int, int] = {}
    #: words of the tickets by hash bucket, of which there are 256
    words: dict[int, int] = {}

    @property
    def key(self) -> tuple[str, float]:
        """What two summaries must share to be merged."""
        return (self.segment, self.start)

    def merge(self, other: WindowSummary) -> WindowSummary:
        """The summary of both sets of pairs.

        Raises
        ------
        ValueError: the two summarise different segments or slices of time.
        """
        if self.key != other.key or self.length != other.length:
            message = f"cannot merge windows of {self.key} and {other.key}"
            raise ValueError(message)
        return WindowSummary(
            segment=self.segment,
            start=self.start,
            length=self.length,
            pairs=self.pairs + other.pairs,
            unanswered=self.unanswered + other.unanswered,
            models=_add(self.models, other.models),
            classes=_add(self.classes, other.classes),
            strata={
                key: _add(self.strata.get(key, {}), other.strata.get(key, {}))
                for key in sorted(self.strata.keys() | other.strata.keys())
            },
            confidence=self.confidence.merge(other.confidence),
            text_length=self.text_length.merge(other.text_length),
            latency_ms=self.latency_ms.merge(other.latency_ms),
            cost_usd=self.cost_usd.merge(other.cost_usd),
            confidence_bins=_add(self.confidence_bins, other.confidence_bins),
            text_length_bins=_add(self.text_length_bins, other.text_length_bins),
            latency_bins=_add(self.latency_bins, other.latency_bins),
            words=_add(self.words, other.words),
        )


def _add(left: Mapping[_Key, int], right: Mapping[_Key, int]) -> dict[_Key, int]:
    total = dict(left)
    for name, count in right.items():
        total[name] = total.get(name, 0) + count
    return dict(sorted(total.items()))
