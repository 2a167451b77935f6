"""Versions of the sampling plan in the journal: published once, never changed."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import sqlalchemy as sa

from monitor.sampling import SamplingPlan
from schemas import tables
from schemas.journal import insert

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(SamplingPlan).decode


def newest(connection: sa.Connection) -> SamplingPlan | None:
    """Return the plan that holds; None before the first."""
    table = tables.plan
    body = connection.scalar(sa.select(table.c.body).order_by(table.c.version.desc()).limit(1))
    return None if body is None else _decode(body)


def newest_or(connection: sa.Connection, first: SamplingPlan, now: float) -> SamplingPlan:
    """Return the plan that holds; where there is none yet, publish this one."""
    found = newest(connection)
    if found is None:
        # of several consumers that start at once one is the first, and all go on under its plan
        publish(connection, first, now)
        found = newest(connection)
        assert found is not None
    return found


def by_versions(connection: sa.Connection, versions: Iterable[int]) -> dict[int, SamplingPlan]:
    """Return these versions of the plan."""
    table = tables.plan
    rows = connection.execute(
        sa.select(table.c.version, table.c.body).where(table.c.version.in_(sorted(set(versions))))
    )
    return {version: _decode(body) for version, body in rows}


def publish(connection: sa.Connection, plan: SamplingPlan, now: float) -> None:
    """Journal a plan as the next version; nothing, if somebody else did so meanwhile."""
    table = tables.plan
    last = connection.scalar(sa.select(sa.func.max(table.c.version))) or 0
    new = msgspec.structs.replace(plan, version=last + 1, at=now)
    connection.execute(
        insert(connection, table)
        .values(version=new.version, at=now, body=_encode(new))
        .on_conflict_do_nothing()
    )
