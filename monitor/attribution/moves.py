"""Whether a feature of all traffic moved between two periods, by the measure of drift.

Drift waits until chance is all but excluded, and pays for looking every hour. Here something was
found already, and the question is asked once.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from monitor.attribution.period import Period
from monitor.drift.reading import FEATURES, Reading, readings
from monitor.drift.reference import fit, judge
from monitor.drift.watch import LEAST
from monitor.drift.wording import Contributor, contributors, moved_words, shifts
from schemas.windows import Moments, WindowSummary

#: Slices that the time of now is cut into, and slices of the time before: the newest of them, and
#: so many that they say how clean traffic varies.
BLOCK: Final = 3
MOST_SLICES: Final = 96
LEAST_SLICES: Final = 12
#: Wobble that is no news (`DriftSettings.slack`); less than there, because chance is asked once.
SLACK: Final = 0.15
#: Chance, in traffic that did not move, below which a feature moved, and above which it did not;
#: between the two nobody knows.
SURPRISING: Final = 1e-3
STEADY: Final = 0.05


#: Features of which windows hold the mean: what to call it, and its unit.
MEANS: Final[Mapping[str, tuple[str, str]]] = {
    "confidence": ("confidence", ""),
    "latency_ms": ("time taken", " ms"),
    "text_length": ("length", " characters"),
}


class Move(NamedTuple):
    """How a feature of the traffic of now compares with before."""

    feature: str
    #: chance that traffic as before looks like this
    p: float
    contributors: tuple[Contributor, ...]

    @property
    def surprising(self) -> bool:
        """Whether no chance explains it."""
        return self.p < SURPRISING

    @property
    def steady(self) -> bool:
        """Whether nothing speaks for a move."""
        return self.p >= STEADY

    def words(self, before: Period, now: Period) -> str:
        """Say what moved: means where there are any, and of words the words of sampled texts."""
        if self.feature == "words":
            texts = ([one.sample.text for one in period.answered] for period in (before, now))
            return "; ".join(moved_words("words", self.contributors, *texts)) or "other words"
        if self.feature in MEANS:
            name, unit = MEANS[self.feature]
            means = [_mean(self.feature, period) for period in (before, now)]
            return f"{name} {means[0]:.3g} -> {means[1]:.3g}{unit} on average"
        return f"{self.feature} {shifts(self.feature, self.contributors[:1])}"


def _mean(field: str, period: Period) -> float:
    total = Moments()
    for window in period.traffic():
        moments: Moments = getattr(window, field)
        total = total.merge(moments)
    return total.mean


def move(feature: str, before: Period, now: Period) -> Move | None:
    """Compare a feature; None where too little of it is known.

    The time of now is a block of up to three slices, and the time before is cut into slices as
    long as those: how they vary says how clean blocks do.
    """
    here = _windows(now.windows, feature)
    size = math.ceil(len(here) / BLOCK) or 1
    slices = _slices(_windows(before.windows, feature), size)
    block, total = math.ceil(len(here) / size), _total(here)
    if len(slices) < LEAST_SLICES or total.n < LEAST:
        return None
    reference = fit(slices, block, ordered=FEATURES[feature].ordered, slack=SLACK)
    judged = judge(reference, total)
    return Move(feature, judged.p, contributors(feature, reference, judged))


def _windows(windows: Iterable[WindowSummary], feature: str) -> list[Reading]:
    """Return the reading of each slice of event time, oldest first."""
    found: dict[float, Reading] = defaultdict(Reading)
    for window in windows:
        reading = readings(window).get(feature)
        if reading is not None:
            found[window.start] = found[window.start].merge(reading)
    return [found[start] for start in sorted(found)]


def _slices(windows: Sequence[Reading], size: int) -> list[Reading]:
    """Put the newest windows together to slices; those that hold next to nothing are left out."""
    ends = range(len(windows), size - 1, -size)
    slices = [_total(windows[end - size : end]) for end in ends[:MOST_SLICES]]
    return [one for one in slices if one.n >= LEAST]


def _total(readings_: Iterable[Reading]) -> Reading:
    total = Reading()
    for reading in readings_:
        total = total.merge(reading)
    return total
