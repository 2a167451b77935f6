"""What the journal says that a decision or a lesson can rest on: signals, labels, gold.

Reads only, in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from retrain import store
from retrain.order import LabelledRow
from retrain.policy import Probation, Request, Situation
from schemas import tables
from schemas.acceptance import Standing
from schemas.samples import Gold, Label, Sample
from schemas.signals import Signal
from schemas.teachers import UNKNOWN, TeacherStanding

#: random labels over which the predecessor's loss is measured: its last ones
PREDECESSOR_LABELS = 200

# --- labels --------------------------------------------------------------------------------


def _learnable() -> Any:
    # abstentions have no disagreement; sentinels are planted, their answers are known
    label = tables.label
    return sa.and_(label.c.disagreement.is_not(None), label.c.reason != "sentinel")


def labelled_rows(connection: sa.Connection) -> Iterator[LabelledRow]:
    """Return everything that may be learned from, oldest first."""
    return _rows(connection, _learnable())


def fresh_rows(connection: sa.Connection, after: float) -> Iterator[LabelledRow]:
    """Return the labels of the uniform draw whose tickets came after a moment, oldest first."""
    return _rows(connection, sa.and_(_drawn(), tables.label.c.at > after))


def newest_ticket(connection: sa.Connection, otherwise: float) -> float:
    """Return the event time of the newest labelled ticket."""
    query = sa.select(sa.func.max(tables.label.c.at)).where(_learnable())
    return float(connection.scalar(query) or otherwise)


def count_fresh(connection: sa.Connection, after: float) -> int:
    """Return how many rows `fresh_rows` would return."""
    return _count(connection, sa.and_(_drawn(), tables.label.c.at > after))


def _rows(connection: sa.Connection, condition: Any) -> Iterator[LabelledRow]:
    label, sample, gold = tables.label, tables.sample, tables.gold
    query = (
        sa.select(label.c.body, sample.c.body, gold.c.body)
        .join(sample, sample.c.ticket_id == label.c.ticket_id)
        .outerjoin(gold, gold.c.ticket_id == label.c.ticket_id)
        .where(condition)
        .order_by(label.c.at, label.c.ticket_id)
    )
    for label_body, sample_body, gold_body in connection.execute(query):
        yield _row(
            msgspec.json.decode(label_body, type=Label),
            msgspec.json.decode(sample_body, type=Sample),
            None if gold_body is None else msgspec.json.decode(gold_body, type=Gold),
        )


def _row(label: Label, sample: Sample, gold: Gold | None) -> LabelledRow:
    human = None
    if gold is not None:
        human = sample.output if gold.accepted else gold.output
    return LabelledRow(
        ticket_id=sample.ticket_id,
        at=sample.at,
        text=sample.text,
        output=label.output or "",
        probabilities=label.probabilities,
        reason=sample.reason,
        inclusion_probability=sample.inclusion_probability,
        gold=human,
    )


# --- the situation -------------------------------------------------------------------------


def gather(
    connection: sa.Connection,
    lane: str,
    *,
    contract: str,
    probation_labels: int,
    request: Request | None = None,
    standing: Standing | None = None,
) -> Situation:
    """Read all that the policy looks at; `request` and `standing` are the caller's.

    Parameters
    ----------
    contract: hash of the one that everything is judged by: what was found under another one
        says nothing of this one.
    """
    history = store.champions(connection, lane)
    champion = history[-1].artefact_id if history else ""
    last = store.last_run(connection, lane)
    judged = store.judged_run(connection, lane)
    learned_at = judged.requested_at if judged is not None else -1.0
    if last is not None and last.state == "held" and last.challenger == champion:
        learned_at = max(learned_at, last.requested_at)  # a person let it through
    level = _signal(connection, champion, contract, "level")
    asked_at = last.requested_at if last else -1.0
    change = _signal(connection, champion, contract, "change", after=asked_at)
    found = level or change
    return Situation(
        lane=lane,
        champion=champion,
        level=level,
        change=change,
        live_run=store.live_run(connection, lane),
        last_run=last,
        cadence_from=max(history[-1].since if history else 0.0, learned_at),
        labels=_count(connection, _learnable()),
        new_labels=_count(
            connection,
            sa.and_(
                _learnable(),
                tables.label.c.labelled_at > learned_at,
                # what came before the finding teaches nothing of what was found
                tables.label.c.at > (found.at if found is not None else -1.0),
            ),
        ),
        request=request,
        standing=standing,
        teacher=teacher(connection),
        probation=_probation(connection, history, probation_labels),
    )


def teacher(connection: sa.Connection) -> TeacherStanding:
    """Return how the teacher of now stands by people's answers."""
    table = tables.teacher
    body = connection.scalar(sa.select(table.c.body).order_by(table.c.since.desc()).limit(1))
    return UNKNOWN if body is None else msgspec.json.decode(body, type=TeacherStanding)


def _signal(
    connection: sa.Connection,
    model: str,
    contract: str,
    which: Literal["level", "change"],
    after: float = -1.0,
) -> Signal | None:
    table = tables.signal
    # a second opinion (`info`) never starts a run: its false alarms have no stated rate
    kind = (
        sa.and_(table.c.detector == "level", table.c.severity == "page")
        if which == "level"
        else sa.and_(table.c.detector != "level", table.c.severity.in_(("page", "warn")))
    )
    bodies = connection.scalars(
        sa.select(table.c.body)
        .where(kind, table.c.metric == "disagreement", table.c.model == model, table.c.at > after)
        .order_by(table.c.id.desc())
    )
    found = (msgspec.json.decode(body, type=Signal) for body in bodies)
    return next((signal for signal in found if signal.contract == contract), None)


def _probation(
    connection: sa.Connection, history: Sequence[store.Champion], limit: int
) -> Probation | None:
    previous = store.predecessor(history)
    if (
        previous is None
        or store.promoted_run(connection, history[-1].lane, history[-1].artefact_id) is None
    ):
        return None
    label = tables.label
    labels = count_drawn(connection, history[-1].artefact_id)
    if labels >= limit:
        return None
    last_ones = (
        sa.select(label.c.disagreement)
        .where(_drawn(), label.c.model == previous)
        .order_by(label.c.at.desc())
        .limit(PREDECESSOR_LABELS)
        .subquery()
    )
    losses = last_ones.c.disagreement
    loss, count = connection.execute(sa.select(sa.func.avg(losses), sa.func.count(losses))).one()
    return Probation(
        previous=previous, labels=labels, limit=limit, previous_loss=loss, previous_labels=count
    )


def count_drawn(connection: sa.Connection, model: str) -> int:
    """Return how many labels of the uniform draw judge this model's answers."""
    return _count(connection, sa.and_(_drawn(), tables.label.c.model == model))


def _drawn() -> Any:
    # the uniform draw alone speaks for a model's traffic
    return sa.and_(tables.label.c.disagreement.is_not(None), tables.label.c.reason == "random")


def _count(connection: sa.Connection, condition: Any) -> int:
    query = sa.select(sa.func.count()).select_from(tables.label).where(condition)
    return int(connection.scalar(query) or 0)
