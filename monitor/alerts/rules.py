"""The alerts, one line each: which rule sees it, how long it must last, who mutes it.

To add one: a function in `about_students` or `about_service`, a line in `RULES`, a heading in
`deploy/RUNBOOK.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from monitor.alerts import about_contract as contract
from monitor.alerts import about_inputs as inputs
from monitor.alerts import about_service as service
from monitor.alerts import about_students as students
from monitor.alerts import about_teacher as teacher
from monitor.alerts.situation import Situation
from schemas.alerts import Condition


def over(_situation: Situation, condition: Condition) -> str:
    """Say that an alert has ended, where nothing more is known of its end."""
    return f"no longer the case. It was: {condition.summary}"


class Rule(NamedTuple):
    """One kind of alert."""

    name: str
    find: Callable[[Situation], Iterable[Condition]]
    #: what to paste next
    commands: tuple[str, ...]
    #: seconds that it must have been seen before people are told
    hold: float = 0.0
    #: seconds that it must be gone before it is resolved
    keep: float = 0.0
    #: the alert that mutes this one while it fires, and labels that must be equal for that
    muted_by: str = ""
    equal: tuple[str, ...] = ()
    #: says what ended it, with the figures of the end
    closing: Callable[[Situation, Condition], str] = over


RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "QualityOutOfBounds",
        students.quality_out_of_bounds,
        ("proctord status", "proctord retrain --dry-run", "proctord alerts"),
        closing=students.quality_is_back,
    ),
    Rule(
        "QualityWarning",
        students.quality_warning,
        ("proctord status", "proctord alerts"),
        muted_by="QualityOutOfBounds",
        equal=("lane", "segment"),
        closing=students.quality_warning_is_over,
    ),
    Rule(
        "InputsDrifted",
        inputs.inputs_drifted,
        ("proctord status", "proctord retrain --dry-run"),
    ),
    Rule(
        "RetrainingFailed",
        students.retraining_failed,
        ("proctord status", "proctord retrain --dry-run"),
    ),
    Rule(
        "ChallengerRejected",
        students.challenger_rejected,
        ("proctord models", "proctord retrain --dry-run"),
    ),
    Rule(
        "RetrainingOverdue",
        students.retraining_overdue,
        ("proctord retrain --dry-run", "proctord status"),
    ),
    Rule(
        "TeacherUnavailable",
        service.teacher_unavailable,
        ("proctord doctor", "proctord status"),
        hold=120.0,
        keep=120.0,
    ),
    Rule(
        "TeacherAbstains",
        service.teacher_abstains,
        ("proctord status",),
        hold=600.0,
        keep=300.0,
        muted_by="TeacherUnavailable",
    ),
    Rule(
        "TeacherBudgetLow",
        service.teacher_budget_low,
        ("proctord status",),
        muted_by="TeacherBudgetSpent",
    ),
    Rule("TeacherBudgetSpent", service.teacher_budget_spent, ("proctord status",)),
    Rule(
        "TeacherOutOfBounds",
        teacher.teacher_out_of_bounds,
        ("proctord gold status", "proctord retrain --dry-run"),
    ),
    Rule(
        "TeacherUnverified",
        teacher.teacher_unverified,
        ("proctord gold status", "proctord gold list"),
    ),
    Rule(
        "TeacherChanged",
        teacher.teacher_changed,
        ("proctord gold status", "proctord gold list"),
    ),
    Rule(
        "DeadLettersHigh",
        service.dead_letters_high,
        ("proctord dlq list", "proctord status"),
        hold=60.0,
        keep=120.0,
    ),
    Rule(
        "ClockSkew",
        service.clock_skew,
        ("proctord status",),
        hold=60.0,
        keep=120.0,
    ),
    Rule(
        "AnswersMissing",
        service.answers_missing,
        ("proctord status",),
        hold=120.0,
        keep=120.0,
        muted_by="EventsStale",
    ),
    Rule(
        "EventsStale",
        service.events_stale,
        ("proctord status", "proctord doctor"),
        keep=120.0,
    ),
    Rule(
        "NotificationsFailing",
        service.notifications_failing,
        ("proctord alerts", "proctord doctor"),
    ),
    Rule(
        "StudentPromoted",
        students.student_promoted,
        ("proctord models", 'proctord rollback --reason "..."'),
    ),
    Rule(
        "StudentRolledBack",
        students.student_rolled_back,
        ("proctord models", "proctord status"),
    ),
    Rule(
        "ContractNotAccepted",
        contract.contract_not_accepted,
        ("proctord contract show", 'proctord contract accept --by NAME --reason "..."'),
    ),
    Rule(
        "ContractExpired",
        contract.contract_expired,
        ("proctord contract show", 'proctord contract accept --by NAME --reason "..."'),
    ),
    Rule(
        "ContractExpiring",
        contract.contract_expiring,
        ("proctord contract show",),
    ),
    Rule(
        "ContractChanged",
        contract.contract_changed,
        ("proctord contract show", "proctord audit"),
    ),
)

BY_NAME: Final[Mapping[str, Rule]] = MappingProxyType({rule.name: rule for rule in RULES})


def conditions(situation: Situation) -> list[Condition]:
    """Return everything that holds now, in the order of `RULES`, with the contract's name.

    >>> quiet = Situation(now=0.0, lane="intents", champion="", champion_since=0.0)
    >>> conditions(quiet)
    []
    """
    name = situation.contract.hash if situation.contract else ""
    found = (condition for rule in RULES for condition in rule.find(situation))
    return [msgspec.structs.replace(condition, contract=name) for condition in found]


def closing(situation: Situation, condition: Condition) -> str:
    """Return the last summary of an alert that has ended; also of one that no rule knows any more."""
    rule = BY_NAME.get(condition.name)
    return (rule.closing if rule else over)(situation, condition)
