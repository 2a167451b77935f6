"""When the student learns again: a situation and the time in, a decision with its reason out.

The rules stand in `RULES`, in the order in which they are asked; the first that speaks decides.
Nothing here reads a clock or the journal, so a decision can be derived again from its situation.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from schemas.acceptance import Standing
from schemas.contract import QualityContract
from schemas.decisions import Action, Decision, Rule
from schemas.runs import Run
from schemas.signals import Signal
from schemas.teachers import UNKNOWN, TeacherStanding


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A person asks for a retraining now."""

    actor: str
    reason: str


class Probation(msgspec.Struct, frozen=True, kw_only=True):
    """The first labels of a champion that a run promoted; its predecessor stands ready."""

    #: the artefact that served before
    previous: str
    #: random labels of the new champion so far, and how many the probation lasts
    labels: int
    limit: int
    #: the predecessor's mean disagreement over its last random labels; None: it had none
    previous_loss: float | None
    #: how many labels that is the mean of
    previous_labels: int


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """All that the policy looks at, gathered in one read of the journal."""

    lane: str
    #: the artefact that serves, "" for none
    champion: str = ""
    #: the champion's newest page of the level detector under this contract, however old: a page
    #: stands until another student serves
    level: Signal | None = None
    #: the champion's newest change of disagreement since the last run was asked for
    change: Signal | None = None
    live_run: Run | None = None
    #: the run that ended last
    last_run: Run | None = None
    #: from when the cadence counts, seconds UTC: the newest of the champion's start and the
    #: last run that got a verdict
    cadence_from: float = 0.0
    #: labelled rows: all, and those that came since the last run that got a verdict and, where
    #: there is a finding, of tickets that were asked after it
    labels: int = 0
    new_labels: int = 0
    request: Request | None = None
    #: where the contract stands; None: nobody asked, as in a replay of history
    standing: Standing | None = None
    #: how the teacher stands, whose answers a student learns
    teacher: TeacherStanding = UNKNOWN
    #: None: past its probation, not promoted by a run, or nothing to go back to
    probation: Probation | None = None


def decide(situation: Situation, contract: QualityContract, now: float) -> Decision:
    """Choose between holding, retraining and rolling back.

    >>> contract = QualityContract(tolerance=0.1)
    >>> decide(Situation(lane="default"), contract, now=0.0).rule
    'no_champion'
    """
    decisions = (rule(situation, contract, now) for rule in RULES)
    decision = next((d for d in decisions if d is not None), None)
    if decision is None:
        return _within_bounds(situation, contract, now)
    return _from_such_a_teacher(situation, decision)


def _from_such_a_teacher(s: Situation, decision: Decision) -> Decision:
    """Start no run from a teacher out of its bounds, whoever asks; say where one is unverified."""
    if decision.action != "retrain" or s.teacher.verified:
        return decision
    if s.teacher.state == "out":
        reason = (
            f"no student learns from a teacher out of its bounds: {s.teacher.reason}. Next: "
            f"{s.teacher.next_step}. Without this: {decision.reason}"
        )
        return _decision(s, decision.at, "hold", "teacher_out_of_bounds", reason)
    reason = (
        f"{decision.reason}; the teacher is not verified, so that a challenger will wait for a "
        f"person: {s.teacher.reason}"
    )
    return msgspec.structs.replace(decision, reason=reason)


def _probation_breach(s: Situation, _contract: QualityContract, now: float) -> Decision | None:
    # Asked before everything else, a run under way included: going back costs no training and
    # ends the harm at once.
    probation, level = s.probation, s.level
    if probation is None or level is None or level.interval is None:
        return None
    worse = level.interval.estimate
    if probation.previous_loss is None or worse <= probation.previous_loss:
        return None  # the predecessor was no better: only learning helps
    reason = (
        f"champion {_short(s.champion)} disagrees with the teacher in {worse:.1%} of its tickets "
        f"(95 % interval {level.interval.lower:.1%} to {level.interval.upper:.1%}, any number of "
        f"looks), its predecessor {_short(probation.previous)} in {_predecessor(probation)}, after "
        f"{probation.labels} of the {probation.limit} labels of its probation: {level.sentence}"
    )
    figures = {"disagreement": worse, "previous": probation.previous_loss}
    return _decision(s, now, "rollback", "probation_breach", reason, figures)


def _run_active(s: Situation, _contract: QualityContract, now: float) -> Decision | None:
    run = s.live_run
    if run is None:
        return None
    reason = f"run {run.run_id} is {run.state}, asked for {_span(now - run.requested_at)} ago"
    return _decision(s, now, "hold", "run_active", reason)


def _operator(s: Situation, _contract: QualityContract, now: float) -> Decision | None:
    if s.request is None:
        return None
    if s.labels == 0:
        reason = f"{s.request.actor} asks for a run, but there is not one labelled ticket yet"
        return _decision(s, now, "hold", "too_few_labels", reason, {"new_labels": 0.0})
    reason = f"{s.request.actor} asks for it: {s.request.reason}"
    figures = {"new_labels": float(s.new_labels), "labels": float(s.labels)}
    return _decision(s, now, "retrain", "operator", reason, figures)


def _not_in_force(s: Situation, _contract: QualityContract, now: float) -> Decision | None:
    # One challenger that waits for a person is enough: another run would only wait beside it.
    run, standing = s.last_run, s.standing
    if run is None or run.state != "held" or run.challenger == s.champion:
        return None
    if standing is None or standing.in_force:
        return None
    reason = (
        f"challenger {_short(run.challenger)} of run {run.run_id} passed its gates and waits for "
        f"a person: {standing.reason}"
    )
    return _decision(s, now, "hold", "not_in_force", reason)


def _teacher_unverified(s: Situation, _contract: QualityContract, now: float) -> Decision | None:
    run = s.last_run
    if run is None or run.state != "held" or run.challenger == s.champion or s.teacher.verified:
        return None
    reason = (
        f"challenger {_short(run.challenger)} of run {run.run_id} passed its gates and waits for "
        f"a person: {s.teacher.reason}"
    )
    return _decision(s, now, "hold", "teacher_unverified", reason)


def _no_champion(s: Situation, _contract: QualityContract, now: float) -> Decision | None:
    if s.champion:
        return None
    reason = f"no champion serves lane {s.lane}: a person asks for the first run"
    return _decision(s, now, "hold", "no_champion", reason, {"labels": float(s.labels)})


def _cool_down(s: Situation, contract: QualityContract, now: float) -> Decision | None:
    run = s.last_run
    if run is None or now >= run.updated_at + contract.cool_down_seconds:
        return None
    left = run.updated_at + contract.cool_down_seconds - now
    reason = (
        f"run {run.run_id} ended as {run.state} {_span(now - run.updated_at)} ago: cooling down "
        f"for another {_span(left)}"
    )
    return _decision(s, now, "hold", "cool_down", reason)


def _level(s: Situation, contract: QualityContract, now: float) -> Decision | None:
    if s.level is None:
        return None
    return _if_enough_labels(s, contract, now, "level", s.level.sentence)


def _change(s: Situation, contract: QualityContract, now: float) -> Decision | None:
    if s.change is None:
        return None
    return _if_enough_labels(s, contract, now, "change", s.change.sentence)


def _cadence(s: Situation, contract: QualityContract, now: float) -> Decision | None:
    due = s.cadence_from + contract.cadence_seconds
    if contract.cadence_seconds == 0 or now < due:
        return None
    because = (
        f"the lane learned {_span(now - s.cadence_from)} ago, the cadence is "
        f"{_span(contract.cadence_seconds)}"
    )
    decision = _if_enough_labels(s, contract, now, "cadence", because)
    # the due time names what a process claims before it starts a run for the cadence
    return msgspec.structs.replace(decision, figures={**decision.figures, "due_at": due})


def _within_bounds(s: Situation, contract: QualityContract, now: float) -> Decision:
    reason = f"no signal stands against champion {_short(s.champion)}"
    if contract.cadence_seconds > 0:
        left = s.cadence_from + contract.cadence_seconds - now
        reason += f"; the cadence is due in {_span(left)}"
    return _decision(s, now, "hold", "within_bounds", reason, {"new_labels": float(s.new_labels)})


Ask = Callable[[Situation, QualityContract, float], Decision | None]

#: asked from top to bottom
RULES: tuple[Ask, ...] = (
    _probation_breach,
    _run_active,
    _operator,
    _not_in_force,
    _teacher_unverified,
    _no_champion,
    _cool_down,
    _level,
    _change,
    _cadence,
)


def _if_enough_labels(
    s: Situation, contract: QualityContract, now: float, rule: Rule, because: str
) -> Decision:
    figures = {"new_labels": float(s.new_labels), "min_new_labels": float(contract.min_new_labels)}
    missing = contract.min_new_labels - s.new_labels
    if missing > 0:
        reason = (
            f"{because}; but only {s.new_labels} labels are new, {missing} of the "
            f"{contract.min_new_labels} that a run needs are missing"
        )
        return _decision(s, now, "hold", "too_few_labels", reason, figures)
    reason = f"{because}; {s.new_labels} labels are new"
    return _decision(s, now, "retrain", rule, reason, figures)


def _decision(
    s: Situation,
    now: float,
    action: Action,
    rule: Rule,
    reason: str,
    figures: dict[str, float] | None = None,
) -> Decision:
    return Decision(
        at=now, lane=s.lane, action=action, rule=rule, reason=reason, figures=figures or {}
    )


def _predecessor(probation: Probation) -> str:
    """Say how often a predecessor disagreed, with its interval.

    Wilson's score interval (1927): wide enough for graded losses too, whose variance is no larger
    than that of losses 0 and 1 with the same mean.
    """
    mean, n, z = probation.previous_loss or 0.0, probation.previous_labels, 1.959964
    centre = (mean + z * z / (2 * n)) / (1 + z * z / n)
    reach = z * math.sqrt(mean * (1 - mean) / n + (z / (2 * n)) ** 2) / (1 + z * z / n)
    lower, upper = max(0.0, centre - reach), min(1.0, centre + reach)
    return f"{mean:.1%} (95 % interval {lower:.1%} to {upper:.1%}, one look at its last {n} labels)"


def _short(artefact_id: str) -> str:
    return artefact_id[:12]


def _span(seconds: float) -> str:
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{max(seconds, 0.0):.0f} s"
