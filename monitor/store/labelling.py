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
from itertools import accumulate
from typing import Any

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
    samples = [(_decode_sample(body), attempts) for body, attempts in rows]
    costs = [most_it_can_cost(sample) for sample, _ in samples]
    day = day_of(now)
    affordable = _reserve(connection, day, costs, daily_usd)
    claims = [
        Claim(sample=sample, attempts=attempts + 1, until=now + lease, reserved_usd=cost, day=day)
        for (sample, attempts), cost in zip(samples[:affordable], costs, strict=False)
    ]
    _update(
        connection,
        [
            {
                "key": claimed.sample.ticket_id,
                "state": "claimed",
                "claimed_by": owner,
                "claimed_until": claimed.until,
                "attempts": claimed.attempts,
                "reserved_usd": claimed.reserved_usd,
                "reserved_day": day,
            }
            for claimed in claims
        ],
    )
    return Claims(claims=tuple(claims), budget_spent=affordable < len(samples))


def _expire_claims(connection: sa.Connection, now: float) -> None:
    table = tables.sample
    expired = connection.execute(
        sa.select(table.c.ticket_id, table.c.reserved_day, table.c.reserved_usd)
        .where(table.c.state == "claimed", table.c.claimed_until < now)
        .order_by(table.c.reserved_day)  # as in `write_labels`
        .with_for_update(skip_locked=True)
    ).all()
    for _, day, reserved in expired:
        _settle(connection, day, reserved, billed=reserved, calls=1)
    _update(connection, [_given_back(ticket_id) for ticket_id, _, _ in expired])


def _given_back(ticket_id: str) -> dict[str, object]:
    return {"key": ticket_id, "state": "waiting", "reserved_usd": 0.0, "claimed_by": ""}


def _reserve(connection: sa.Connection, day: str, costs: list[float], daily_usd: float) -> int:
    """Set money aside for as many of these calls, in order, as the day's budget reaches."""
    if not costs:
        return 0
    table = tables.spend
    connection.execute(
        insert(connection, table)
        .values(day=day, reserved_usd=0.0, settled_usd=0.0, calls=0)
        .on_conflict_do_nothing()
    )
    # the row is locked until this transaction ends: two labellers at the cap go one by one
    row = connection.execute(sa.select(table).where(table.c.day == day).with_for_update()).one()
    left = daily_usd - row.reserved_usd - row.settled_usd
    affordable = sum(1 for total in accumulate(costs) if total <= left)
    connection.execute(
        sa.update(table)
        .where(table.c.day == day)
        .values(reserved_usd=table.c.reserved_usd + sum(costs[:affordable]))
    )
    return affordable


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


def _update(connection: sa.Connection, rows: list[dict[str, object]]) -> None:
    """Change samples, each found by its `key`; all rows change the same columns."""
    if not rows:
        return
    table = tables.sample
    values: dict[str, Any] = {name: sa.bindparam(name) for name in rows[0] if name != "key"}
    connection.execute(
        sa.update(table).where(table.c.ticket_id == sa.bindparam("key")).values(values), rows
    )


def still_mine(connection: sa.Connection, owner: str, claims: Sequence[Claim]) -> dict[str, Claim]:
    """Return, by ticket, the claims that did not expire and pass to another labeller meanwhile."""
    table = tables.sample
    mine: dict[str, Claim] = {}
    by_ticket = {claimed.sample.ticket_id: claimed for claimed in claims}
    for start in range(0, len(claims), 500):
        part = [claimed.sample.ticket_id for claimed in claims[start : start + 500]]
        rows = connection.execute(
            sa.select(table.c.ticket_id, table.c.attempts)
            .where(
                table.c.ticket_id.in_(part),
                table.c.state == "claimed",
                table.c.claimed_by == owner,
            )
            .with_for_update()
        )
        for ticket_id, attempts in rows:
            if by_ticket[ticket_id].attempts == attempts:
                mine[ticket_id] = by_ticket[ticket_id]
    return mine


def write_labels(connection: sa.Connection, answered: Sequence[tuple[Claim, Label]]) -> None:
    """Write the teacher's answers to claims that are `still_mine`, and settle their cost."""
    if not answered:
        return
    # in their order: two labellers that lock two days crosswise would wait for each other
    for day in sorted({claimed.day for claimed, _ in answered}):
        of_day = [(c, label) for c, label in answered if c.day == day]
        _settle(
            connection,
            day,
            sum(c.reserved_usd for c, _ in of_day),
            billed=sum(label.cost_usd for _, label in of_day),
            calls=len(of_day),
        )
    _update(
        connection,
        [
            {
                "key": label.ticket_id,
                "state": "abstained" if label.output is None else "labelled",
                "reserved_usd": 0.0,
            }
            for _, label in answered
        ],
    )
    connection.execute(
        insert(connection, tables.label).on_conflict_do_nothing(),
        [
            {
                "ticket_id": label.ticket_id,
                "at": claimed.sample.at,
                "labelled_at": label.at,
                "reason": claimed.sample.reason,
                "model": claimed.sample.model,
                "disagreement": label.disagreement,
                "body": _encode(label),
            }
            for claimed, label in answered
        ],
    )


def release(
    connection: sa.Connection,
    *,
    claimed: Claim,
    not_before: float,
    billed_usd: float,
    lost: bool,
) -> None:
    """Give a sample that is `still_mine` back; `lost`: nobody is to ask about it again."""
    _settle(
        connection, claimed.day, claimed.reserved_usd, billed=billed_usd, calls=int(billed_usd > 0)
    )
    changes = {"state": "lost" if lost else "waiting", "not_before": not_before}
    _update(connection, [{**_given_back(claimed.sample.ticket_id), **changes}])


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
    return {str(state): int(count) for state, count in connection.execute(counted)}


def add_samples(connection: sa.Connection, samples: Sequence[Sample], now: float) -> None:
    """Queue samples for the teacher; one that is known already is left as it is."""
    if not samples:
        return
    rows = [
        {
            "ticket_id": s.ticket_id,
            "at": s.at,
            "reason": s.reason,
            "model": s.model,
            "window": s.window,
            "queued_at": now,
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
