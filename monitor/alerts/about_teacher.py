"""Rules about the teacher's answers: how good they are, whether it is still the same one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from monitor.alerts.about_contract import waiting
from monitor.alerts.about_students import urgency
from monitor.alerts.figures import plain
from monitor.alerts.hysteresis import since
from monitor.alerts.situation import Situation
from monitor.estimation.gold import MIN_GOLD
from schemas.alerts import Condition
from schemas.teachers import UNKNOWN, TeacherStanding

DAY: Final = 86400.0
#: how long after its first label a teacher may stay unverified before people are told, seconds
PATIENCE: Final = 7 * DAY


def teacher_out_of_bounds(situation: Situation) -> Iterator[Condition]:
    """People find more errors of the teacher than were accepted: its audit alarm is latched."""
    standing, name = situation.standing, "TeacherOutOfBounds"
    if standing is None or standing.state != "out":
        return
    labels = _labels(standing)
    yield Condition(
        name=name,
        severity="page",
        labels=labels,
        since=since(situation, name, labels),
        summary=f"{_named(standing)}: {standing.reason}{waiting(situation)}",
        proctord_does="Starts no retraining and promotes no student until another teacher, or "
        "another prompt, is verified. It goes on measuring: agreement with this teacher says "
        "little of what customers get.",
        you_do=f"Look at what people corrected, then {standing.next_step}.",
    )


def teacher_unverified(situation: Situation) -> Iterator[Condition]:
    """Too few people have checked the teacher's answers, or what they found does not speak for it.

    Told at once where a challenger waits because of it, else after `PATIENCE`. Where nobody
    accepted a tolerance of the teacher's, only a challenger that waits is worth telling.
    """
    standing, name = situation.standing or UNKNOWN, "TeacherUnverified"
    waits = waiting(situation)
    old = standing.tolerance is not None and situation.now - standing.since >= PATIENCE
    if standing.verified or standing.state == "out" or not (waits or old):
        return
    labels = _labels(standing)
    yield Condition(
        name=name,
        severity=urgency(situation) if waits else "warn",
        labels=labels,
        since=since(situation, name, labels),
        summary=f"{_named(standing)}: {standing.reason}{waits}",
        proctord_does="Watches and retrains by its answers all the same. It promotes no student "
        "by itself: one that passes its gates is held for a person.",
        you_do=f"Next: {standing.next_step}.",
    )


def teacher_changed(situation: Situation) -> Iterator[Condition]:
    """Another teacher answers: by its name or prompt, or, without a word, by its answers.

    A change that nobody announced is told of until people have checked the new one.
    """
    standing = situation.standing
    if standing is None or not standing.change:
        return
    silent = standing.change == "silent"
    if standing.answered >= MIN_GOLD if silent else situation.now - standing.since > DAY:
        return
    how = (
        "another model answers under the same name and prompt"
        if silent
        else f"it took over from generation {standing.follows}"
    )
    yield Condition(
        name="TeacherChanged",
        severity="warn" if silent else "info",
        labels=_labels(standing),
        since=standing.since,
        summary=f"{_named(standing)}: {how}{_canaries(situation)}",
        proctord_does="Takes it for a new teacher: what people said of the last one, and evidence "
        "against students gathered with it, do not count. Its canaries are chosen anew.",
        you_do="Check tickets of `proctord gold list`; ask the provider what was changed."
        if silent
        else "Nothing, if this was agreed. Check tickets of `proctord gold list`.",
        momentary=not silent,
    )


# --- words -----------------------------------------------------------------------------------


def _labels(standing: TeacherStanding) -> dict[str, str]:
    return {"generation": standing.generation}


def _named(standing: TeacherStanding) -> str:
    if not standing.name:
        return "teacher"
    prompt = f", prompt {standing.prompt_hash}" if standing.prompt_hash else ""
    return f"teacher {plain(standing.name)}{prompt}"


def _canaries(situation: Situation) -> str:
    found = situation.canaries
    if found is None or not found.answers:
        return ""
    return f". {found.changed} of {found.answers} tickets asked again got another answer"
