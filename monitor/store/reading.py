"""What people ask the journal: the state of everything, dead letters, the audit."""

from __future__ import annotations

import base64
from typing import Any, NamedTuple

import sqlalchemy as sa

from schemas import tables
from schemas.samples import HISTORY


class DeadLetter(NamedTuple):
    """A message that could not be used, as it came."""

    id: int
    at: float
    topic: str
    partition: str
    offset: int
    #: where people find the partition: a file's path, as it was then
    place: str
    stage: str
    field: str
    message: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp: float | None


def dead_letters(
    connection: sa.Connection, *, limit: int = 50, letter_id: int | None = None
) -> list[DeadLetter]:
    """Return the newest dead letters, newest first; or the one with this id."""
    table = tables.dead_letter
    query = sa.select(table).order_by(table.c.id.desc()).limit(limit)
    if letter_id is not None:
        query = query.where(table.c.id == letter_id)
    return [
        DeadLetter(**{**row, "headers": [(n, base64.b64decode(v)) for n, v in row["headers"]]})
        for row in connection.execute(query).mappings()
    ]


def counters(connection: sa.Connection) -> dict[str, int]:
    """Return the pipeline's counters, summed over the shards."""
    total: dict[str, int] = {}
    for (counted,) in connection.execute(sa.select(tables.shard.c.counters)):
        for name, count in counted.items():
            total[name] = total.get(name, 0) + count
    return dict(sorted(total.items()))


def samples(connection: sa.Connection) -> dict[str, dict[str, int]]:
    """Return how many samples are in each state: of the traffic, canaries, imported history."""
    table = tables.sample
    origin = sa.case(
        (table.c.model == HISTORY, HISTORY),
        (table.c.reason == "sentinel", "canaries"),
        else_="traffic",
    )
    # counted outside: PostgreSQL takes the CASE of SELECT and of GROUP BY for two
    each = sa.select(origin.label("origin"), table.c.state).subquery()
    rows = connection.execute(
        sa.select(each.c.origin, each.c.state, sa.func.count())
        .group_by(each.c.origin, each.c.state)
        .order_by(each.c.origin.desc(), each.c.state)
    )
    found: dict[str, dict[str, int]] = {}
    for name, state, count in rows:
        found.setdefault(name, {})[state] = count
    return found


def audit(connection: sa.Connection, limit: int = 50) -> list[dict[str, Any]]:
    """Return the newest rows of the audit, newest first."""
    table = tables.audit
    rows = connection.execute(sa.select(table).order_by(table.c.id.desc()).limit(limit))
    return [dict(row) for row in rows.mappings()]
