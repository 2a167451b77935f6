"""Ask the teacher's canaries again when they are due, and judge what it says now."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
import sqlalchemy as sa

from monitor.canaries import CanarySettings, affordable, due, questions
from monitor.estimation.scores import plain
from monitor.loops.teacher_level import TeacherLevel
from monitor.store import gold, labelling, teachers
from monitor.store.teachers import Round
from schemas.contract import QualityContract
from schemas.samples import Label
from schemas.signals import Signal
from schemas.teachers import TeacherStanding, generation_of

#: seconds for which a round is not asked again for another page
FRESH_SECONDS: Final = 6 * 3600.0
#: states of a sample that is not done with
_UNDER_WAY: Final = ("waiting", "claimed")


class Watched(NamedTuple):
    """What one look at the canaries came to."""

    signals: tuple[Signal, ...] = ()
    #: a round of theirs was complete
    answered: bool = False


def watch(
    connection: sa.Connection,
    standing: TeacherStanding,
    contract: QualityContract,
    settings: CanarySettings,
    now: float,
) -> Watched:
    """Judge rounds whose answers are in, keep canaries of a new generation, ask when it is due.

    Where the answers of the same model to the same prompt have changed, a new generation of the
    teacher begins: what people said of the old one is said of it no longer.
    """
    answered = bool(standing.follows and _judge(connection, standing.follows, now))
    newest = _newest(connection, standing.generation)
    if newest is None or (newest.empty and due(settings, newest.asked_at, now)):
        _keep(connection, standing, contract, settings, now)
    elif newest.judged_at is None:
        labels = _judge(connection, standing.generation, now)
        found = _bet(connection, standing, labels, contract, settings, now)
        return Watched(found, answered or bool(labels))
    elif due(settings, newest.asked_at, now):
        ask(connection, standing.generation, now)
    return Watched((), answered)


def ask(connection: sa.Connection, generation: str, now: float) -> None:
    """Ask the canaries of a generation again; nothing while they are being asked."""
    newest = _newest(connection, generation)
    kept = teachers.frozen(connection, generation)
    if newest is None or newest.judged_at is None or not kept:
        return
    number = newest.round + 1
    labelling.add_samples(connection, questions(kept, generation, number, now), now)
    new = Round(generation, number, asked_at=now, judged_at=None, answers=0, changed=0)
    teachers.save_round(connection, new)


def ask_in_doubt(connection: sa.Connection, generation: str, now: float) -> None:
    """Ask at once: a student was found out of its bounds by this teacher's answers.

    Segment by segment pages come in a row; what the canaries said a while ago serves all of them.
    """
    newest = _newest(connection, generation)
    if newest is not None and (newest.round == 0 or now - newest.asked_at >= FRESH_SECONDS):
        ask(connection, generation, now)


def _keep(
    connection: sa.Connection,
    standing: TeacherStanding,
    contract: QualityContract,
    settings: CanarySettings,
    now: float,
) -> None:
    """Freeze the first tickets that a generation answered: its round 0."""
    if not settings.count or gold.agreement(connection, standing.generation).n < settings.count:
        return
    found = teachers.candidates(connection, standing, settings.count)
    cost = sum(one.cost_usd for one in found) / max(1, len(found))
    paid = affordable(settings, cost, contract.daily_teacher_usd)
    kept = [msgspec.structs.replace(one.sample, output=one.answer) for one in found[:paid]]
    teachers.freeze(connection, standing.generation, kept)
    first = Round(standing.generation, 0, asked_at=now, judged_at=now, answers=len(kept), changed=0)
    teachers.save_round(connection, first)


def _newest(connection: sa.Connection, generation: str) -> Round | None:
    return next(iter(teachers.rounds(connection, generation, 1)), None)


def _judge(connection: sa.Connection, generation: str, now: float) -> list[Label]:
    """Close the open round of a generation's canaries when all is in; return the answers."""
    newest = _newest(connection, generation)
    if newest is None or newest.judged_at is not None:
        return []
    kept = teachers.frozen(connection, generation)
    asked = [one.ticket_id for one in questions(kept, generation, newest.round, newest.asked_at)]
    replies = teachers.replies(connection, asked)
    if any(reply.state in _UNDER_WAY for reply in replies):
        return []
    labels = [reply.label for reply in replies if reply.label is not None]
    changed = round(sum(_changed(label) for label in labels))
    done = newest._replace(judged_at=now, answers=len(labels), changed=changed)
    teachers.save_round(connection, done)
    return labels


def _changed(label: Label) -> float:
    """Return how far an answer is from the first one; no valid answer is as far as can be."""
    return 1.0 if label.disagreement is None else label.disagreement


def _bet(
    connection: sa.Connection,
    standing: TeacherStanding,
    labels: list[Label],
    contract: QualityContract,
    settings: CanarySettings,
    now: float,
) -> tuple[Signal, ...]:
    """Bet that no more changed than does by chance; begin a generation where the bet is won.

    A round is one bet on all its answers: tickets that change easily change every time, so that
    a single one's chance is not the mean's, while the product over a round is (by the inequality
    of the arithmetic and the geometric mean).
    """
    named = (standing.name, standing.prompt_hash)
    if not labels or any((one.teacher, one.prompt_hash) != named for one in labels):
        return ()
    level = TeacherLevel(
        connection,
        "canary",
        standing.generation,
        contract=contract,
        tolerance=settings.noise,
        subject=f"answers of the teacher {standing.name} that changed although its name did not",
    )
    found = level.update([plain([_changed(one) for one in labels], at=now)], now)
    if level.paged:
        _change_in_silence(connection, standing, now)
    return found


def _change_in_silence(connection: sa.Connection, standing: TeacherStanding, now: float) -> None:
    revision = standing.revision + 1
    teachers.save(
        connection,
        TeacherStanding(
            generation=generation_of(standing.name, standing.prompt_hash, revision),
            name=standing.name,
            prompt_hash=standing.prompt_hash,
            revision=revision,
            since=now,
            follows=standing.generation,
            change="silent",
            tolerance=standing.tolerance,
        ),
    )
