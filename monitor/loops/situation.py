"""Gather from the journal what the alert rules look at."""

from __future__ import annotations

import itertools
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa

from monitor.alerts.situation import (
    Budget,
    Canaries,
    ChampionChange,
    ContractChange,
    Deliveries,
    Intake,
    Quality,
    Situation,
    TeacherHealth,
    Traffic,
)
from monitor.store import drifting, evaluation, health, intake, labelling, notifying, teachers
from schemas import tables
from schemas.accepting import acceptances, last_acceptance
from schemas.contract import QualityContract
from schemas.decisions import Decision
from schemas.runs import LIVE_STATES, Run
from schemas.teachers import TeacherStanding

HOUR: Final = 3600.0
DAY: Final = 86400.0
#: how long a change of champion is news
NEWS_SECONDS: Final = DAY
#: acceptances of a contract that are told of at most
NEWS_ACCEPTANCES: Final = 20

_decode_run = msgspec.json.Decoder(Run).decode
_decode_decision = msgspec.json.Decoder(Decision).decode


class Serving(NamedTuple):
    """The student that serves: ("", 0) when nobody knows."""

    artefact_id: str
    since: float


def champion(connection: sa.Connection, lane: str) -> Serving:
    """Return the champion of the registry; without one, the student that answered last."""
    table = tables.champion
    row = connection.execute(
        sa.select(table.c.artefact_id, table.c.since)
        .where(table.c.lane == lane)
        .order_by(table.c.version.desc())
        .limit(1)
    ).one_or_none()
    if row is not None:
        return Serving(*row)
    last = evaluation.estimates(connection, limit=1)
    return Serving(last[-1].model, 0.0) if last else Serving("", 0.0)


def gather(
    connection: sa.Connection,
    *,
    now: float,
    lane: str,
    contract: QualityContract,
    stale_after: float,
) -> Situation:
    """Return the facts of this moment."""
    serving = champion(connection, lane)
    standing = teachers.standing(connection)
    return Situation(
        now=now,
        lane=lane,
        champion=serving.artefact_id,
        champion_since=serving.since,
        firing=tuple(notifying.firing(connection)),
        signals=tuple(
            signal
            for signal in evaluation.signals(connection, model=serving.artefact_id)
            if signal.severity != "info"
            and signal.detector != "drift"
            and signal.contract == contract.hash
        ),
        drifts=drifting.standing(connection),
        quality=_quality(connection, serving.artefact_id),
        run=newest_run(connection, lane, live=True),
        last_run=newest_run(connection, lane, live=False),
        decision=newest_decision(connection, lane),
        # a student from elsewhere: nobody knows when it last learned
        cadence_seconds=contract.cadence_seconds if serving.since else 0.0,
        last_success_at=_last_success(connection, lane),
        traffic=_traffic(connection, now),
        intake=_intake(connection),
        stale_after=stale_after,
        teacher=_teacher(connection, now),
        standing=standing,
        canaries=_canaries(connection, standing),
        budget=_budget(connection, now, contract.daily_teacher_usd),
        deliveries=tuple(
            Deliveries(
                channel=b.channel,
                waiting=b.waiting,
                oldest_at=b.oldest_at,
                given_up=b.given_up,
                last_error=b.last_error,
            )
            for b in notifying.backlog(connection, now - DAY)
        ),
        champion_changes=_changes(connection, lane, now - NEWS_SECONDS),
        contract=contract,
        accepted=last_acceptance(connection),
        contract_changes=_acceptances(connection, now - NEWS_SECONDS),
    )


def _quality(connection: sa.Connection, model: str) -> tuple[Quality, ...]:
    found = evaluation.newest_estimates(connection, model)
    return tuple(
        Quality(
            segment=e.segment,
            model=e.model,
            labels=e.n,
            # the newest labels: an old student's lifetime would dilute what is wrong now
            disagreement=e.recent,
            tolerance=e.tolerance,
        )
        for e in found
        if e.recent is not None
    )


def newest_run(connection: sa.Connection, lane: str, *, live: bool) -> Run | None:
    """Return the run that is under way, or the one that ended last."""
    table = tables.run
    among = table.c.state.in_(LIVE_STATES) if live else table.c.state.not_in(LIVE_STATES)
    body = connection.scalar(
        sa.select(table.c.body)
        .where(table.c.lane == lane, among)
        .order_by(table.c.updated_at.desc())
        .limit(1)
    )
    return None if body is None else _decode_run(body)


def newest_decision(connection: sa.Connection, lane: str) -> Decision | None:
    """Return the retraining policy's last word."""
    table = tables.decision
    body = connection.scalar(
        sa.select(table.c.body).where(table.c.lane == lane).order_by(table.c.id.desc()).limit(1)
    )
    return None if body is None else _decode_decision(body)


def _last_success(connection: sa.Connection, lane: str) -> float | None:
    table = tables.run
    found = connection.scalar(
        sa.select(sa.func.max(table.c.updated_at)).where(
            table.c.lane == lane, table.c.state.in_(("promoted", "kept"))
        )
    )
    return None if found is None else float(found)


def _traffic(connection: sa.Connection, now: float) -> Traffic:
    windows = evaluation.windows(connection, after=now - HOUR, until=now, segment="*")
    pairs = sum(window.pairs for window in windows)
    unanswered = sum(window.unanswered for window in windows)
    # a dead letter has no event time: it is held against what was taken in with it
    taken = intake.taken(connection, now)
    return Traffic(
        seconds=HOUR,
        events=taken.events,
        dead_letters=taken.dead_letters,
        from_future=taken.from_future,
        too_old=taken.too_old,
        tickets=pairs + unanswered,
        unanswered=unanswered,
    )


def _intake(connection: sa.Connection) -> tuple[Intake, ...]:
    table = tables.shard
    behind: dict[str, int] = {
        str(shard): count
        for report in health.reports(connection, "consume")
        for shard, count in report.body["behind"].items()
    }
    rows = connection.execute(sa.select(table).order_by(table.c.shard))
    return tuple(
        Intake(
            shard=row.shard,
            watermark=row.watermark or None,
            advanced_at=row.updated_at,
            behind=behind.get(str(row.shard), 0),
        )
        for row in rows
    )


def _teacher(connection: sa.Connection, now: float) -> TeacherHealth | None:
    recent = [r for r in health.reports(connection, "teacher") if r.updated_at > now - HOUR]
    if not recent:
        return None
    bodies: list[dict[str, Any]] = [r.body for r in recent]
    return TeacherHealth(
        name=str(bodies[0]["teacher"]),
        # open for all labellers, or it is no outage of the teacher's
        open_since=min((b["open_since"] or 0.0 for b in bodies), default=0.0) or None,
        calls=sum(b["calls"] for b in bodies),
        failures=sum(b["failures"] for b in bodies),
        abstentions=sum(b["abstentions"] for b in bodies),
        last_error=str(bodies[0]["last_error"]),
    )


def _canaries(connection: sa.Connection, standing: TeacherStanding | None) -> Canaries | None:
    if standing is None or not standing.follows:
        return None
    rounds = teachers.rounds(connection, standing.follows, 1)
    found = [one for one in rounds if one.round > 0 and one.judged_at is not None]
    return Canaries(answers=found[0].answers, changed=found[0].changed) if found else None


def _budget(connection: sa.Connection, now: float, cap: float) -> Budget:
    spend = labelling.spend_on(connection, labelling.day_of(now))
    return Budget(day=spend.day, spent_usd=spend.settled_usd + spend.reserved_usd, cap_usd=cap)


def _acceptances(connection: sa.Connection, since: float) -> tuple[ContractChange, ...]:
    found = acceptances(connection, limit=NEWS_ACCEPTANCES + 1)
    pairs = itertools.zip_longest(found[:NEWS_ACCEPTANCES], found[1:])
    changes = [ContractChange(after=after, before=before) for after, before in pairs]
    return tuple(change for change in reversed(changes) if change.after.at >= since)


def _changes(connection: sa.Connection, lane: str, since: float) -> tuple[ChampionChange, ...]:
    table = tables.champion
    rows = connection.execute(
        sa.select(table).where(table.c.lane == lane).order_by(table.c.version)
    ).all()
    rolled_back = _rollbacks(connection, lane, since)
    changes: list[ChampionChange] = []
    previous = ""
    for row in rows:
        if row.since >= since:
            changes.append(
                ChampionChange(
                    kind="rolled_back" if row.version in rolled_back else "promoted",
                    version=row.version,
                    artefact_id=row.artefact_id,
                    previous=previous,
                    at=row.since,
                    actor=row.actor,
                    reason=row.reason,
                )
            )
        previous = row.artefact_id
    return tuple(changes)


def _rollbacks(connection: sa.Connection, lane: str, since: float) -> set[int]:
    """Return the champion's versions that a rollback made, and no promotion of an older student."""
    table = tables.audit
    details = connection.scalars(
        sa.select(table.c.detail).where(table.c.action == "rollback", table.c.at >= since)
    )
    return {int(detail["version"]) for detail in details if detail["lane"] == lane}
