"""The teacher on probation: draw its answers for people, count theirs, ask its canaries again.

`watch` is called by the evaluator, in the transaction in which it judges windows: what is drawn
from them, what people's answers came to and what the audit made of those stand or fall together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import sqlalchemy as sa

from monitor.canaries import CanarySettings
from monitor.comparators import Comparator
from monitor.estimation.gold import Agreement, Checked, audit_score
from monitor.estimation.standing import weigh
from monitor.gold import GoldSettings, gold_probability
from monitor.loops import canaries
from monitor.loops.teacher_level import TeacherLevel
from monitor.sampling import draw
from monitor.store import evaluation, gold, teachers
from monitor.store.gold import Arrived, Draw, Labelled
from schemas.contract import QualityContract
from schemas.signals import Signal
from schemas.teachers import TeacherStanding, generation_of

#: name of the number that says up to which window labels were drawn from
_DRAWN_UNTIL: Final = "gold_drawn_until"


class TeachingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the teacher is watched."""

    #: secret of the draw
    salt: str
    #: the rate at which tickets are labelled: a scale for the audit
    random_rate: float
    #: how one answer is held against another
    compare: Comparator
    gold: GoldSettings = GoldSettings()
    canaries: CanarySettings = CanarySettings()


class Taught(NamedTuple):
    """What one look came to."""

    signals: tuple[Signal, ...] = ()
    #: by student, in the order of people's answers: 1 where it was right
    correct: Mapping[str, list[float]] = {}
    #: its canaries have answered: whether it changed is known better now
    canaries_answered: bool = False


def teacher_generation(connection: sa.Connection) -> str:
    """Return the name of the teacher's generation: with another one, detectors begin anew."""
    standing = teachers.standing(connection)
    return "" if standing is None else standing.generation


def watch(
    connection: sa.Connection,
    *,
    judged_until: float,
    contract: QualityContract,
    settings: TeachingSettings,
    now: float,
) -> Taught:
    """Take what is new of the teacher's labels and of people's answers to them.

    Parameters
    ----------
    judged_until: start of the newest window that was judged; labels of those are settled.
    now: seconds UTC.
    """
    labels = _settled(connection, judged_until)
    standing = _teacher_of_now(connection, labels, now)
    if standing is None:
        return Taught()
    _draw(connection, standing, labels, settings, now)
    answers = _take_answers(connection, settings, now)
    audit = _audit(connection, standing, answers, contract, settings, now)
    if labels or answers or standing.tolerance != contract.teacher_tolerance:
        _weigh(connection, standing, contract, settings, now=now, alarmed=audit.alarmed)
    told = canaries.watch(connection, standing, contract, settings.canaries, now)
    correct: dict[str, list[float]] = defaultdict(list)
    for one in answers:
        correct[one.arrived.draw.model].append(1.0 - one.checked.student)
    return Taught((*audit.signals, *told.signals), dict(correct), told.answered)


def doubt(connection: sa.Connection, now: float) -> None:
    """Have the teacher of now prove that it did not change, as a student was found out of bounds."""
    canaries.ask_in_doubt(connection, teacher_generation(connection), now)


# --- who the teacher is ------------------------------------------------------------------------


def _settled(connection: sa.Connection, until: float) -> list[Labelled]:
    after = evaluation.number(connection, _DRAWN_UNTIL, float("-inf"))
    if until <= after:
        return []
    evaluation.set_number(connection, _DRAWN_UNTIL, until)
    return gold.labelled(connection, after=after, until=until)


def _teacher_of_now(
    connection: sa.Connection, labels: Sequence[Labelled], now: float
) -> TeacherStanding | None:
    """Return the teacher's standing: a new generation's, where the newest label is another's."""
    standing = teachers.standing(connection)
    if not labels:
        return standing
    newest = labels[-1].label
    if standing is not None and (_by(standing, labels[-1]) or newest.at <= standing.since):
        return standing
    new = TeacherStanding(
        generation=generation_of(newest.teacher, newest.prompt_hash, 0),
        name=newest.teacher,
        prompt_hash=newest.prompt_hash,
        since=newest.at,
    )
    if standing is None:
        new = msgspec.structs.replace(new, since=labels[0].label.at)
    else:
        # one that comes back goes on with what people said of it
        known = [one for one in teachers.standings(connection) if _by(one, labels[-1])]
        new = msgspec.structs.replace(
            known[-1] if known else new,
            since=newest.at,
            follows=standing.generation,
            change="named",
        )
        canaries.ask(connection, standing.generation, now)
    teachers.save(connection, new)
    return new


def _by(standing: TeacherStanding, one: Labelled) -> bool:
    return (standing.name, standing.prompt_hash) == (one.label.teacher, one.label.prompt_hash)


# --- the draw ----------------------------------------------------------------------------------


def _draw(
    connection: sa.Connection,
    standing: TeacherStanding,
    labels: Sequence[Labelled],
    settings: TeachingSettings,
    now: float,
) -> None:
    """Draw settled labels for people, and add all of them to the sums that they stand for."""
    by_model: dict[str, list[Labelled]] = defaultdict(list)
    draws = []
    for one in labels:
        if _by(standing, one) and one.label.at >= standing.since:
            by_model[one.sample.model].append(one)
            draws.append(_as_draw(one, standing, settings.gold.rate, now))
    for model, part in by_model.items():
        sums = Agreement.of([(one.loss, one.probability) for one in part])
        gold.add_agreement(connection, standing.generation, model, sums)
    gold.add_draws(
        connection,
        [d for d in draws if draw(settings.salt, "gold", d.ticket_id) < d.gold_probability],
    )


def _as_draw(one: Labelled, standing: TeacherStanding, rate: float, now: float) -> Draw:
    return Draw(
        ticket_id=one.sample.ticket_id,
        at=one.sample.at,
        drawn_at=now,
        teacher=standing.generation,
        model=one.sample.model,
        inclusion_probability=one.probability,
        gold_probability=gold_probability(rate, one.loss),
        disagreement=one.loss,
    )


# --- people's answers --------------------------------------------------------------------------


class _Answer(NamedTuple):
    """A drawn ticket that a person answered now."""

    arrived: Arrived
    checked: Checked


def _take_answers(
    connection: sa.Connection, settings: TeachingSettings, now: float
) -> list[_Answer]:
    answers = [
        _Answer(one, _check(one, settings.compare))
        for one in gold.arrived(connection, drawn_after=settings.gold.since(now))
    ]
    gold.record(connection, answers)
    return answers


def _check(one: Arrived, compare: Comparator) -> Checked:
    truth = one.student if one.gold.accepted else one.gold.output or ""
    return Checked(
        weight=1 / (one.draw.inclusion_probability * one.draw.gold_probability),
        disagreement=one.draw.disagreement,
        student=compare(one.student, truth),
        teacher=compare(one.teacher, truth),
    )


# --- the audit ---------------------------------------------------------------------------------


class _Audit(NamedTuple):
    """The teacher's alarm after this turn, and what it found in it."""

    signals: tuple[Signal, ...]
    alarmed: bool


def _audit(
    connection: sa.Connection,
    standing: TeacherStanding,
    answers: Sequence[_Answer],
    contract: QualityContract,
    settings: TeachingSettings,
    now: float,
) -> _Audit:
    """Bet on the teacher's losses: of new answers; under terms that are new, of all of them."""
    tolerance = contract.teacher_tolerance
    if tolerance is None:
        return _Audit((), alarmed=False)
    level = TeacherLevel(
        connection,
        "teacher_error",
        standing.generation,
        contract=contract,
        tolerance=tolerance,
        subject=f"errors of the teacher {standing.name} by people's answers",
    )
    fresh = [a.checked for a in answers if a.arrived.draw.teacher == standing.generation]
    if level.new:
        fresh = gold.checked(connection, standing.generation)
    # nobody is drawn at a rate of 0, but answers of before may still come
    typical = settings.random_rate * (settings.gold.rate or 1.0)
    scores = [
        audit_score(1 / row.weight, row.teacher, tolerance=tolerance, typical=typical, at=now)
        for row in fresh
    ]
    return _Audit(level.update(scores, now), alarmed=level.paged)


def _weigh(
    connection: sa.Connection,
    standing: TeacherStanding,
    contract: QualityContract,
    settings: TeachingSettings,
    *,
    now: float,
    alarmed: bool,
) -> None:
    """Write how the teacher stands, where that has changed."""
    generation = standing.generation
    found = weigh(
        standing,
        checked=gold.checked(connection, generation),
        labels=gold.agreement(connection, generation),
        asked=gold.counts(connection, generation, drawn_after=settings.gold.since(now)),
        volunteered=gold.volunteered(connection, standing.since),
        tolerance=contract.teacher_tolerance,
        alarmed=alarmed,
    )
    if found != standing:
        teachers.save(connection, found)
