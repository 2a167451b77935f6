"""What drift looks at: a few features of a slice of traffic, each as counts of cells.

Most are counted in all traffic, as windows hold them. Two are what sampled tickets are about, by a
transformer's embeddings (`drift.topics`), where one is configured.

Cheap stand-ins for it were tried and are not here: sums by slice of hashed character n-grams, in
16 to 64 random projections, in six variants, on the tickets of `tests/bench/bench_drift.py`. They
never told an event that the features of all traffic do not tell, at 0.3 to 0.5 ms a text where all
of those take 0.01.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import msgspec

from schemas.windows import WindowSummary


class Reading(msgspec.Struct, frozen=True, array_like=True):
    """How often each cell of one feature was met, among `n`; adds up."""

    n: int = 0
    counts: dict[str, int] = {}

    def merge(self, other: Reading) -> Reading:
        """Return the counts of both together."""
        total = dict(self.counts)
        for cell, count in other.counts.items():
            total[cell] = total.get(cell, 0) + count
        return Reading(self.n + other.n, total)


class Feature(NamedTuple):
    """One thing that can drift."""

    #: whether it describes the student's answers: a new student begins anew
    of_student: bool
    #: whether cells are numbers in order, so that neighbours may be put together
    ordered: bool
    #: what a window says about it; another segment than `*` says nothing but its name and size.
    #: None: windows hold nothing of it, it is read from the embeddings of sampled tickets
    read: Callable[[WindowSummary], Reading] | None


def _classes(window: WindowSummary) -> Reading:
    return Reading(sum(window.classes.values()), window.classes)


def _binned(bins: Mapping[int, int]) -> Reading:
    return Reading(sum(bins.values()), {str(cell): count for cell, count in bins.items()})


#: Adding one here is all it takes; the budget of false alarms is shared among them.
FEATURES: Final[Mapping[str, Feature]] = {
    "classes": Feature(True, False, _classes),
    "confidence": Feature(True, True, lambda window: _binned(window.confidence_bins)),
    "latency_ms": Feature(True, True, lambda window: _binned(window.latency_bins)),
    "text_length": Feature(False, True, lambda window: _binned(window.text_length_bins)),
    "words": Feature(False, False, lambda window: _binned(window.words)),
    "segments": Feature(False, False, lambda window: Reading(window.pairs)),
    "topics": Feature(False, False, None),
    "novelty": Feature(False, True, None),
}
#: Those that only an embedder can read.
EMBEDDED: Final = tuple(name for name, feature in FEATURES.items() if feature.read is None)


def readings(window: WindowSummary) -> dict[str, Reading]:
    """Return what one window adds to the readings of its slice, by feature.

    Only the window of all traffic holds readings; one of a segment adds its pairs to the segment
    mix, as a cell of their number in all traffic.

    >>> mail = WindowSummary(segment="channel=mail", start=0.0, length=60.0, pairs=3)
    >>> readings(mail)
    {'segments': Reading(n=0, counts={'channel=mail': 3})}
    """
    if window.segment != "*":
        return {"segments": Reading(0, {window.segment: window.pairs})}
    return {name: feature.read(window) for name, feature in FEATURES.items() if feature.read}
