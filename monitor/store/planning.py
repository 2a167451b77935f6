"""Versions of the sampling plan in the journal, and what the next one depends on.

A version is published once and never changed: windows and samples name theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import sqlalchemy as sa

from monitor.estimation.calibration import MIN_LABELS, Outcome
from monitor.sampling import SamplingPlan
from schemas import tables
from schemas.journal import add
from schemas.samples import ESTIMATED, Sample

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(SamplingPlan).decode
_decode_sample = msgspec.json.Decoder(Sample).decode


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
    add(connection, table, {"version": new.version, "at": now, "body": _encode(new)})


def outcomes(connection: sa.Connection, model: str, limit: int) -> list[Outcome]:
    """Return the newest labels of a student that can be learned from, oldest first.

    Nothing where there are too few.
    """
    label, sample = tables.label, tables.sample
    told = sa.and_(
        label.c.model == model, label.c.reason.in_(ESTIMATED), label.c.disagreement.is_not(None)
    )
    few = sa.select(label.c.ticket_id).where(told).limit(MIN_LABELS).subquery()
    if (connection.scalar(sa.select(sa.func.count()).select_from(few)) or 0) < MIN_LABELS:
        return []
    rows = connection.execute(
        sa.select(sample.c.body, label.c.disagreement)
        .join(sample, sample.c.ticket_id == label.c.ticket_id)
        .where(told)
        .order_by(label.c.at.desc(), label.c.ticket_id.desc())
        .limit(limit)
    )
    samples = [(_decode_sample(body), float(loss)) for body, loss in rows][::-1]
    plans = by_versions(connection, {one.plan for one, _ in samples})
    return [
        Outcome(
            one.confidence,
            one.output,
            loss,
            plans[one.plan].strata(model)[one.stratum].probability,
        )
        for one, loss in samples
        if one.plan in plans
    ]


def waiting(connection: sa.Connection) -> int:
    """Return how many samples nobody has asked about yet."""
    table = tables.sample
    counted = sa.select(sa.func.count()).where(table.c.state == "waiting")
    return int(connection.scalar(counted) or 0)


def usd_per_call(connection: sa.Connection, days: Sequence[str], calls: int) -> float:
    """Return what a call to the teacher cost on these days; 0 where there were too few calls."""
    table = tables.spend
    row = connection.execute(
        sa.select(sa.func.sum(table.c.settled_usd), sa.func.sum(table.c.calls)).where(
            table.c.day.in_(days)
        )
    ).one()
    made = int(row[1] or 0)
    return float(row[0]) / made if made >= calls else 0.0
