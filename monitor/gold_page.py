"""What `proctord gold` says: which tickets to check next, and what came of those checked."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from monitor.alerts.figures import plain, utc
from monitor.estimation.standing import StudentGold, student_gold
from monitor.estimation.wording import number
from monitor.store import gold, teachers
from schemas.events import Feedback
from schemas.teachers import UNKNOWN, TeacherStanding

#: rounds of canaries that are shown
_ROUNDS = 10
#: stands in a correction for what the person writes
_BLANK = "THE RIGHT ANSWER"


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A ticket that a person is asked to check."""

    ticket_id: str
    #: when the customer asked, and when it was drawn, seconds UTC
    asked_at: float
    drawn_at: float
    #: redacted
    text: str
    #: what student and teacher answered, in an order that does not tell whose is whose; one
    #: where they agree
    answers: tuple[str, ...]
    #: of each answer, the feedback event to publish where it is right; last, where none is
    events: tuple[str, ...]


def tasks(connection: sa.Connection, *, drawn_after: float, limit: int, now: float) -> list[Task]:
    """Return the tickets that wait for a person, the one drawn first at the head.

    Production's answer is one of `answers`, and not marked: a person who knows which one it is
    is swayed by that. Hence an event names the answer that is right, whoever gave it, and only
    where both gave the same does it say `accepted`.
    """
    return [
        Task(
            ticket_id=one.draw.ticket_id,
            asked_at=one.draw.at,
            drawn_at=one.draw.drawn_at,
            text=one.text,
            answers=_answers(one),
            events=_events(one, now),
        )
        for one in gold.waiting(connection, drawn_after=drawn_after, limit=limit)
    ]


def _answers(one: gold.Waiting) -> tuple[str, ...]:
    if not one.draw.disagreement:
        return (one.student,)
    return tuple(sorted((one.student, one.teacher)))


def _events(one: gold.Waiting, now: float) -> tuple[str, ...]:
    answers = _answers(one)
    accepted = [(answer, len(answers) == 1) for answer in answers]
    return tuple(
        _event(one.draw.ticket_id, answer, now, accepted=right)
        for answer, right in [*accepted, (_BLANK, False)]
    )


def _event(ticket_id: str, answer: str, now: float, *, accepted: bool) -> str:
    at = dt.datetime.fromtimestamp(int(now), dt.UTC)
    event = Feedback(ticket_id=ticket_id, at=at, accepted=accepted, output=answer)
    # in ASCII: it reaches a terminal, and must come back from there letter by letter
    return json.dumps(msgspec.to_builtins(event))


def task_lines(task: Task) -> list[str]:
    """Return a ticket as lines for a terminal."""
    *right, correction = task.events
    return [
        f"{plain(task.ticket_id)}  {utc(task.asked_at)}",
        f"    {plain(task.text)}",
        *(
            line
            for answer, event in zip(task.answers, right, strict=True)
            for line in (f"    answer: {plain(answer)}", f"        if right: {event}")
        ),
        f"    otherwise:    {correction}",
    ]


class CanaryRound(msgspec.Struct, frozen=True, kw_only=True):
    """One time that the teacher's canaries were asked."""

    asked_at: float
    judged_at: float | None
    answers: int
    changed: int


class GoldPage(msgspec.Struct, frozen=True, kw_only=True):
    """What people's answers came to; `--json` prints it as it is."""

    teacher: TeacherStanding
    #: drawn tickets that wait for a person
    waiting: int
    #: their answers of the days of patience that are none of the task's labels: they count nowhere
    outside: int
    #: what is wrong with the newest of them; "" without any
    newest_outside: str
    students: tuple[StudentGold, ...]
    #: newest first; the last one may be the first answers themselves
    canaries: tuple[CanaryRound, ...]


def gather(connection: sa.Connection, *, drawn_after: float) -> GoldPage:
    """Read what is known; a ticket drawn before `drawn_after` is waited for no longer."""
    standing = teachers.standing(connection) or UNKNOWN
    generation = standing.generation
    outside = gold.outside(connection, drawn_after)
    return GoldPage(
        teacher=standing,
        waiting=gold.counts(connection, generation, drawn_after=drawn_after).waiting,
        outside=outside.answers,
        newest_outside=outside.newest,
        students=tuple(
            student_gold(
                model,
                gold.checked(connection, generation, model),
                gold.agreement(connection, generation, model),
            )
            for model in gold.students(connection, generation)
        ),
        canaries=tuple(
            CanaryRound(
                asked_at=one.asked_at,
                judged_at=one.judged_at,
                answers=one.answers,
                changed=one.changed,
            )
            for one in teachers.rounds(connection, generation, _ROUNDS)
        ),
    )


def rows(page: GoldPage) -> list[tuple[str, str]]:
    """Return the page as (title, words), for a terminal."""
    teacher = page.teacher
    return [
        ("teacher", _teacher(teacher)),
        ("state", f"{teacher.state}: {teacher.reason}"),
        *([("next", teacher.next_step)] if teacher.next_step else []),
        ("people", _people(page)),
        *([("not counted", _outside(page))] if page.outside else []),
        *((f"student {one.model[:12]}", one.sentence) for one in page.students),
        ("canaries", _canaries(page.canaries)),
    ]


def _teacher(teacher: TeacherStanding) -> str:
    if not teacher.generation:
        return "none yet"
    prompt = f", prompt {teacher.prompt_hash}" if teacher.prompt_hash else ""
    return f"{plain(teacher.name)}{prompt}, since {utc(teacher.since)}"


def _people(page: GoldPage) -> str:
    teacher = page.teacher
    return (
        f"asked about {number(teacher.drawn)} tickets, answered {number(teacher.answered)}; "
        f"{number(page.waiting)} wait (`proctord gold list`), {number(teacher.unanswered)} stayed "
        f"unanswered; {number(teacher.volunteered)} answers came unasked and count in no estimate"
    )


def _outside(page: GoldPage) -> str:
    return (
        f"answers that are none of the task's labels: {number(page.outside)}, to be published anew "
        f"(`proctord dlq list`). The newest: {plain(page.newest_outside)}"
    )


def _canaries(rounds: Sequence[CanaryRound]) -> str:
    if not rounds:
        return "none yet: the first tickets that the teacher answers are kept"
    newest = rounds[0]
    if newest.judged_at is None:
        return f"asked again since {utc(newest.asked_at)}, and not all answered yet"
    if len(rounds) == 1:
        return f"{newest.answers} tickets kept since {utc(newest.asked_at)}, not asked again yet"
    return f"{newest.changed} of {newest.answers} answers changed, asked {utc(newest.asked_at)}"


def as_json(found: Any) -> Any:
    """Return tickets or the page for machines."""
    return msgspec.to_builtins(found)
