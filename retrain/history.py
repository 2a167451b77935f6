"""Taking in what a teacher answered before proctord watched, so that a first student can learn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import msgspec
import sqlalchemy as sa

from schemas import tables
from schemas.journal import insert
from schemas.samples import HISTORY, Gold, Label, Sample

_BATCH = 1000  # rows of one transaction


class HistoricAnswer(Protocol):
    """What a teacher once said about one ticket."""

    @property
    def label(self) -> str | None:
        """Its answer; None: it gave none that is valid."""

    @property
    def probabilities(self) -> tuple[tuple[str, float], ...]:
        """(label, probability), most probable first; may be empty."""

    @property
    def latency_ms(self) -> float:
        """Milliseconds that it took."""

    @property
    def cost_usd(self) -> float:
        """What it cost then; today's budget pays nothing."""


class HistoricRow(Protocol):
    """One ticket of the past. Its text must have been redacted."""

    @property
    def id(self) -> str:
        """The ticket's id."""

    @property
    def text(self) -> str:
        """What the customer asked."""

    @property
    def teacher(self) -> HistoricAnswer:
        """What the teacher answered."""

    @property
    def gold(self) -> str | None:
        """A human's answer, where there is one."""


def import_labels(engine: sa.Engine, rows: Iterable[HistoricRow], at: float) -> int:
    """Store historic answers as labels of tickets asked at `at`; return how many were new.

    They are marked as `requested`, because nobody knows with which probability they were chosen:
    so no detector takes the past for today's traffic. A ticket that is known already, and an
    abstention, is passed over. All rows are read before the first is stored: where reading fails,
    nothing has changed.
    """
    valid = [row for row in rows if row.teacher.label is not None]
    return sum(_store(engine, batch, at) for batch in _batches(valid))


def _batches(rows: list[HistoricRow]) -> Iterator[list[HistoricRow]]:
    for start in range(0, len(rows), _BATCH):
        yield rows[start : start + _BATCH]


def _store(engine: sa.Engine, rows: list[HistoricRow], at: float) -> int:
    first = {row.id: row for row in reversed(rows)}  # of two lines on one ticket the first counts
    with engine.begin() as connection:
        statement = insert(connection, tables.sample).on_conflict_do_nothing()
        samples = [_sample(row, at) for row in first.values()]
        returned = connection.execute(statement.returning(tables.sample.c.ticket_id), samples)
        fresh = [first[ticket_id] for ticket_id in returned.scalars()]
        if fresh:
            labels = insert(connection, tables.label).on_conflict_do_nothing()
            connection.execute(labels, [_label(row, at) for row in fresh])
        golds = [_gold(row, row.gold, at) for row in fresh if row.gold is not None]
        if golds:
            connection.execute(insert(connection, tables.gold).on_conflict_do_nothing(), golds)
        return len(fresh)


def _sample(row: HistoricRow, at: float) -> dict[str, object]:
    sample = Sample(
        ticket_id=row.id,
        at=at,
        text=row.text,
        output=row.teacher.label or "",
        model=HISTORY,
        served_by="teacher",
        confidence=None,
        segments=("*",),
        reason="requested",
        inclusion_probability=1.0,
    )
    return {
        "ticket_id": row.id,
        "at": at,
        "reason": sample.reason,
        "model": sample.model,
        "window": sample.window,
        "queued_at": at,
        "state": "labelled",
        "claimed_by": "",
        "claimed_until": 0.0,
        "attempts": 0,
        "not_before": 0.0,
        "reserved_usd": 0.0,
        "reserved_day": "",
        "body": msgspec.json.encode(sample),
    }


def _label(row: HistoricRow, at: float) -> dict[str, object]:
    label = Label(
        ticket_id=row.id,
        at=at,
        teacher=HISTORY,
        prompt_hash="",
        output=row.teacher.label,
        abstained="",
        probabilities=row.teacher.probabilities,
        disagreement=0.0,  # the answer was the teacher's own
        comparator="",
        latency_ms=row.teacher.latency_ms,
        input_tokens=0,
        output_tokens=0,
        cost_usd=row.teacher.cost_usd,
    )
    return {
        "ticket_id": row.id,
        "at": at,
        "labelled_at": at,
        "reason": "requested",
        "model": HISTORY,
        "disagreement": label.disagreement,
        "body": msgspec.json.encode(label),
    }


def _gold(row: HistoricRow, output: str, at: float) -> dict[str, object]:
    gold = Gold(ticket_id=row.id, at=at, output=output, accepted=False, by=HISTORY)
    return {"ticket_id": row.id, "at": at, "body": msgspec.json.encode(gold)}
