"""The generations of the teacher, and the tickets that it is asked about again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from schemas import tables
from schemas.journal import insert
from schemas.samples import ESTIMATED, Label, Sample
from schemas.teachers import TeacherStanding

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(TeacherStanding).decode
_decode_sample = msgspec.json.Decoder(Sample).decode
_decode_label = msgspec.json.Decoder(Label).decode


def standing(connection: sa.Connection) -> TeacherStanding | None:
    """Return how the teacher of now stands; None before its first label was judged."""
    table = tables.teacher
    body = connection.scalar(sa.select(table.c.body).order_by(table.c.since.desc()).limit(1))
    return None if body is None else _decode(body)


def standings(connection: sa.Connection) -> list[TeacherStanding]:
    """Return every generation, in the order in which they last took over."""
    table = tables.teacher
    return [_decode(b) for b in connection.scalars(sa.select(table.c.body).order_by(table.c.since))]


def save(connection: sa.Connection, found: TeacherStanding) -> None:
    """Write how a generation stands."""
    body = _encode(found)
    statement = insert(connection, tables.teacher).values(
        generation=found.generation, since=found.since, body=body
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["generation"], set_={"since": found.since, "body": body}
        )
    )


# --- canaries --------------------------------------------------------------------------------


class Candidate(NamedTuple):
    """A ticket that could become a canary."""

    sample: Sample
    answer: str
    cost_usd: float


def candidates(connection: sa.Connection, teacher: TeacherStanding, limit: int) -> list[Candidate]:
    """Return the first tickets that this generation of the teacher answered."""
    sample, label = tables.sample, tables.label
    rows = connection.execute(
        sa.select(sample.c.body, label.c.body)
        .join(label, label.c.ticket_id == sample.c.ticket_id)
        .where(
            label.c.labelled_at >= teacher.since,
            label.c.reason.in_(ESTIMATED),
            label.c.disagreement.is_not(None),
        )
        .order_by(label.c.labelled_at, label.c.ticket_id)
        .limit(limit)
    )
    found = [(_decode_sample(one), _decode_label(two)) for one, two in rows]
    return [
        Candidate(one, two.output, two.cost_usd)
        for one, two in found
        if two.output is not None
        and (two.teacher, two.prompt_hash) == (teacher.name, teacher.prompt_hash)
    ]


def freeze(connection: sa.Connection, teacher: str, canaries: Sequence[Sample]) -> None:
    """Keep tickets with the teacher's first answers to them."""
    connection.execute(
        insert(connection, tables.canary).on_conflict_do_nothing(),
        [
            {"teacher": teacher, "number": number, "body": _encode(sample)}
            for number, sample in enumerate(canaries)
        ],
    )


def frozen(connection: sa.Connection, teacher: str) -> list[Sample]:
    """Return the canaries of a generation, with the teacher's first answers."""
    table = tables.canary
    query = sa.select(table.c.body).where(table.c.teacher == teacher).order_by(table.c.number)
    return [_decode_sample(body) for body in connection.scalars(query)]


class Round(NamedTuple):
    """One time that the canaries of a generation were asked again."""

    teacher: str
    round: int
    asked_at: float
    judged_at: float | None
    answers: int
    changed: int

    @property
    def empty(self) -> bool:
        """Whether no canaries were kept: there was no money for any."""
        return self.round == 0 and self.answers == 0


def rounds(connection: sa.Connection, teacher: str, limit: int) -> list[Round]:
    """Return the newest rounds of a generation's canaries, newest first."""
    table = tables.canary_round
    rows = connection.execute(
        sa.select(*(table.c[name] for name in Round._fields))
        .where(table.c.teacher == teacher)
        .order_by(table.c.round.desc())
        .limit(limit)
    )
    return [Round(*row) for row in rows]


def save_round(connection: sa.Connection, one: Round) -> None:
    """Write a round."""
    statement = insert(connection, tables.canary_round).values(**one._asdict())
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["teacher", "round"],
            set_={name: getattr(one, name) for name in Round._fields[2:]},
        )
    )


class Reply(NamedTuple):
    """What became of one canary in a round."""

    state: str
    label: Label | None


def replies(connection: sa.Connection, ticket_ids: Sequence[str]) -> list[Reply]:
    """Return what became of samples, those that are still waiting included."""
    sample, label = tables.sample, tables.label
    found: list[Reply] = []
    for start in range(0, len(ticket_ids), 500):
        rows = connection.execute(
            sa.select(sample.c.state, label.c.body)
            .outerjoin(label, label.c.ticket_id == sample.c.ticket_id)
            .where(sample.c.ticket_id.in_(ticket_ids[start : start + 500]))
            .order_by(sample.c.ticket_id)
        )
        found += [Reply(state, None if b is None else _decode_label(b)) for state, b in rows]
    return found
