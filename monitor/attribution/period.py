"""What is known of the traffic of some time: closed windows, and tickets that the teacher answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from schemas.samples import ESTIMATED, Label, Sample
from schemas.windows import WindowSummary


class Answered(NamedTuple):
    """A sample that the teacher answered, or abstained from."""

    sample: Sample
    label: Label
    #: that the teacher was asked about it, in (0, 1]
    probability: float


class Loss(NamedTuple):
    """A drawn ticket that the student answered, with its loss."""

    sample: Sample
    label: Label
    #: in [0, 1]
    loss: float
    #: tickets that it stands for: 1 / probability
    weight: float


class Period(NamedTuple):
    """A stretch of event time, from the journal."""

    #: of all traffic and of segments, merged over shards, oldest first
    windows: Sequence[WindowSummary]
    answered: Sequence[Answered]

    def losses(self) -> list[Loss]:
        """Return the tickets that an estimate may rest on."""
        return [
            Loss(sample, label, label.disagreement, 1 / probability)
            for sample, label, probability in self.answered
            if sample.reason in ESTIMATED
            and sample.served_by == "student"
            and label.disagreement is not None
        ]

    def sentinels(self) -> list[Answered]:
        """Return planted tickets, whose right answer their sample holds."""
        return [one for one in self.answered if one.sample.reason == "sentinel"]

    def traffic(self) -> Iterator[WindowSummary]:
        """Return the windows of all traffic."""
        return (window for window in self.windows if window.segment == "*")
