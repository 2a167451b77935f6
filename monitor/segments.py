"""Naming the segments that a ticket belongs to, with a bound on how many there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from monitor.redaction import redact

ALL = "*"
#: value of an attribute beyond the cap, or one that must not become a name
OTHER = "__other__"
#: value of an attribute that the ticket does not carry
MISSING = "__missing__"
#: longest name of a segment; the journal's columns hold 256
LONGEST = 200
#: combinations of values that are remembered, for speed alone
CACHED = 10_000


class Segments:
    """The segments that were admitted, and when each was last met.

    First come, first served up to `cap`; a segment without traffic for `idle` seconds gives its
    place back. Values that hold personal data, or are too long, are never admitted. `known` is
    the whole state.

    >>> segments = Segments(["channel"], cap=1, known={})
    >>> segments.of({"channel": "mail"}, 0.0), segments.of({"channel": "chat"}, 0.0)
    (('*', 'channel=mail'), ('*', 'channel=__other__'))
    """

    def __init__(self, names: Sequence[str], cap: int, known: Mapping[str, float]) -> None:
        self._names = tuple(names)
        self._cap = cap
        #: segment -> event time at which it was last met, to about a window, seconds UTC
        self.known = dict(known)
        self._others = 0
        self._cached: dict[tuple[str | None, ...], tuple[str, ...]] = {}

    def of(self, attributes: Mapping[str, str], at: float) -> tuple[str, ...]:
        """Return `*` and one segment for each configured attribute, in that order.

        `at` is the event time of the ticket.
        """
        values = tuple([attributes.get(name) for name in self._names])
        found = self._cached.get(values)
        if found is None:
            found = self._name(values, at)
        return found

    def met(self, segment: str, at: float) -> None:
        """Note that a window of this segment was opened."""
        if self.known.get(segment, at) < at:
            self.known[segment] = at

    def take_others(self) -> int:
        """Return how many tickets were put under OTHER since the last call."""
        others, self._others = self._others, 0
        return others

    def forget(self, before: float) -> None:
        """Give back the places of segments that were last met before this time."""
        idle = [name for name, met in self.known.items() if met < before]
        for name in idle:
            del self.known[name]
        if idle:
            self._cached.clear()

    def _name(self, values: tuple[str | None, ...], at: float) -> tuple[str, ...]:
        pairs = zip(self._names, values, strict=True)
        found = (ALL, *[self._admit(name, value, at) for name, value in pairs])
        beyond = any(segment.endswith(f"={OTHER}") for segment in found)
        self._others += beyond
        # a flood of distinct values must not fill the cache
        if not beyond and len(self._cached) < CACHED:
            self._cached[values] = found
        return found

    def _admit(self, name: str, value: str | None, at: float) -> str:
        if value is None:
            return f"{name}={MISSING}"
        segment = f"{name}={value}"
        if segment in self.known:
            return segment
        full = len(self.known) >= self._cap
        if full or len(segment) > LONGEST or redact(value) != value:
            return f"{name}={OTHER}"
        self.known[segment] = at
        return segment
