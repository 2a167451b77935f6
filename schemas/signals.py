"""A detector's finding, with its evidence."""

from __future__ import annotations

from typing import Literal

import msgspec

#: `page` wakes a person, `warn` is looked at in the morning, `info` is a second opinion.
Severity = Literal["page", "warn", "info"]


class Interval(msgspec.Struct, frozen=True, array_like=True):
    """An estimate with the bounds between which it lies."""

    estimate: float
    lower: float
    upper: float


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """A detector found something in one stream of numbers."""

    #: event time of the newest value seen, seconds UTC
    at: float
    #: kind of detector (`level`, `adwin`, `page_hinkley`) and the stream it watches
    detector: str
    metric: str
    segment: str
    #: the student that the stream belongs to: a new student starts a new generation
    model: str
    severity: Severity
    #: the detector's statistic and what it had to reach
    statistic: float
    threshold: float
    #: values seen in this generation until now
    n: int
    #: the quantity itself, where the detector estimates it
    interval: Interval | None
    #: the same in a sentence for people
    sentence: str
    #: what raised it, as far as is known; said anew when the teacher's canaries have answered
    causes: str = ""
    #: hash of the contract that it was judged by
    contract: str = ""

    @property
    def words(self) -> str:
        """All that is said about it."""
        why = f". Why, as far as is known: {self.causes}" if self.causes else ""
        return f"{self.sentence}{why}"
