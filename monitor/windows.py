"""Slices of event time: which is open, and what its traffic adds up to.

Event time comes from the events, so the same events close the same slices at the same places
of the stream, however fast they are read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from monitor.features import Features
from monitor.redaction import redact
from schemas.samples import Pair
from schemas.windows import MAX_CLASSES, OTHER, Moments, WindowSummary, strata_key

#: An answer longer than this is no class of its own, but a text.
LONGEST_CLASS = 100
#: Distinct answers whose class is remembered, for speed alone.
CACHED = 4096


def slice_start(at: float, length: float) -> float:
    """Return the start of the slice of event time that `at` lies in.

    >>> slice_start(1234.5, 600.0)
    1200.0
    """
    return at // length * length


class Classes:
    """The class that an answer counts under: itself, unless it is a text or not fit to store.

    >>> classes = Classes()
    >>> classes.of("refund"), classes.of("write to jo@example.org")
    ('refund', '__other__')
    """

    def __init__(self) -> None:
        self._cached: dict[str, str] = {}

    def of(self, output: str) -> str:
        """Return the class of one answer."""
        name = self._cached.get(output)
        if name is not None:
            return name
        if len(output) > LONGEST_CLASS:
            return OTHER
        if len(self._cached) >= CACHED:
            self._cached.clear()
        name = output if redact(output) == output else OTHER
        self._cached[output] = name
        return name


#: Where the estimates count a student's pair: `strata_key`, and the stratum.
Place = tuple[str, int]


class _Sum:
    """Moments that grow in place."""

    __slots__ = ("n", "squares", "total")

    def __init__(self, moments: Moments) -> None:
        self.n, self.total, self.squares = moments.n, moments.total, moments.squares

    def freeze(self) -> Moments:
        return Moments(self.n, self.total, self.squares)


class _Window:
    """A summary that grows in place.

    What describes the student (classes, confidence, latency, cost) counts only pairs that the
    student answered: else a breaker that routes to the teacher would look like drift. What
    describes the traffic (pairs, models, text length) counts all of them.
    """

    __slots__ = (
        "classes",
        "confidence",
        "cost_usd",
        "dirty",
        "features",
        "latency_ms",
        "models",
        "pairs",
        "strata",
        "text_length",
        "unanswered",
    )

    def __init__(self, summary: WindowSummary) -> None:
        self.dirty = False
        self.pairs = summary.pairs
        self.unanswered = summary.unanswered
        self.models = dict(summary.models)
        self.classes = dict(summary.classes)
        self.strata = {key: dict(counts) for key, counts in summary.strata.items()}
        self.confidence = _Sum(summary.confidence)
        self.text_length = _Sum(summary.text_length)
        self.latency_ms = _Sum(summary.latency_ms)
        self.cost_usd = _Sum(summary.cost_usd)
        # of all traffic only: the bins and buckets of hundreds of segments would be most of what
        # the journal holds
        self.features = Features(summary) if summary.segment == "*" else None

    def add(self, pair: Pair, text_length: int, name: str | None) -> None:
        """Count a pair; `name` is the class that the student gave, None if it did not answer."""
        # the sums are written out: a call for each would cost more than all else done here
        self.dirty = True
        self.pairs += 1
        _count(self.models, pair.model)
        length = self.text_length
        length.n += 1
        length.total += text_length
        length.squares += text_length * text_length
        if name is None:
            return
        _count(self.classes, name)
        if (value := pair.confidence) is not None:
            confidence = self.confidence
            confidence.n += 1
            confidence.total += value
            confidence.squares += value * value
        if (value := pair.latency_ms) is not None:
            latency = self.latency_ms
            latency.n += 1
            latency.total += value
            latency.squares += value * value
        if (value := pair.cost_usd) is not None:
            cost = self.cost_usd
            cost.n += 1
            cost.total += value
            cost.squares += value * value

    def place(self, place: Place) -> None:
        """Count a student's pair for the estimates."""
        self.dirty = True
        key, stratum = place
        try:
            counts = self.strata[key]
        except KeyError:
            # a flood of made-up students: they are counted, and nothing is estimated of them
            key = key if len(self.strata) < MAX_CLASSES else strata_key(0, OTHER)
            counts = self.strata.setdefault(key, {})
        counts[stratum] = counts.get(stratum, 0) + 1

    def freeze(self, segment: str, start: float, length: float) -> WindowSummary:
        self.dirty = False
        return WindowSummary(
            segment=segment,
            start=start,
            length=length,
            pairs=self.pairs,
            unanswered=self.unanswered,
            models=dict(sorted(self.models.items())),
            classes=dict(sorted(self.classes.items())),
            strata={key: dict(sorted(self.strata[key].items())) for key in sorted(self.strata)},
            confidence=self.confidence.freeze(),
            text_length=self.text_length.freeze(),
            latency_ms=self.latency_ms.freeze(),
            cost_usd=self.cost_usd.freeze(),
            **(self.features.summary() if self.features else {}),
        )


def _count(counts: dict[str, int], name: str) -> None:
    """Add one to a name's count, or to OTHER's once there are too many names."""
    try:
        counts[name] += 1
    except KeyError:
        if len(counts) >= MAX_CLASSES:
            name = OTHER
        counts[name] = counts.get(name, 0) + 1


class Windows:
    """The open windows of one shard; closed ones leave memory.

    A pair belongs to the slice it was *asked* in. An unanswered ticket is counted in the slice
    in which its grace ran out, because the one it was asked in closed long before.

    A window of another length than configured (the configuration changed) is closed at once,
    as it stands in the journal.
    """

    def __init__(
        self, length: float, watermark: float, summaries: Iterable[WindowSummary] = ()
    ) -> None:
        self.length = length
        #: start of the first slice that was not judged yet, as far as is known
        self._unjudged = -math.inf
        self._set_horizon(watermark)
        self._open: dict[float, dict[str, _Window]] = {}
        self._closed: list[WindowSummary] = []
        for summary in summaries:
            if summary.length == length:
                self._open.setdefault(summary.start, {})[summary.segment] = _Window(summary)

    def start_of(self, at: float) -> float:
        """Return the start of the slice whose strata a pair asked at `at` is counted in.

        Its own; or the oldest that is open and was not judged: estimates neither lose a ticket
        nor go back.
        """
        return max(slice_start(at, self.length), self.horizon, self._unjudged)

    def judged(self, start: float) -> None:
        """Note that the slices up to this one were judged; minus infinity: none was.

        Others closed them: this shard was idle, or dead, for longer than it is waited for.
        """
        if math.isfinite(start):
            self._unjudged = slice_start(start, self.length) + self.length

    def add(
        self,
        pair: Pair,
        text_length: int,
        counted_as: str,
        words: bytes | None = None,
        place: Place | None = None,
    ) -> list[str] | None:
        """Count a pair in its segments' windows; return the segments whose window it opened.

        Parameters
        ----------
        words: buckets of the words of a text that was redacted since (`features.buckets_in`).
        place: where the estimates count it; None: nowhere, or in another slice (`start_of`).

        None: the slice is closed, the pair is late and was left out.
        """
        start = slice_start(pair.asked_at, self.length)
        if start < self.horizon:
            return None
        slice_ = self._open.get(start)
        if slice_ is None:
            slice_ = self._open[start] = {}
        name = counted_as if pair.served_by == "student" else None
        opened = []
        for segment in pair.segments:
            window = slice_.get(segment)
            if window is None:
                window = self._make(slice_, segment, start)
                opened.append(segment)
            window.add(pair, text_length, name)
            if place is not None:
                window.place(place)
            if window.features is not None:
                window.features.add(
                    pair.text,
                    text_length=text_length,
                    confidence=None if name is None else pair.confidence,
                    latency_ms=None if name is None else pair.latency_ms,
                    words=words,
                )
        return opened

    def count(self, segments: tuple[str, ...], place: Place, start: float) -> list[str]:
        """Count a pair for the estimates alone; return the segments whose window it opened."""
        slice_ = self._open.setdefault(start, {})
        opened = []
        for segment in segments:
            window = slice_.get(segment)
            if window is None:
                window = self._make(slice_, segment, start)
                opened.append(segment)
            window.place(place)
        return opened

    def add_unanswered(self, segments: tuple[str, ...], at: float) -> bool:
        """Count a ticket whose grace ran out at `at`; False: that slice is closed."""
        start = slice_start(at, self.length)
        if start < self.horizon:
            return False
        slice_ = self._open.setdefault(start, {})
        for segment in segments:
            window = slice_.get(segment) or self._make(slice_, segment, start)
            window.unanswered += 1
            window.dirty = True
        return True

    def close(self, watermark: float) -> None:
        """Close the slices that end at or before the watermark."""
        self._set_horizon(watermark)
        for start in sorted(start for start in self._open if start < self.horizon):
            self._closed.extend(self._changed(start, self._open.pop(start)))

    def take(self) -> tuple[WindowSummary, ...]:
        """Return the full values of the windows that changed since the last call, in order."""
        changed = self._closed
        self._closed = []
        for start, slice_ in sorted(self._open.items()):
            changed.extend(self._changed(start, slice_))
        return tuple(changed)

    def _set_horizon(self, watermark: float) -> None:
        #: start of the first open slice, and what the watermark must reach to close it
        self.horizon = slice_start(watermark, self.length)
        self.closes_at = self.horizon + self.length

    def _make(self, slice_: dict[str, _Window], segment: str, start: float) -> _Window:
        empty = WindowSummary(segment=segment, start=start, length=self.length)
        window = slice_[segment] = _Window(empty)
        return window

    def _changed(self, start: float, slice_: dict[str, _Window]) -> Iterator[WindowSummary]:
        for segment, window in sorted(slice_.items()):
            if window.dirty:
                yield window.freeze(segment, start, self.length)
