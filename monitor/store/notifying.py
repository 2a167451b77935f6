"""Alerts as rows, and the outbox from which everything leaves.

An alert and what has to be told about it are written in one transaction; a channel is only ever
spoken to from the outbox. A crash between sending and marking sends the same notification twice,
with the same idempotency key.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from monitor.alerts.stages import Change
from schemas import tables
from schemas.alerts import Alert, Notification
from schemas.journal import insert

_encode = msgspec.json.Encoder().encode
_decode_alert = msgspec.json.Decoder(Alert).decode
_decode_notification = msgspec.json.Decoder(Notification).decode


def _alerts(connection: sa.Connection, query: sa.Select[Any]) -> list[Alert]:
    rows = connection.execute(query)
    return [msgspec.structs.replace(_decode_alert(body), alert_id=key) for key, body in rows]


def firing(connection: sa.Connection) -> list[Alert]:
    """Return the alerts that fire, oldest first."""
    table = tables.alert
    query = sa.select(table.c.id, table.c.body).where(table.c.state == "firing")
    return _alerts(connection, query.order_by(table.c.id))


def standing(connection: sa.Connection, since: float) -> list[Alert]:
    """Return what is compared with what holds now: what fires, and what ended after `since`."""
    table = tables.alert
    query = sa.select(table.c.id, table.c.body).where(
        sa.or_(table.c.state == "firing", table.c.ended_at >= since)
    )
    return _alerts(connection, query.order_by(table.c.id))


def recent_alerts(connection: sa.Connection, limit: int) -> list[Alert]:
    """Return the newest alerts, firing or resolved, newest first."""
    table = tables.alert
    query = sa.select(table.c.id, table.c.body).order_by(table.c.id.desc())
    return _alerts(connection, query.limit(limit))


def apply(connection: sa.Connection, changes: list[Change], now: float) -> None:
    """Write what became of the alerts, and queue what has to be told."""
    for change in changes:
        _write_alert(connection, change)
        for notification in change.notifications:
            _queue(connection, notification, now)


def _write_alert(connection: sa.Connection, change: Change) -> None:
    table, alert = tables.alert, change.alert
    values = {
        "dedup_key": alert.dedup_key,
        "name": alert.condition.name,
        "severity": alert.condition.severity,
        "state": alert.state,
        "started_at": alert.started_at,
        "ended_at": alert.ended_at,
        "updated_at": alert.updated_at,
        "body": _encode(alert),
    }
    if change.kind == "opened":
        connection.execute(sa.insert(table).values(values))
    else:
        connection.execute(sa.update(table).where(table.c.id == alert.alert_id).values(values))


def _queue(connection: sa.Connection, notification: Notification, now: float) -> None:
    connection.execute(
        insert(connection, tables.outbox)
        .values(
            idempotency_key=notification.idempotency_key,
            channel=notification.channel,
            created_at=now,
            next_attempt_at=now,
            attempts=0,
            sent_at=None,
            given_up=False,
            last_error="",
            body=_encode(notification),
        )
        .on_conflict_do_nothing()
    )


class Due(NamedTuple):
    """A notification that should leave now."""

    row_id: int
    attempts: int
    notification: Notification


def due(connection: sa.Connection, now: float, channels: Collection[str], limit: int) -> list[Due]:
    """Return notifications for these channels whose time has come, oldest first."""
    table = tables.outbox
    rows = connection.execute(
        sa.select(table.c.id, table.c.attempts, table.c.body)
        .where(
            table.c.sent_at.is_(None),
            table.c.given_up.is_(False),
            table.c.next_attempt_at <= now,
            table.c.channel.in_(channels),
        )
        .order_by(table.c.id)
        .limit(limit)
    )
    return [Due(row[0], row[1], _decode_notification(row[2])) for row in rows]


def forget_others(connection: sa.Connection, channels: Collection[str]) -> None:
    """Drop what did not reach channels other than these: who was removed is owed nothing."""
    table = tables.outbox
    connection.execute(
        sa.delete(table).where(table.c.sent_at.is_(None), table.c.channel.not_in(channels))
    )


def mark_sent(connection: sa.Connection, row_id: int, now: float) -> None:
    """Say that a notification arrived."""
    table = tables.outbox
    connection.execute(
        sa.update(table)
        .where(table.c.id == row_id)
        .values(sent_at=now, attempts=table.c.attempts + 1)
    )


def mark_failed(
    connection: sa.Connection, row_id: int, *, next_attempt_at: float | None, error: str
) -> None:
    """Say that a notification did not arrive; without a next attempt it is given up."""
    table = tables.outbox
    connection.execute(
        sa.update(table)
        .where(table.c.id == row_id)
        .values(
            attempts=table.c.attempts + 1,
            next_attempt_at=next_attempt_at or 0.0,
            given_up=next_attempt_at is None,
            last_error=error[:1024],
        )
    )


class ChannelBacklog(NamedTuple):
    """What waits, and what was given up since a time, for one channel."""

    channel: str
    waiting: int
    oldest_at: float | None
    given_up: int
    last_error: str


def backlog(connection: sa.Connection, since: float) -> list[ChannelBacklog]:
    """Return the state of the outbox, a row for each channel that has trouble or work."""
    table = tables.outbox
    waiting = sa.and_(table.c.sent_at.is_(None), table.c.given_up.is_(False))
    lost = sa.and_(table.c.given_up.is_(True), table.c.created_at >= since)
    rows = connection.execute(
        sa.select(
            table.c.channel,
            sa.func.count().filter(waiting),
            sa.func.min(table.c.created_at).filter(waiting),
            sa.func.count().filter(lost),
            sa.func.coalesce(sa.func.max(table.c.last_error).filter(sa.or_(waiting, lost)), ""),
        )
        .where(sa.or_(waiting, lost))
        .group_by(table.c.channel)
        .order_by(table.c.channel)
    )
    return [ChannelBacklog(*row) for row in rows]
