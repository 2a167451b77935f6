"""What the evaluator reads and writes: windows, detectors, signals, estimates."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from monitor.estimation.quality import QualityEstimate
from schemas import tables
from schemas.journal import insert
from schemas.signals import Signal
from schemas.windows import WindowSummary

_encode = msgspec.json.Encoder().encode
_decode_window = msgspec.json.Decoder(WindowSummary).decode
_decode_signal = msgspec.json.Decoder(Signal).decode
_decode_estimate = msgspec.json.Decoder(QualityEstimate).decode


def number(connection: sa.Connection, name: str, default: float) -> float:
    """Return a named number that the evaluator keeps; `default` where none was written yet."""
    table = tables.number
    found = connection.scalar(sa.select(table.c.value).where(table.c.name == name))
    return default if found is None else float(found)


def set_number(connection: sa.Connection, name: str, value: float) -> None:
    """Replace a named number."""
    statement = insert(connection, tables.number).values(name=name, value=value)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["name"], set_={"value": value})
    )


def watermark(connection: sa.Connection, idle_since: float) -> float:
    """Return the event time up to which every active shard is done.

    Minus infinity before the first event.

    A shard that wrote nothing since `idle_since` holds nobody up, unless all are idle.
    """
    table = tables.shard
    active = connection.scalar(
        sa.select(sa.func.min(table.c.watermark)).where(table.c.updated_at >= idle_since)
    )
    if active is None:
        active = connection.scalar(sa.select(sa.func.max(table.c.watermark)))
    return -math.inf if active is None else float(active)


def windows(
    connection: sa.Connection, *, after: float, until: float, segment: str | None = None
) -> list[WindowSummary]:
    """Return the summaries that start in `(after, until]`, merged over shards, oldest first."""
    table = tables.window
    where = [table.c.start <= until]
    if after > float("-inf"):
        where.append(table.c.start > after)
    if segment is not None:
        where.append(table.c.segment == segment)
    rows = connection.execute(
        sa.select(table.c.body)
        .where(*where)
        .order_by(table.c.start, table.c.segment, table.c.shard)
    )
    merged: dict[tuple[str, float], WindowSummary] = {}
    for (body,) in rows:
        summary = _decode_window(body)
        known = merged.get(summary.key)
        merged[summary.key] = summary if known is None else known.merge(summary)
    return list(merged.values())


class DetectorKey(NamedTuple):
    """Which stream of numbers a detector watches."""

    detector: str
    metric: str
    segment: str
    model: str


def detector_states(connection: sa.Connection, models: Iterable[str]) -> dict[DetectorKey, bytes]:
    """Return the stored states of these students' detectors."""
    table = tables.detector_state
    rows = connection.execute(
        sa.select(
            table.c.detector, table.c.metric, table.c.segment, table.c.model, table.c.body
        ).where(table.c.model.in_(list(models)))
    )
    return {DetectorKey(*row[:4]): row[4] for row in rows}


def detector_state(connection: sa.Connection, key: DetectorKey) -> bytes | None:
    """Return one detector's stored state; None before its first value."""
    table = tables.detector_state
    where = [table.c[name] == value for name, value in key._asdict().items()]
    found: bytes | None = connection.scalar(sa.select(table.c.body).where(*where))
    return found


def write_detector_states(
    connection: sa.Connection, states: dict[DetectorKey, bytes], now: float
) -> None:
    """Replace the states of these detectors."""
    for key, body in states.items():
        statement = insert(connection, tables.detector_state).values(
            **key._asdict(), body=body, updated_at=now
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=list(DetectorKey._fields),
                set_={"body": body, "updated_at": now},
            )
        )


def add_signal(connection: sa.Connection, signal: Signal) -> None:
    """Journal a detector's finding."""
    connection.execute(
        sa.insert(tables.signal).values(
            at=signal.at,
            detector=signal.detector,
            metric=signal.metric,
            segment=signal.segment,
            model=signal.model,
            severity=signal.severity,
            body=_encode(signal),
        )
    )


def restate(connection: sa.Connection, signal: Signal) -> None:
    """Replace what is said in a finding that was journalled."""
    table = tables.signal
    same = ("at", "detector", "metric", "segment", "model", "severity")
    connection.execute(
        sa.update(table)
        .where(*(table.c[name] == getattr(signal, name) for name in same))
        .values(body=_encode(signal))
    )


def signals(
    connection: sa.Connection, *, model: str | None = None, limit: int = 100
) -> list[Signal]:
    """Return the newest signals, oldest of them first; of one student's generation if named."""
    table = tables.signal
    query = sa.select(table.c.body).order_by(table.c.id.desc()).limit(limit)
    if model is not None:
        query = query.where(table.c.model == model)
    return [_decode_signal(body) for (body,) in connection.execute(query)][::-1]


def add_estimate(connection: sa.Connection, estimate: QualityEstimate) -> None:
    """Journal one point of the quality curve."""
    table = tables.estimate
    connection.execute(
        sa.update(table)
        .where(
            table.c.newest.is_(True),
            table.c.model == estimate.model,
            table.c.segment == estimate.segment,
        )
        .values(newest=False)
    )
    connection.execute(
        sa.insert(table).values(
            at=estimate.at,
            segment=estimate.segment,
            model=estimate.model,
            newest=True,
            body=_encode(estimate),
        )
    )


def newest_estimates(connection: sa.Connection, model: str | None = None) -> list[QualityEstimate]:
    """Return the newest point of each segment's curve, of one student or of each."""
    table = tables.estimate
    query = sa.select(table.c.body).where(table.c.newest.is_(True))
    if model is not None:
        query = query.where(table.c.model == model)
    found = [_decode_estimate(body) for (body,) in connection.execute(query)]
    return sorted(found, key=lambda estimate: (estimate.model, estimate.segment))


def estimates(
    connection: sa.Connection, *, model: str | None = None, limit: int = 1
) -> list[QualityEstimate]:
    """Return the newest points of the quality curve of all traffic, oldest of them first."""
    table = tables.estimate
    query = (
        sa.select(table.c.body)
        .where(table.c.segment == "*")
        .order_by(table.c.id.desc())
        .limit(limit)
    )
    if model is not None:
        query = query.where(table.c.model == model)
    return [_decode_estimate(body) for (body,) in connection.execute(query)][::-1]
