"""What the drift watch reads and writes beside windows: sampled texts, what it told, how far it is."""

from __future__ import annotations

import math
from typing import Final

import msgspec
import sqlalchemy as sa

from monitor.store import health
from schemas import tables
from schemas.samples import Sample
from schemas.signals import Signal

_decode_sample = msgspec.json.Decoder(Sample).decode
_decode_signal = msgspec.json.Decoder(Signal).decode

#: the name under which `health` holds how far the watch is
_COMPONENT: Final = "drift"


class DriftReport(msgspec.Struct, frozen=True, kw_only=True):
    """How far the watch is, for people."""

    #: features that drifted and have not come back
    drifted: tuple[str, ...] = ()
    #: slices that are missing until a feature is watched, of `reference`; none for those that are
    learning: dict[str, int] = {}
    reference: int
    slice_seconds: float


def before_first(connection: sa.Connection, after: float) -> float:
    """Return a moment just before the first window of all traffic that starts later than `after`."""
    table = tables.window
    first = connection.scalar(
        sa.select(sa.func.min(table.c.start)).where(table.c.segment == "*", table.c.start > after)
    )
    return after if first is None else math.nextafter(first, -math.inf)


def texts(connection: sa.Connection, *, since: float, before: float, limit: int) -> list[str]:
    """Return the newest redacted texts of the uniform draw, of tickets asked in `[since, before)`.

    Those that were drawn with a purpose would show the purpose: which words a student is unsure of.
    """
    table = tables.sample
    rows = connection.execute(
        sa.select(table.c.body)
        .where(table.c.reason == "random", table.c.at >= since, table.c.at < before)
        .order_by(table.c.at.desc(), table.c.ticket_id.desc())
        .limit(limit)
    )
    return [_decode_sample(body).text for (body,) in rows]


def write_report(connection: sa.Connection, report: DriftReport, now: float) -> None:
    """Replace how far the watch is."""
    health.report(connection, _COMPONENT, "evaluate", msgspec.to_builtins(report), now)


def report(connection: sa.Connection) -> DriftReport | None:
    """Return how far the watch is; None before it saw a window."""
    newest = next(iter(health.reports(connection, _COMPONENT)), None)
    return None if newest is None else msgspec.convert(newest.body, DriftReport)


def standing(connection: sa.Connection) -> tuple[Signal, ...]:
    """Return what was told last of each feature that drifted and has not come back."""
    known = report(connection)
    told = (_newest_signal(connection, name) for name in (known.drifted if known else ()))
    return tuple(signal for signal in told if signal is not None)


def _newest_signal(connection: sa.Connection, feature: str) -> Signal | None:
    table = tables.signal
    body = connection.scalar(
        sa.select(table.c.body)
        .where(table.c.detector == "drift", table.c.metric == feature)
        .order_by(table.c.id.desc())
        .limit(1)
    )
    return None if body is None else _decode_signal(body)
