"""What a run of the demo came to, read from the journal it left behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from monitor.alerts.figures import duration, money
from monitor.estimation.beta_binomial import clopper_pearson
from monitor.estimation.standing import StudentGold, student_gold
from monitor.estimation.wording import bounds, percent
from monitor.store import gold, teachers
from schemas import tables
from schemas.runs import Verdict
from schemas.samples import ESTIMATED, HISTORY
from schemas.signals import Interval
from schemas.teachers import UNKNOWN, TeacherStanding

#: labels of the new student that its last figure rests on
LAST = 400


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Wall time on this machine: the one part that two runs do not share."""

    wall_seconds: float
    student_ms: float


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The table at the end; without `measured` the same for the same seed."""

    tickets: int
    #: disagreement before the change, between change and promotion, and after it
    before: Interval | None
    worst: Interval | None
    after: Interval | None
    tolerance: float
    #: the page: tickets, and labels of any draw that the level rests on, after the change; None:
    #: no page, or no known change
    delay_tickets: int | None
    delay_labels: int | None
    #: pages before the change
    false_pages: int
    #: virtual seconds from the page to the promotion of the student that ended it
    recovery_seconds: float | None
    #: that estimates rest on, and beside them
    labels_drawn: int
    labels_requested: int
    labels_of_canaries: int
    teacher_usd: float
    teacher_ms: float
    #: what the teacher would have cost for all tickets, and what it costs a thousand of them
    teacher_only_usd: float
    #: how the teacher stands by people's answers, and the newest student
    teacher: TeacherStanding
    student: StudentGold
    promotions: int
    verdict: Verdict | None
    measured: Measured


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """What happened, as the driver saw it: times are virtual, seconds UTC."""

    tickets: int
    change_at: float | None
    first_page_at: float | None
    pages_before_change: int
    #: customers served from the change to the page
    delay_tickets: int | None
    promoted_at: float | None
    first_student: str
    last_student: str
    verdict: Verdict | None
    teacher_ms: float
    teacher_only_usd: float
    measured: Measured


def gather(connection: sa.Connection, story: Story, tolerance: float) -> Figures:
    """Read the figures of a story from its journal."""
    change, page = story.change_at, story.first_page_at
    before = _losses(connection, story.first_student, until=change)
    worst = [] if change is None else _losses(connection, story.first_student, after=change)
    after: list[float] = []
    if story.last_student != story.first_student:
        after = _losses(connection, story.last_student)[-LAST:]
    delay_labels = None
    if change is not None and page is not None:
        evidence = _losses(
            connection, story.first_student, after=change, until=page, reasons=ESTIMATED
        )
        delay_labels = len(evidence)
    counted = _labels(connection)
    return Figures(
        tickets=story.tickets,
        before=_interval(before),
        worst=_interval(worst),
        after=_interval(after),
        tolerance=tolerance,
        delay_tickets=story.delay_tickets,
        delay_labels=delay_labels,
        false_pages=story.pages_before_change,
        recovery_seconds=_span(page, story.promoted_at),
        labels_drawn=sum(counted.get(reason, 0) for reason in ESTIMATED),
        labels_requested=counted.get("requested", 0),
        labels_of_canaries=counted.get("sentinel", 0),
        teacher_usd=_spent(connection),
        teacher_ms=story.teacher_ms,
        teacher_only_usd=story.teacher_only_usd,
        teacher=teachers.standing(connection) or UNKNOWN,
        student=_by_people(connection, story.last_student),
        promotions=_promotions(connection),
        verdict=story.verdict,
        measured=story.measured,
    )


def as_rows(figures: Figures) -> list[tuple[str, str]]:
    """Return the table for people."""
    tickets, spent = figures.tickets, figures.teacher_usd
    saved = 1 - spent / figures.teacher_only_usd if figures.teacher_only_usd else 0.0
    return [
        *_quality(figures),
        ("students promoted after the first", str(max(0, figures.promotions - 1))),
        (
            "asked of the teacher",
            (
                f"{figures.labels_drawn:,} drawn and {figures.labels_requested:,} more for training"
                f", of {tickets:,} tickets; {figures.labels_of_canaries} times a canary"
            ),
        ),
        ("people checked the teacher", figures.teacher.reason),
        ("the student, by people's answers", figures.student.sentence),
        (
            "the teacher's bill",
            f"{_dollars(spent)}; {_dollars(figures.teacher_only_usd)} without a student",
        ),
        ("saved", f"{100 * saved:.0f} % of the teacher's bill"),
        (
            "latency",
            (
                f"student {figures.measured.student_ms:.1f} ms (measured, batched), "
                f"teacher {figures.teacher_ms:.0f} ms (recorded)"
            ),
        ),
        ("wall time", f"{figures.measured.wall_seconds:.0f} s"),
    ]


def _quality(figures: Figures) -> list[tuple[str, str]]:
    """Return the rows about disagreement; of recorded tickets nobody knows when the world changed."""
    accepted = ("accepted", percent(figures.tolerance))
    recovery = ("from the page to the new student", _recovery(figures))
    after = ("after the promotion", _bounds(figures.after))
    if figures.worst is None:
        return [
            ("disagreement of the first student", _bounds(figures.before)),
            after,
            accepted,
            recovery,
        ]
    return [
        ("disagreement before the change", _bounds(figures.before)),
        ("at its worst", _bounds(figures.worst)),
        after,
        accepted,
        ("pages before the change", str(figures.false_pages)),
        ("detected after", _delay(figures)),
        recovery,
    ]


def _dollars(amount: float) -> str:
    """Return an amount in US dollars, with as many digits as it takes to see it.

    >>> _dollars(4.5), _dollars(0.0123)
    ('$4.50', '$0.0123')
    """
    return money(amount) if amount >= 1 else f"${amount:.4f}"


def as_json(figures: Figures) -> dict[str, Any]:
    """Return the table for machines."""
    found: dict[str, Any] = msgspec.to_builtins(figures)
    return found


def _losses(
    connection: sa.Connection,
    model: str,
    *,
    after: float | None = None,
    until: float | None = None,
    reasons: Sequence[str] = ("random",),
) -> list[float]:
    table = tables.label
    where = [
        table.c.model == model,
        table.c.reason.in_(reasons),
        table.c.disagreement.is_not(None),
    ]
    if after is not None:
        where.append(table.c.at > after)
    if until is not None:
        where.append(table.c.at <= until)
    rows = connection.execute(
        sa.select(table.c.disagreement).where(*where).order_by(table.c.at, table.c.ticket_id)
    )
    return [float(loss) for (loss,) in rows]


def _interval(losses: Sequence[float]) -> Interval | None:
    return clopper_pearson(sum(losses), len(losses)) if losses else None


def _labels(connection: sa.Connection) -> dict[str, int]:
    # the history was paid for before
    table = tables.label
    rows = connection.execute(
        sa.select(table.c.reason, sa.func.count())
        .where(table.c.model != HISTORY)
        .group_by(table.c.reason)
    )
    return {str(reason): int(count) for reason, count in rows}


def _by_people(connection: sa.Connection, model: str) -> StudentGold:
    generation = (teachers.standing(connection) or UNKNOWN).generation
    return student_gold(
        model,
        gold.checked(connection, generation, model),
        gold.agreement(connection, generation, model),
    )


def _spent(connection: sa.Connection) -> float:
    return float(connection.scalar(sa.select(sa.func.sum(tables.spend.c.settled_usd))) or 0.0)


def _promotions(connection: sa.Connection) -> int:
    query = sa.select(sa.func.count()).select_from(tables.champion)
    return int(connection.scalar(query) or 0)


def _span(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start


def _bounds(interval: Interval | None) -> str:
    return "no labels" if interval is None else bounds(interval)


def _delay(figures: Figures) -> str:
    if figures.delay_tickets is None:
        return "no page"
    labels = f", {figures.delay_labels} labels" if figures.delay_labels is not None else ""
    return f"{figures.delay_tickets:,} tickets{labels}"


def _recovery(figures: Figures) -> str:
    if figures.recovery_seconds is None:
        return "not within this story"
    return f"{duration(figures.recovery_seconds)} of the shop's time"
