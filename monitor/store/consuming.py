"""A shard's state and what its traffic leaves behind, written with the offsets it came from.

The offsets stand in the transaction that holds everything derived from them, so a record is
applied once, however often it is read. Each owner of a shard raises its epoch; a write under an
older epoch changes no row and is refused, even by a process that was frozen and does not know
yet that it was replaced.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from monitor.pairing import Waiting
from monitor.pipeline import ShardRecords, ShardState
from monitor.sources import Record
from monitor.store.labelling import add_samples
from schemas import tables
from schemas.errors import DecodeError, FencedError
from schemas.journal import add, insert
from schemas.windows import WindowSummary

_encode = msgspec.json.Encoder().encode
_decode_waiting = msgspec.json.Decoder(Waiting).decode
_decode_window = msgspec.json.Decoder(WindowSummary).decode


class Owned(NamedTuple):
    """A shard that is this process's, with where it goes on."""

    epoch: int
    state: ShardState
    positions: dict[str, int]


def take_over(
    connection: sa.Connection, shard: int, owner: str, window_seconds: float, now: float
) -> Owned:
    """Become the owner of a shard and read its state: whoever owned it can write no more."""
    table = tables.shard
    new = ShardState(shard=shard)
    # of two that come first at once one adds the row, and both find it
    add(
        connection,
        table,
        {
            "shard": shard,
            "owner": owner,
            "epoch": 0,
            "watermark": new.watermark,
            "counters": new.counters,
            "memory": new.memory,
            "updated_at": now,
        },
    )
    row = connection.execute(sa.select(table).where(table.c.shard == shard).with_for_update()).one()
    connection.execute(
        sa.update(table).where(table.c.shard == shard).values(owner=owner, epoch=row.epoch + 1)
    )
    state = ShardState(
        shard=shard,
        watermark=row.watermark,
        counters=row.counters,
        memory=row.memory,
        pending=_pending(connection, shard),
        windows=_open_windows(connection, shard, row.watermark - window_seconds),
        seen=_seen(connection, shard),
    )
    return Owned(row.epoch + 1, state, _positions(connection, shard))


def _pending(connection: sa.Connection, shard: int) -> tuple[Waiting, ...]:
    table = tables.pending
    rows = connection.execute(sa.select(table.c.body).where(table.c.shard == shard))
    return tuple(_decode_waiting(body) for (body,) in rows)


def _open_windows(connection: sa.Connection, shard: int, after: float) -> tuple[WindowSummary, ...]:
    table = tables.window
    rows = connection.execute(
        sa.select(table.c.body).where(table.c.shard == shard, table.c.start > after)
    )
    return tuple(_decode_window(body) for (body,) in rows)


def _seen(connection: sa.Connection, shard: int) -> tuple[tuple[int, bytes], ...]:
    table = tables.seen_block
    rows = connection.execute(
        sa.select(table.c.sequence, table.c.hashes)
        .where(table.c.shard == shard)
        .order_by(table.c.sequence)
    )
    return tuple((sequence, hashes) for sequence, hashes in rows)


def _positions(connection: sa.Connection, shard: int) -> dict[str, int]:
    table = tables.source_position
    rows = connection.execute(
        sa.select(table.c.partition, table.c.next_offset).where(table.c.shard == shard)
    )
    return {str(partition): int(offset) for partition, offset in rows}


class Refused(NamedTuple):
    """A message that could not be used, and why."""

    record: Record
    error: DecodeError
    #: where people find the record's partition: a file's path, as it was then
    place: str


class Checkpoint(NamedTuple):
    """All that one shard writes, in one transaction with its positions."""

    epoch: int
    records: ShardRecords
    positions: Mapping[str, int]
    refused: Sequence[Refused]


def write_checkpoint(connection: sa.Connection, owner: str, checkpoint: Checkpoint) -> None:
    """Write what a shard's traffic left behind, and how far it was read.

    Raises
    ------
    FencedError: the shard has another owner now; nothing of this transaction may stay.
    """
    records = checkpoint.records
    _guard(connection, owner, checkpoint.epoch, records)
    for partition, offset in checkpoint.positions.items():
        statement = insert(connection, tables.source_position).values(
            partition=partition, shard=records.shard, next_offset=offset
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["partition"],
                set_={"shard": records.shard, "next_offset": offset},
            )
        )
    _write_pending(connection, records)
    _write_seen(connection, records)
    _write_windows(connection, records)
    _write_gold(connection, records)
    add_samples(connection, records.samples, records.at)
    _write_dead_letters(connection, checkpoint.refused, records.at)


def _guard(connection: sa.Connection, owner: str, epoch: int, records: ShardRecords) -> None:
    table = tables.shard
    updated = connection.execute(
        sa.update(table)
        .where(table.c.shard == records.shard, table.c.epoch == epoch, table.c.owner == owner)
        .values(
            watermark=records.watermark,
            counters=records.counters,
            memory=records.memory,
            updated_at=records.at,
        )
    )
    if updated.rowcount != 1:
        raise FencedError(f"shard {records.shard} is no longer owned by {owner} (epoch {epoch})")


def _write_pending(connection: sa.Connection, records: ShardRecords) -> None:
    table = tables.pending
    if records.pending_removed:
        connection.execute(
            sa.delete(table).where(
                table.c.shard == records.shard, table.c.ticket_id == sa.bindparam("gone")
            ),
            [{"gone": ticket_id} for ticket_id in records.pending_removed],
        )
    if records.pending_added:
        connection.execute(
            insert(connection, table).on_conflict_do_nothing(),
            [
                {"shard": records.shard, "ticket_id": w.ticket_id, "body": _encode(w)}
                for w in records.pending_added
            ],
        )


def _write_seen(connection: sa.Connection, records: ShardRecords) -> None:
    table = tables.seen_block
    for sequence, hashes in records.seen:
        statement = insert(connection, table).values(
            shard=records.shard, sequence=sequence, hashes=hashes
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["shard", "sequence"], set_={"hashes": hashes}
            )
        )
    if records.seen_dropped:
        connection.execute(
            sa.delete(table).where(
                table.c.shard == records.shard, table.c.sequence.in_(records.seen_dropped)
            )
        )


def _write_windows(connection: sa.Connection, records: ShardRecords) -> None:
    if not records.windows:
        return
    statement = insert(connection, tables.window)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["segment", "start", "shard"], set_={"body": statement.excluded.body}
        ),
        [
            {"segment": w.segment, "start": w.start, "shard": records.shard, "body": _encode(w)}
            for w in records.windows
        ],
    )


def _write_gold(connection: sa.Connection, records: ShardRecords) -> None:
    if not records.gold:
        return
    statement = insert(connection, tables.gold)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["ticket_id"],
            set_={"at": statement.excluded.at, "body": statement.excluded.body},
            where=tables.gold.c.at < statement.excluded.at,  # the newest word of a human holds
        ),
        [{"ticket_id": g.ticket_id, "at": g.at, "body": _encode(g)} for g in records.gold],
    )


def _write_dead_letters(connection: sa.Connection, refused: Sequence[Refused], now: float) -> None:
    if not refused:
        return
    connection.execute(
        insert(connection, tables.dead_letter).on_conflict_do_nothing(),
        [
            {
                "at": now,
                "topic": record.stream,
                "partition": record.partition,
                "offset": record.offset,
                "place": place[:1024],
                "stage": error.stage,
                "field": error.field[:256],
                "message": str(error)[:1024],
                "key": record.key,
                "value": record.value,
                "headers": [
                    [name, base64.b64encode(value).decode()] for name, value in record.headers
                ],
                "timestamp": record.timestamp,
            }
            for record, error, place in refused
        ],
    )
