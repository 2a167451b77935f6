"""How each part of each process fares, as it last said itself."""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa

from schemas import tables
from schemas.journal import insert


class Report(NamedTuple):
    """What one part of one process last said of itself."""

    component: str
    instance: str
    updated_at: float
    body: dict[str, Any]


def report(
    connection: sa.Connection, component: str, instance: str, body: dict[str, Any], now: float
) -> None:
    """Replace what this part says of itself."""
    statement = insert(connection, tables.health).values(
        component=component, instance=instance, body=body, updated_at=now
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["component", "instance"], set_={"body": body, "updated_at": now}
        )
    )


def reports(connection: sa.Connection, component: str | None = None) -> list[Report]:
    """Return what the parts last said, the newest first."""
    table = tables.health
    query = sa.select(table).order_by(table.c.updated_at.desc(), table.c.component)
    if component is not None:
        query = query.where(table.c.component == component)
    return [
        Report(row.component, row.instance, row.updated_at, row.body)
        for row in connection.execute(query)
    ]
