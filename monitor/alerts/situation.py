"""What the alert rules look at: the facts of one evaluation, gathered from the journal.

Counts are of the last `Traffic.seconds`, or of the last hour where nothing else is said; a
fact that nobody knows yet is None or empty, and no rule speaks of it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.acceptance import Acceptance
from schemas.alerts import Alert
from schemas.contract import QualityContract
from schemas.decisions import Decision
from schemas.runs import Run
from schemas.signals import Interval, Signal
from schemas.teachers import TeacherStanding


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """How the serving student does in one segment, by the newest estimate."""

    segment: str
    model: str
    #: labels that the estimate rests on, all of this student's generation
    labels: int
    #: mean disagreement with its 95 % interval
    disagreement: Interval
    #: the disagreement that the contract accepts here
    tolerance: float


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """Messages and tickets of the last `seconds`."""

    seconds: float
    #: by our clock: messages that became events, and messages that became dead letters
    events: int
    dead_letters: int
    #: of the events: those from the future, and those older than what is accepted
    from_future: int = 0
    too_old: int = 0
    #: by event time: tickets whose pairing ended, and those that ended without an answer
    tickets: int
    unanswered: int


class Intake(msgspec.Struct, frozen=True, kw_only=True):
    """How far one shard of the source has been read."""

    shard: int
    #: event time up to which its windows are closed; None before the first event
    watermark: float | None
    #: when a record of it was last taken in, seconds UTC, by our clock
    advanced_at: float
    #: records (Kafka) or bytes (files) that wait; 0 when nobody knows
    behind: int = 0


class TeacherHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What the last hour's calls to the teacher came to."""

    name: str
    #: since when the circuit breaker is open; None while calls pass
    open_since: float | None
    #: calls that were made, those that failed, and of the answered ones those that abstained
    calls: int
    failures: int
    abstentions: int
    #: the newest failure, in words without secrets
    last_error: str = ""


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What the teacher has cost today, reserved and settled together."""

    #: the day in UTC, `2026-11-03`
    day: str
    spent_usd: float
    cap_usd: float


class Deliveries(msgspec.Struct, frozen=True, kw_only=True):
    """What waits in the outbox for one channel."""

    channel: str
    waiting: int
    #: when the oldest that waits was written; None when none does
    oldest_at: float | None
    #: given up during the last day
    given_up: int
    last_error: str = ""


class Canaries(msgspec.Struct, frozen=True, kw_only=True):
    """What the teacher said when the tickets that it answered before were put to it again."""

    #: answers that came, and those of them that were not the first ones
    answers: int
    changed: int


class ChampionChange(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the journal's `champion` table that is news."""

    kind: Literal["promoted", "rolled_back"]
    #: number of the change in its lane: it identifies the news
    version: int
    artefact_id: str
    #: who served before; "" when nobody did
    previous: str
    at: float
    actor: str
    reason: str


class ContractChange(msgspec.Struct, frozen=True, kw_only=True):
    """A contract that was accepted lately, and the one that it replaced."""

    after: Acceptance
    before: Acceptance | None


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the rules may look at, `now`."""

    now: float
    lane: str
    #: the student that serves ("" when none does), and since when (0.0 when nobody knows)
    champion: str
    champion_since: float
    #: alerts that fire: what was raised is cleared by another threshold than it was raised by
    firing: tuple[Alert, ...] = ()
    #: `page` and `warn` findings of the champion's generation, and its newest estimates
    signals: tuple[Signal, ...] = ()
    #: newest findings of drift of each feature that has not come back
    drifts: tuple[Signal, ...] = ()
    quality: tuple[Quality, ...] = ()
    #: the live run, the one that finished last, and the policy's last word
    run: Run | None = None
    last_run: Run | None = None
    decision: Decision | None = None
    #: 0: no cadence; None: never retrained with success
    cadence_seconds: float = 0.0
    last_success_at: float | None = None
    traffic: Traffic | None = None
    intake: tuple[Intake, ...] = ()
    #: seconds without a record after which the source is called stale
    stale_after: float = 900.0
    teacher: TeacherHealth | None = None
    #: how the teacher stands by people's answers; None before its first label was judged
    standing: TeacherStanding | None = None
    #: what the teacher of now, where it followed another one, said to that one's canaries
    canaries: Canaries | None = None
    budget: Budget | None = None
    deliveries: tuple[Deliveries, ...] = ()
    #: changes of champion of the last day; each is told once
    champion_changes: tuple[ChampionChange, ...] = ()
    #: the contract by which all is judged, and what was accepted last
    contract: QualityContract | None = None
    accepted: Acceptance | None = None
    #: acceptances of the last day; each is told once
    contract_changes: tuple[ContractChange, ...] = ()
