"""Rules about the students: their quality, their retraining, and who serves."""

from __future__ import annotations

from collections.abc import Iterator

from monitor.alerts.figures import duration, short, utc
from monitor.alerts.hysteresis import firing
from monitor.alerts.situation import ChampionChange, Quality, Situation
from monitor.estimation.wording import bounds, number, percent
from schemas.alerts import Alert, Condition
from schemas.runs import Run
from schemas.signals import Severity, Signal

#: labels of a new student without which nobody should say that quality came back
ENOUGH_LABELS = 100
#: periods of the cadence after which a missing retraining is looked at, and wakes a person
LATE, TOO_LATE = 1.25, 2.0


def quality_out_of_bounds(situation: Situation) -> Iterator[Condition]:
    """The level detector of the serving student is latched, or its successor is unproven.

    A new student clears the findings, not the doubt: the alert goes on as "recovering" until
    `ENOUGH_LABELS` labels of the new one put its disagreement back within the tolerance.
    """
    name = "QualityOutOfBounds"
    findings = _newest(situation, "page")
    for segment, signal in findings.items():
        labels = _labels(situation, segment)
        alert = firing(situation, name, labels)
        since = signal.at if alert is None else alert.condition.since
        yield _out_of_bounds(situation, name, signal, labels, since)
    for alert in situation.firing:
        segment = alert.condition.labels.get("segment", "")
        waits = alert.condition.name == name and segment not in findings
        if waits and not _back_within(situation, segment):
            yield _recovering(situation, alert, segment)


def quality_warning(situation: Situation) -> Iterator[Condition]:
    """The level detector has gathered evidence, though not enough to wake a person."""
    for segment, signal in _newest(situation, "warn").items():
        yield Condition(
            name="QualityWarning",
            severity="warn",
            labels=_labels(situation, segment),
            since=signal.at,
            summary=f"{_traffic(segment)}: {signal.words}. {_newest_estimate(situation, segment)}",
            proctord_does=f"Goes on watching {_student(situation)}; pages as soon as the evidence "
            "is as strong as the contract asks of a page.",
            you_do="Nothing tonight. By daylight, see whether new products, words or customers "
            "explain it, and whether labels for a retraining are there.",
        )


def retraining_failed(situation: Situation) -> Iterator[Condition]:
    """The run that finished last broke before it had a verdict."""
    run = _fruitless(situation, "failed")
    if run is not None:
        yield Condition(
            name="RetrainingFailed",
            severity=urgency(situation),
            labels={"lane": situation.lane},
            since=run.updated_at,
            summary=f"run {run.run_id} failed after {_attempts(run)}: {run.failure or 'unknown'}. "
            f"It was asked for because: {run.reason}",
            proctord_does=f"{_student(situation)} serves on, unchanged. {_mending(situation)}",
            you_do="Read the run's output, mend the cause, then ask for a retraining.",
        )


def challenger_rejected(situation: Situation) -> Iterator[Condition]:
    """A challenger was trained and the gates did not let it through."""
    run = _fruitless(situation, "rejected")
    if run is not None:
        verdict = run.verdict.reason if run.verdict is not None else run.failure
        yield Condition(
            name="ChallengerRejected",
            severity=urgency(situation),
            labels={"lane": situation.lane},
            since=run.updated_at,
            summary=f"run {run.run_id}: the challenger was not let through: {verdict}",
            proctord_does=f"{_student(situation)} serves on, unchanged. {_mending(situation)}",
            you_do="Look at the gates' figures: more labels of the traffic that moved, or a "
            "larger student, may be what is missing.",
        )


def retraining_overdue(situation: Situation) -> Iterator[Condition]:
    """The cadence promised a retraining and none has succeeded for too long."""
    period = situation.cadence_seconds
    last = situation.last_success_at
    last = situation.champion_since if last is None else last
    age = situation.now - last
    if not situation.champion or period <= 0 or age < LATE * period:
        return
    yield Condition(
        name="RetrainingOverdue",
        severity="page" if age >= TOO_LATE * period else "warn",
        labels={"lane": situation.lane},
        since=last + LATE * period,
        summary=f"no retraining has succeeded for {duration(age)}, since {utc(last)}; the "
        f"cadence is {duration(period)}",
        proctord_does=_mending(situation),
        you_do="See why runs do not start or do not succeed; ask for one when the cause is gone.",
    )


def student_promoted(situation: Situation) -> Iterator[Condition]:
    """A new student serves: news."""
    for change in situation.champion_changes:
        if change.kind == "promoted":
            yield _news(
                situation,
                change,
                name="StudentPromoted",
                severity="info",
                you_do="Nothing. Should it do harm, the command below brings the last one back.",
            )


def student_rolled_back(situation: Situation) -> Iterator[Condition]:
    """The student before the last serves again: news that somebody should look into."""
    for change in situation.champion_changes:
        if change.kind == "rolled_back":
            yield _news(
                situation,
                change,
                name="StudentRolledBack",
                severity="warn",
                you_do="Find out what the gates did not see before the next promotion.",
            )


def quality_is_back(situation: Situation, condition: Condition) -> str:
    """Say what ended QualityOutOfBounds: labels of the student that serves now."""
    return _ended(situation, condition, "back within what was accepted")


def quality_warning_is_over(situation: Situation, condition: Condition) -> str:
    """Say what ended QualityWarning: its evidence was of another student, or another contract."""
    why = "it is judged by another contract from now on"
    if situation.champion_since > condition.since:
        why = "the evidence was against the student that served before"
    return _ended(situation, condition, why)


# --- words -----------------------------------------------------------------------------------


def _ended(situation: Situation, condition: Condition, why: str) -> str:
    segment = condition.labels.get("segment", "")
    return (
        f"{_traffic(segment)}: over, {why}. {_student(situation)} serves{_since_when(situation)}. "
        f"{_newest_estimate(situation, segment)}"
    )


def _out_of_bounds(
    situation: Situation, name: str, signal: Signal, labels: dict[str, str], since: float
) -> Condition:
    return Condition(
        name=name,
        severity="page",
        labels=labels,
        since=since,
        summary=f"{_traffic(signal.segment)}: {signal.words}. "
        f"{_newest_estimate(situation, signal.segment)}",
        proctord_does=f"{_student(situation)} serves on. {_mending(situation)}",
        you_do="If a retraining is under way, wait for its verdict. If not, the reason above "
        "says what is missing. If customers are harmed now, send this traffic to the teacher.",
    )


def _recovering(situation: Situation, alert: Alert, segment: str) -> Condition:
    return Condition(
        name=alert.condition.name,
        severity="page",
        labels=alert.condition.labels,
        since=alert.condition.since,
        summary=f"{_traffic(segment)}: recovering. {_student(situation)} serves"
        f"{_since_when(situation)}. {_newest_estimate(situation, segment)}",
        proctord_does=f"Resolves this when {ENOUGH_LABELS} labels of the serving student put its "
        "disagreement within the tolerance; pages again at once if its detector latches.",
        you_do="Wait for the labels. If none arrive, the teacher or its budget is the cause.",
    )


def _news(
    situation: Situation, change: ChampionChange, *, name: str, severity: Severity, you_do: str
) -> Condition:
    before = f" in place of {short(change.previous)}" if change.previous else ""
    return Condition(
        name=name,
        severity=severity,
        labels={"lane": situation.lane, "version": str(change.version)},
        since=change.at,
        summary=f"student {short(change.artefact_id)} serves{before}. "
        f"By {change.actor}: {change.reason}",
        proctord_does="Watches it as a new generation: its evidence starts from nothing.",
        you_do=you_do,
        momentary=True,
    )


def _mending(situation: Situation) -> str:
    """What retraining does about it, in the policy's own words."""
    run, decision = situation.run, situation.decision
    if run is not None:
        return f"Run {run.run_id} is {run.state} since {utc(run.updated_at)}: {run.reason}."
    if decision is None:
        return "The retraining policy has not spoken yet."
    return f"Last decision, {utc(decision.at)}: {decision.action} ({decision.rule}): {decision.reason}."


def _newest_estimate(situation: Situation, segment: str) -> str:
    quality = _quality(situation, segment)
    if quality is None:
        return "There are no labels of the serving student yet."
    if quality.labels < ENOUGH_LABELS:
        return f"Not enough labels yet: {quality.labels} of {ENOUGH_LABELS}."
    return (
        f"Newest estimate: {bounds(quality.disagreement, 'one look')} of {number(quality.labels)} labels; "
        f"{percent(quality.tolerance)} is accepted."
    )


def _traffic(segment: str) -> str:
    return "all traffic" if segment == "*" else f"traffic of {segment}"


def _student(situation: Situation) -> str:
    return f"Student {short(situation.champion)}" if situation.champion else "No student"


def _since_when(situation: Situation) -> str:
    return f" since {utc(situation.champion_since)}" if situation.champion_since else ""


def _attempts(run: Run) -> str:
    return "1 attempt" if run.attempts == 1 else f"{run.attempts} attempts"


# --- facts -----------------------------------------------------------------------------------


def _newest(situation: Situation, severity: Severity) -> dict[str, Signal]:
    """The newest finding about the disagreement of each segment; of the same time, the last."""
    found = sorted(
        (s for s in situation.signals if s.severity == severity and s.metric == "disagreement"),
        key=lambda s: (s.segment, s.at),
    )
    return {signal.segment: signal for signal in found}


def _labels(situation: Situation, segment: str) -> dict[str, str]:
    return {"lane": situation.lane, "segment": segment}


def _quality(situation: Situation, segment: str) -> Quality | None:
    """The newest estimate of the student that serves now: its forerunner's says nothing of it."""
    for quality in situation.quality:
        if quality.segment == segment and quality.model == situation.champion:
            return quality
    return None


def _back_within(situation: Situation, segment: str) -> bool:
    quality = _quality(situation, segment)
    if quality is None or quality.labels < ENOUGH_LABELS:
        return False
    return quality.disagreement.estimate <= quality.tolerance


def _fruitless(situation: Situation, state: str) -> Run | None:
    """The last run, if it ended so and the champion was not changed after it."""
    run = situation.last_run
    if run is None or run.state != state or run.updated_at <= situation.champion_since:
        return None
    return run


def urgency(situation: Situation) -> Severity:
    """What keeps proctord from mending wakes a person only while customers need it."""
    return "page" if any(s.severity == "page" for s in situation.signals) else "warn"
