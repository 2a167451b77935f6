"""How much was taken in lately, and how much of it could not be used, by our own clock.

Both are read off the consumers' totals, which are written in one transaction: while a backlog of
last month is read, its messages and its dead letters alike count as what was taken in now.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import sqlalchemy as sa

from monitor.store import health, reading

#: what "lately" is, and how often the totals are noted, seconds
LATELY: Final = 3600.0
_EVERY: Final = 60.0

_COMPONENT: Final = "intake"
_STREAMS: Final = ("tickets", "answers", "feedback")


class Taken(NamedTuple):
    """Messages that became events, and messages that became dead letters."""

    events: int
    dead_letters: int
    #: events with a time that cannot be right
    from_future: int = 0
    too_old: int = 0


class _Mark(NamedTuple):
    """The totals of one moment."""

    at: float
    taken: Taken


def note(connection: sa.Connection, now: float) -> None:
    """Keep the totals of this moment, once a minute: later moments are counted from them."""
    known = _marks(connection)
    # nothing had been taken in before the first of all was kept
    marks = [_Mark(now, Taken(0, 0))] if known is None else known
    kept = [mark for mark in marks if mark.at >= now - LATELY - _EVERY]
    if not kept or now - kept[-1].at >= _EVERY:
        kept.append(_Mark(now, _totals(connection)))
    rows = [[mark.at, *mark.taken] for mark in kept]
    health.report(connection, _COMPONENT, "evaluate", {"marks": rows}, now)


def taken(connection: sa.Connection, now: float) -> Taken:
    """Return what was taken in during the last hour, to the minute.

    Of the time since the totals are kept, where that is less; after a gap in keeping them, of the
    time since.
    """
    marks = _marks(connection)
    total = _totals(connection)
    if marks is None:
        return total
    recent = [mark for mark in marks if mark.at >= now - LATELY - _EVERY]
    if not recent:
        return Taken(0, 0)
    return Taken(*(now - then for now, then in zip(total, recent[0].taken, strict=True)))


def _marks(connection: sa.Connection) -> list[_Mark] | None:
    """Return the totals that were kept, oldest first; None where none ever were."""
    report = next(iter(health.reports(connection, _COMPONENT)), None)
    return (
        None
        if report is None
        else [_Mark(at, Taken(*counts)) for at, *counts in report.body["marks"]]
    )


def _totals(connection: sa.Connection) -> Taken:
    counted = reading.counters(connection)
    return Taken(
        sum(counted.get(stream, 0) for stream in _STREAMS),
        counted.get("dead_letters", 0),
        counted.get("clock_skew", 0),
        counted.get("too_old", 0),
    )
