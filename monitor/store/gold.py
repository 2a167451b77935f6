"""Tickets that people are asked to check, and what their answers came to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from monitor.estimation.gold import Agreement, Checked
from monitor.estimation.standing import Asked
from monitor.store import planning
from monitor.taxonomy import STAGE
from schemas import tables
from schemas.journal import insert
from schemas.samples import ESTIMATED, Gold, Label, Sample

_encode = msgspec.json.Encoder().encode
_decode_label = msgspec.json.Decoder(Label).decode
_decode_sample = msgspec.json.Decoder(Sample).decode
_decode_gold = msgspec.json.Decoder(Gold).decode
_decode_agreement = msgspec.json.Decoder(Agreement).decode


class Labelled(NamedTuple):
    """A label that estimates rest on."""

    sample: Sample
    label: Label
    loss: float
    #: that the ticket was asked about at all: `random` and `risky` together
    probability: float


def labelled(connection: sa.Connection, *, after: float, until: float) -> list[Labelled]:
    """Return the labels of windows that start in `(after, until]`, as they were given."""
    sample, label = tables.sample, tables.label
    rows = connection.execute(
        sa.select(sample.c.body, label.c.body)
        .join(label, label.c.ticket_id == sample.c.ticket_id)
        .where(
            sample.c.window > after,
            sample.c.window <= until,
            sample.c.reason.in_(ESTIMATED),
            label.c.disagreement.is_not(None),
        )
        .order_by(label.c.labelled_at, label.c.ticket_id)
    )
    found = [(_decode_sample(one), _decode_label(two)) for one, two in rows]
    plans = planning.by_versions(connection, {one.plan for one, _ in found})
    return [
        Labelled(one, two, two.disagreement, plans[one.plan].strata(one.model)[one.stratum][1])
        for one, two in found
        if two.disagreement is not None
    ]


# --- agreement of what was labelled ----------------------------------------------------------


def add_agreement(connection: sa.Connection, teacher: str, model: str, labels: Agreement) -> None:
    """Add labels to the sums of one teacher and one student."""
    table = tables.agreement
    known = agreement(connection, teacher, model)
    body = _encode(known.merge(labels))
    statement = insert(connection, table).values(teacher=teacher, model=model, body=body)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["teacher", "model"], set_={"body": body})
    )


def agreement(connection: sa.Connection, teacher: str, model: str | None = None) -> Agreement:
    """Return the sums of a teacher's labels, of one student or of all."""
    table = tables.agreement
    query = sa.select(table.c.body).where(table.c.teacher == teacher)
    if model is not None:
        query = query.where(table.c.model == model)
    total = Agreement()
    for body in connection.scalars(query.order_by(table.c.model)):
        total = total.merge(_decode_agreement(body))
    return total


# --- the draw --------------------------------------------------------------------------------


class Draw(NamedTuple):
    """A labelled ticket that a person is to check."""

    ticket_id: str
    at: float
    drawn_at: float
    teacher: str
    model: str
    inclusion_probability: float
    gold_probability: float
    disagreement: float


def add_draws(connection: sa.Connection, draws: Sequence[Draw]) -> None:
    """Journal what was drawn; what was drawn before stays as it is."""
    if draws:
        statement = insert(connection, tables.gold_draw).on_conflict_do_nothing()
        connection.execute(statement, [draw._asdict() for draw in draws])


class Arrived(NamedTuple):
    """A drawn ticket with a person's answer that was not counted yet."""

    draw: Draw
    gold: Gold
    #: what the student and the teacher answered
    student: str
    teacher: str


def arrived(connection: sa.Connection, *, drawn_after: float) -> list[Arrived]:
    """Return new answers of people to tickets drawn since, in the order of their times."""
    draw, gold = tables.gold_draw, tables.gold
    sample, label = tables.sample, tables.label
    rows = connection.execute(
        sa.select(
            *(draw.c[name] for name in Draw._fields), gold.c.body, sample.c.body, label.c.body
        )
        .join(gold, gold.c.ticket_id == draw.c.ticket_id)
        .join(sample, sample.c.ticket_id == draw.c.ticket_id)
        .join(label, label.c.ticket_id == draw.c.ticket_id)
        .where(
            draw.c.drawn_at > drawn_after,
            sa.or_(draw.c.gold_at.is_(None), gold.c.at > draw.c.gold_at),
        )
        .order_by(gold.c.at, draw.c.ticket_id)
    )
    return [
        Arrived(
            Draw(*row[:-3]),
            _decode_gold(row[-3]),
            _decode_sample(row[-2]).output,
            _decode_label(row[-1]).output or "",
        )
        for row in rows
    ]


def record(connection: sa.Connection, answers: Iterable[tuple[Arrived, Checked]]) -> None:
    """Write the losses of student and teacher against people's answers."""
    table = tables.gold_draw
    rows = [
        {
            "key": one.draw.ticket_id,
            "gold_at": one.gold.at,
            "student_loss": checked.student,
            "teacher_loss": checked.teacher,
        }
        for one, checked in answers
    ]
    if rows:
        values: dict[str, Any] = {name: sa.bindparam(name) for name in rows[0] if name != "key"}
        connection.execute(
            sa.update(table).where(table.c.ticket_id == sa.bindparam("key")).values(values), rows
        )


# --- what is known ---------------------------------------------------------------------------


def checked(connection: sa.Connection, teacher: str, model: str | None = None) -> list[Checked]:
    """Return what people answered, oldest answer first: of one student's tickets or of all."""
    table = tables.gold_draw
    where = [table.c.teacher == teacher, table.c.gold_at.is_not(None)]
    if model is not None:
        where.append(table.c.model == model)
    rows = connection.execute(
        sa.select(
            table.c.inclusion_probability,
            table.c.gold_probability,
            table.c.disagreement,
            table.c.student_loss,
            table.c.teacher_loss,
        )
        .where(*where)
        .order_by(table.c.gold_at, table.c.ticket_id)
    )
    return [Checked(1 / (pi * rho), *losses) for pi, rho, *losses in rows]


def counts(
    connection: sa.Connection, teacher: str, *, drawn_after: float, model: str | None = None
) -> Asked:
    """Count the draws of a generation; one of before `drawn_after` is waited for no longer."""
    table = tables.gold_draw
    answered = table.c.gold_at.is_not(None)
    overdue = sa.and_(table.c.gold_at.is_(None), table.c.drawn_at <= drawn_after)
    query = sa.select(
        sa.func.count(),
        sa.func.count().filter(answered),
        sa.func.count().filter(overdue),
    ).where(table.c.teacher == teacher)
    if model is not None:
        query = query.where(table.c.model == model)
    return Asked(*connection.execute(query).one())


def volunteered(connection: sa.Connection, since: float) -> int:
    """Count people's answers since then to tickets that nobody was asked to check."""
    gold, draw = tables.gold, tables.gold_draw
    query = (
        sa.select(sa.func.count())
        .select_from(gold.outerjoin(draw, draw.c.ticket_id == gold.c.ticket_id))
        .where(gold.c.at >= since, draw.c.ticket_id.is_(None))
    )
    return int(connection.scalar(query) or 0)


class Outside(NamedTuple):
    """People's answers that are none of the task's labels: they are kept as dead letters."""

    answers: int
    #: what is wrong with the newest; "" without any
    newest: str


def outside(connection: sa.Connection, since: float) -> Outside:
    """Count the answers since then that are none of the task's labels."""
    table = tables.dead_letter
    found = sa.and_(table.c.stage == STAGE, table.c.at > since)
    count = connection.scalar(sa.select(sa.func.count()).where(found).select_from(table))
    newest = sa.select(table.c.message).where(found).order_by(table.c.id.desc()).limit(1)
    return Outside(int(count or 0), connection.scalar(newest) or "")


class Waiting(NamedTuple):
    """A ticket that a person should look at next."""

    draw: Draw
    text: str
    student: str
    teacher: str


def waiting(connection: sa.Connection, *, drawn_after: float, limit: int) -> list[Waiting]:
    """Return drawn tickets without an answer, the oldest draw first."""
    draw, sample, label = tables.gold_draw, tables.sample, tables.label
    gold = tables.gold
    rows = connection.execute(
        sa.select(*(draw.c[name] for name in Draw._fields), sample.c.body, label.c.body)
        .join(sample, sample.c.ticket_id == draw.c.ticket_id)
        .join(label, label.c.ticket_id == draw.c.ticket_id)
        .outerjoin(gold, gold.c.ticket_id == draw.c.ticket_id)
        .where(draw.c.drawn_at > drawn_after, draw.c.gold_at.is_(None), gold.c.ticket_id.is_(None))
        .order_by(draw.c.drawn_at, draw.c.ticket_id)
        .limit(limit)
    )
    found = []
    for row in rows:
        sampled = _decode_sample(row[-2])
        teacher = _decode_label(row[-1]).output or ""
        found.append(Waiting(Draw(*row[:-2]), sampled.text, sampled.output, teacher))
    return found


def students(connection: sa.Connection, teacher: str) -> list[str]:
    """Return the students whose answers this generation of the teacher labelled."""
    table = tables.agreement
    query = sa.select(table.c.model).where(table.c.teacher == teacher).order_by(table.c.model)
    return list(connection.scalars(query))
