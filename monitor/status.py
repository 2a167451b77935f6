"""What `proctord status` says: the journal's facts as one page of plain words."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from monitor.alerts.about_service import wrong_times
from monitor.alerts.figures import duration, named, utc
from monitor.alerts.situation import Situation
from monitor.estimation.quality import QualityEstimate
from monitor.estimation.wording import bounds, number, percent
from monitor.loops import situation
from monitor.sampling import SamplingPlan
from monitor.store import drifting, evaluation, planning, reading
from monitor.store.drifting import DriftReport
from schemas.acceptance import Standing, stand
from schemas.contract import QualityContract
from schemas.teachers import UNKNOWN, TeacherStanding


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The state of everything at one moment; `--json` prints it as it is."""

    #: seconds UTC
    at: float
    #: one sentence: how things are
    verdict: str
    champion: str
    champion_since: float
    quality: QualityEstimate | None
    #: how far the watch for drift is; None before it saw a window
    drift: DriftReport | None
    tolerance: float
    #: hash of the contract that everything is judged by, and whether somebody accepted it
    contract: str
    contract_standing: Standing
    #: how good the teacher's answers are, by people's
    teacher: TeacherStanding
    #: the alerts that fire: their names, and the traffic that they speak of
    firing: tuple[str, ...]
    #: the live run's id and state; ("", "") for none
    run: tuple[str, str]
    #: what the retraining policy said last, and why
    decision: str
    decided_at: float | None
    #: the pipeline's totals; samples by where they come from, and by state
    counters: dict[str, int]
    #: events of the last hour whose time cannot be right; "" for none
    clocks: str
    samples: dict[str, dict[str, int]]
    #: how much is asked of the teacher, and since when and why so much; "" before the first plan
    sampling: str
    #: the teacher's bill of today
    spent_usd: float
    cap_usd: float
    #: event time up to which windows are closed; None before the first event
    watermark: float | None
    behind: int


def gather(
    connection: sa.Connection,
    *,
    now: float,
    lane: str,
    contract: QualityContract,
    stale_after: float,
) -> Status:
    """Read the state of everything."""
    facts = situation.gather(
        connection, now=now, lane=lane, contract=contract, stale_after=stale_after
    )
    points = evaluation.estimates(connection, model=facts.champion, limit=1)
    quality = points[-1] if points else None
    return Status(
        at=now,
        verdict=_verdict(facts, quality),
        champion=facts.champion,
        champion_since=facts.champion_since,
        quality=quality,
        drift=drifting.report(connection),
        tolerance=contract.tolerance,
        contract=contract.hash,
        contract_standing=stand(contract, facts.accepted, now),
        teacher=facts.standing or UNKNOWN,
        firing=tuple(named(alert.condition) for alert in facts.firing),
        run=(facts.run.run_id, facts.run.state) if facts.run else ("", ""),
        decision=f"{facts.decision.action} ({facts.decision.rule}): {facts.decision.reason}"
        if facts.decision
        else "",
        decided_at=facts.decision.at if facts.decision else None,
        counters=reading.counters(connection),
        clocks=wrong_times(facts.traffic) if facts.traffic else "",
        samples=reading.samples(connection),
        sampling=_sampling(planning.newest(connection)),
        spent_usd=facts.budget.spent_usd if facts.budget else 0.0,
        cap_usd=contract.daily_teacher_usd,
        watermark=min((i.watermark for i in facts.intake if i.watermark), default=None),
        behind=sum(intake.behind for intake in facts.intake),
    )


def _verdict(facts: Situation, quality: QualityEstimate | None) -> str:
    if not facts.intake:
        return "No event was read yet."
    pages = [named(a.condition) for a in facts.firing if a.condition.severity == "page"]
    if pages:
        return f"Needs attention: {', '.join(pages)}."
    if not facts.champion:
        return "No student serves, or none was labelled yet."
    if quality is None or quality.n < 100:
        return "Watching; too few labels to say how the student does."
    warnings = [named(a.condition) for a in facts.firing if a.condition.severity == "warn"]
    if warnings:
        return f"No page; worth a look: {', '.join(warnings)}."
    return "Healthy: the disagreement gives no reason to doubt the student."


def rows(status: Status) -> list[tuple[str, str]]:
    """Return the page as (title, words), for a terminal."""
    return [
        ("now", status.verdict),
        ("student", _student(status)),
        ("quality", _quality(status)),
        ("inputs", _inputs(status.drift)),
        ("retraining", _retraining(status)),
        ("alerts", ", ".join(status.firing) or "none fires"),
        ("events", _events(status)),
        ("samples", _samples(status.samples)),
        ("sampling", status.sampling or "no plan yet"),
        ("teacher", f"${status.spent_usd:.4f} of ${status.cap_usd:.2f} spent today"),
        ("gold", f"{status.teacher.state}: {status.teacher.reason}"),
        (
            "contract",
            f"tolerance {percent(status.tolerance)}; {status.contract_standing.words}",
        ),
    ]


def _student(status: Status) -> str:
    if not status.champion:
        return "none"
    if not status.champion_since:
        return f"{status.champion[:12]}, not from proctord's registry"
    age = duration(max(0.0, status.at - status.champion_since))
    return f"{status.champion[:12]} since {utc(status.champion_since)} ({age})"


def _quality(status: Status) -> str:
    quality = status.quality
    if quality is None or quality.lifetime is None or quality.recent is None:
        return "no labels yet"
    return (
        f"{quality.state}: {bounds(quality.recent, 'one look')} of the last "
        f"{number(quality.recent_n)} labels; "
        f"{bounds(quality.lifetime, 'any number of looks')} of all {number(quality.n)}; "
        f"{percent(status.tolerance)} is accepted"
    )


def _inputs(drift: DriftReport | None) -> str:
    if drift is None:
        return "no window closed yet"
    said = [f"{name} drifted" for name in drift.drifted]
    unseen = [name for name, missing in drift.learning.items() if missing == drift.reference]
    learning = {name: n for name, n in drift.learning.items() if name not in unseen}
    if learning:
        missing = duration(max(learning.values()) * drift.slice_seconds)
        said.append(f"still learning {', '.join(learning)}: {missing} of traffic missing")
    if unseen:
        said.append(f"too little of {', '.join(unseen)} to compare")
    return "; ".join(said) or "as before"


def _retraining(status: Status) -> str:
    live = f"run {status.run[0]} is {status.run[1]}. " if status.run[0] else ""
    said = f"last decision: {status.decision}" if status.decision else "nothing decided yet"
    return live + said


def _events(status: Status) -> str:
    until = f"windows closed up to {utc(status.watermark)}" if status.watermark else "none yet"
    waiting = f", {status.behind} behind" if status.behind else ""
    clocks = f"; wrong times in the last hour: {status.clocks}" if status.clocks else ""
    return f"{_counts(status.counters)}; {until}{waiting}{clocks}"


def _samples(samples: dict[str, dict[str, int]]) -> str:
    return "; ".join(f"{origin}: {_counts(states)}" for origin, states in samples.items()) or "none"


def _sampling(plan: SamplingPlan | None) -> str:
    if plan is None:
        return ""
    rates = [f"{percent(plan.random_rate)} of the tickets"]
    rates += [f"{percent(rate)} of {name}" for name, rate in plan.segment_rates.items()]
    if plan.requested_rate:
        rates.append(f"{percent(plan.requested_rate)} more for a retraining")
    why = f": {plan.reason}" if plan.reason else ""
    return f"{', '.join(rates)}; plan {plan.version} since {utc(plan.at)}{why}"


def _counts(counted: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counted.items() if count) or "none"


def as_json(status: Status) -> dict[str, Any]:
    """Return the page for machines."""
    found: dict[str, Any] = msgspec.to_builtins(status)
    return found
