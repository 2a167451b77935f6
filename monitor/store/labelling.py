"""Samples on their way to the teacher, and the money that this may cost.

A sample is `waiting`, `claimed` by a labeller for a while, and then `labelled`, `abstained` or
`lost`. Money is reserved in the transaction that claims and settled in the one that writes the
label. A labeller that dies leaves a claim that expires with its reservation; since nobody knows
whether the call was made, the reservation is then counted as spent. So the day's bill can be
overstated, and never understated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import msgspec
import sqlalchemy as sa

from schemas import tables
from schemas.journal import insert
from schemas.samples import Label, Sample

_decode_sample = msgspec.json.Decoder(Sample).decode
_encode = msgspec.json.Encoder().encode


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """One sample that this labeller may ask about until `until`."""

    sample: Sample
    attempts: int
    until: float
    reserved_usd: float
    day: str


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a labeller got, and whether money stood in the way of more."""

    claims: tuple[Claim, ...]
    budget_spent: bool


def day_of(now: float) -> str:
    """Return the UTC day whose budget pays at `now`: `2026-11-24`."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")


def claim(
    connection: sa.Connection,
    *,
    owner: str,
    now: float,
    limit: int,
    lease: float,
    daily_usd: float,
    most_it_can_cost: Callable[[Sample], float],
) -> Claims:
    """Claim up to `limit` samples, oldest first, as far as today's budget reaches."""
    _expire_claims(connection, now)
    table = tables.sample
    rows = connection.execute(
        sa.select(table.c.body, table.c.attempts)
        .where(table.c.state == "waiting", table.c.not_before <= now)
        .order_by(table.c.at, table.c.ticket_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    day, claims, spent = day_of(now), [], False
    for body, attempts in rows:
        sample = _decode_sample(body)
        cost = most_it_can_cost(sample)
        if not _reserve(connection, day, cost, daily_usd):
            spent = True
            break
        claims.append(
            Claim(
                sample=sample, attempts=attempts + 1, until=now + lease, reserved_usd=cost, day=day
            )
        )
    for claimed in claims:
        connection.execute(
            sa.update(table)
            .where(table.c.ticket_id == claimed.sample.ticket_id)
            .values(
                state="claimed",
                claimed_by=owner,
                claimed_until=claimed.until,
                attempts=claimed.attempts,
                reserved_usd=claimed.reserved_usd,
                reserved_day=day,
            )
        )
    return Claims(claims=tuple(claims), budget_spent=spent)


def _expire_claims(connection: sa.Connection, now: float) -> None:
    table = tables.sample
    expired = connection.execute(
        sa.select(table.c.ticket_id, table.c.reserved_day, table.c.reserved_usd)
        .where(table.c.state == "claimed", table.c.claimed_until < now)
        .with_for_update(skip_locked=True)
    ).all()
    for ticket_id, day, reserved in expired:
        _settle(connection, day, reserved, billed=reserved, calls=1)
        _update(connection, ticket_id, state="waiting", reserved_usd=0.0, claimed_by="")


def _reserve(connection: sa.Connection, day: str, cost: float, daily_usd: float) -> bool:
    table = tables.spend
    connection.execute(
        insert(connection, table)
        .values(day=day, reserved_usd=0.0, settled_usd=0.0, calls=0)
        .on_conflict_do_nothing()
    )
    # the guard stands in the UPDATE: two labellers at the cap cannot both pass it
    reserved = connection.execute(
        sa.update(table)
        .where(
            table.c.day == day,
            table.c.reserved_usd + table.c.settled_usd + cost <= daily_usd,
        )
        .values(reserved_usd=table.c.reserved_usd + cost)
    )
    return reserved.rowcount == 1


def _settle(
    connection: sa.Connection, day: str, reserved: float, *, billed: float, calls: int
) -> None:
    table = tables.spend
    connection.execute(
        sa.update(table)
        .where(table.c.day == day)
        .values(
            reserved_usd=sa.case(
                (table.c.reserved_usd > reserved, table.c.reserved_usd - reserved), else_=0.0
            ),
            settled_usd=table.c.settled_usd + billed,
            calls=table.c.calls + calls,
        )
    )


def _update(connection: sa.Connection, ticket_id: str, **values: object) -> int:
    table = tables.sample
    statement = sa.update(table).where(table.c.ticket_id == ticket_id).values(**values)
    return connection.execute(statement).rowcount


def _still_mine(connection: sa.Connection, claimed: Claim, owner: str) -> bool:
    table = tables.sample
    found = connection.execute(
        sa.select(table.c.ticket_id)
        .where(
            table.c.ticket_id == claimed.sample.ticket_id,
            table.c.state == "claimed",
            table.c.claimed_by == owner,
            table.c.attempts == claimed.attempts,
        )
        .with_for_update()
    )
    return found.one_or_none() is not None


def write_label(connection: sa.Connection, *, owner: str, claimed: Claim, label: Label) -> bool:
    """Write the teacher's answer and settle its cost; False when the claim was lost meanwhile."""
    if not _still_mine(connection, claimed, owner):
        return False
    _settle(connection, claimed.day, claimed.reserved_usd, billed=label.cost_usd, calls=1)
    _update(
        connection,
        label.ticket_id,
        state="abstained" if label.output is None else "labelled",
        reserved_usd=0.0,
    )
    sample = claimed.sample
    connection.execute(
        insert(connection, tables.label)
        .values(
            ticket_id=label.ticket_id,
            at=sample.at,
            labelled_at=label.at,
            reason=sample.reason,
            model=sample.model,
            disagreement=label.disagreement,
            judged=False,
            body=_encode(label),
        )
        .on_conflict_do_nothing()
    )
    return True


def release(
    connection: sa.Connection,
    *,
    owner: str,
    claimed: Claim,
    not_before: float,
    billed_usd: float,
    lost: bool,
) -> bool:
    """Give a sample back after the teacher did not answer; `lost`: never ask about it again."""
    if not _still_mine(connection, claimed, owner):
        return False
    _settle(
        connection, claimed.day, claimed.reserved_usd, billed=billed_usd, calls=int(billed_usd > 0)
    )
    _update(
        connection,
        claimed.sample.ticket_id,
        state="lost" if lost else "waiting",
        not_before=not_before,
        reserved_usd=0.0,
        claimed_by="",
    )
    return True


class Spend(msgspec.Struct, frozen=True, kw_only=True):
    """What the teacher cost on one day."""

    day: str
    reserved_usd: float = 0.0
    settled_usd: float = 0.0
    calls: int = 0


def spend_on(connection: sa.Connection, day: str) -> Spend:
    """Return the bill of one UTC day; zero where nothing was asked."""
    table = tables.spend
    rows = connection.execute(sa.select(table).where(table.c.day == day)).mappings()
    return next((Spend(**row) for row in rows), Spend(day=day))


def sample_states(connection: sa.Connection) -> dict[str, int]:
    """Return how many samples are in each state."""
    table = tables.sample
    counted = sa.select(table.c.state, sa.func.count()).group_by(table.c.state)
    return dict(connection.execute(counted).tuples().all())


def add_samples(connection: sa.Connection, samples: Sequence[Sample]) -> None:
    """Queue samples for the teacher; one that is known already is left as it is."""
    if not samples:
        return
    rows = [
        {
            "ticket_id": s.ticket_id,
            "at": s.at,
            "reason": s.reason,
            "model": s.model,
            "state": "waiting",
            "claimed_by": "",
            "claimed_until": 0.0,
            "attempts": 0,
            "not_before": 0.0,
            "reserved_usd": 0.0,
            "reserved_day": "",
            "body": _encode(s),
        }
        for s in samples
    ]
    connection.execute(insert(connection, tables.sample).on_conflict_do_nothing(), rows)
