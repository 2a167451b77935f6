"""How far each partition was read, and the events that somebody agreed to go on without."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from schemas import tables
from schemas.journal import record_audit


def positions(connection: sa.Connection) -> dict[str, int]:
    """Return the offset that each partition goes on from, whichever shard it belongs to."""
    table = tables.source_position
    rows = connection.execute(sa.select(table.c.partition, table.c.next_offset))
    return {str(partition): int(offset) for partition, offset in rows}


def accept_gaps(
    connection: sa.Connection,
    gaps: Mapping[str, tuple[int, int]],
    *,
    actor: str,
    reason: str,
    now: float,
) -> dict[str, tuple[int, int]]:
    """Go on behind each gap; return those that still were as they are said to be. Audited.

    Parameters
    ----------
    gaps: partition -> (the offset that was wanted, the first one that can be read).
    """
    table = tables.source_position
    accepted: dict[str, tuple[int, int]] = {}
    for partition, (wanted, first) in gaps.items():
        moved = connection.execute(
            sa.update(table)
            .where(table.c.partition == partition, table.c.next_offset == wanted)
            .values(next_offset=first)
        )
        if moved.rowcount:
            accepted[partition] = (wanted, first)
            record_audit(
                connection,
                now=now,
                actor=actor,
                action="accept-gap",
                subject=partition,
                reason=f"{reason} (goes on from {first} instead of {wanted})",
            )
    return accepted
