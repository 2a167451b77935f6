"""Judge what is new: windows, detectors, estimates, alerts, in one transaction a turn.

One process at a time does this, by a lease with a fencing token. What was judged is marked in
the transaction that holds what came of it, so a crash neither loses a window nor counts one
twice.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from monitor.alerts import rules, stages
from monitor.alerts.stages import AlertSettings
from monitor.drift import DriftSettings
from monitor.estimation.quality import estimate_quality, newest
from monitor.loops import drifting, situation, teaching
from monitor.loops.attributing import explain_anew
from monitor.loops.judging import Judged, judge
from monitor.loops.opinions import Opinions, Stream, window_means
from monitor.loops.planning import replan
from monitor.loops.slices import Slice, judged_until, ready
from monitor.loops.teaching import TeachingSettings
from monitor.planning import SamplingSettings
from monitor.store import evaluation, judging, notifying, planning
from schemas.contract import QualityContract
from schemas.journal import Leadership, check_leadership, lead, snapshot
from schemas.signals import Signal


class EvaluateSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How this evaluator works."""

    #: this process, as the journal knows it
    owner: str
    lane: str
    alerts: AlertSettings
    teaching: TeachingSettings
    drift: DriftSettings = DriftSettings()
    #: labels that the recent figure rests on
    recent_labels: int = 500
    #: how long after its queueing a sample may hold its window back, seconds
    label_wait_seconds: float = 3600.0
    sampling: SamplingSettings = SamplingSettings()
    #: a shard that wrote nothing for so long holds no window open, seconds
    idle_seconds: float = 60.0
    #: without events for so long the source is called stale, seconds
    stale_seconds: float = 900.0
    lease_seconds: float = 15.0


class EvaluateTurn(NamedTuple):
    """What one turn came to; `led` is False where another process leads."""

    led: bool
    #: labels that were judged
    judged: int
    signals: tuple[Signal, ...]


class EvaluateLoop:
    """Takes what is new since the last turn, and says what it means."""

    def __init__(
        self, engine: sa.Engine, contract: QualityContract, settings: EvaluateSettings
    ) -> None:
        self._engine = engine
        self._contract = contract
        self._settings = settings
        self._leadership: Leadership | None = None
        self._opinions = Opinions()

    def once(self, now: float) -> EvaluateTurn:
        """Judge what is new.

        Raises
        ------
        FencedError: another process leads now; nothing of this turn was written.
        """
        leads = self._lead(now)
        if leads is None:
            return EvaluateTurn(led=False, judged=0, signals=())
        try:
            # one state: windows that a consumer adds meanwhile must not come without their samples
            with snapshot(self._engine).begin() as connection:
                check_leadership(connection, leads)
                turn = self._judge(connection, now)
                self._tell(connection, now)
        except BaseException:
            # what is in memory is ahead of the journal now
            self._opinions.forget()
            raise
        return turn

    def _lead(self, now: float) -> Leadership | None:
        settings = self._settings
        with self._engine.begin() as connection:
            leads = lead(connection, "evaluate", settings.owner, now, settings.lease_seconds)
            if leads is not None and leads != self._leadership:
                # not in the snapshot: consumers that start at the same time publish it too
                planning.newest_or(connection, settings.sampling.plan(), now)
        if leads != self._leadership:
            self._opinions.forget()
        self._leadership = leads
        return leads

    def _judge(self, connection: sa.Connection, now: float) -> EvaluateTurn:
        """Let everybody who watches see what is new.

        The teacher is looked at first: labels of another one begin another generation of evidence
        against the student.
        """
        settings, contract = self._settings, self._contract
        done = evaluation.watermark(connection, now - settings.idle_seconds)
        slices = ready(connection, done=done, now=now, patience=settings.label_wait_seconds)
        taught = teaching.watch(
            connection,
            judged_until=judged_until(connection),
            contract=contract,
            settings=settings.teaching,
            now=now,
        )
        judgement = judge(
            connection,
            slices,
            contract,
            teacher=teaching.teacher_generation(connection),
            now=now,
        )
        self._estimate(connection, judgement.streams)
        champion = situation.champion(connection, settings.lane)
        signals = [
            *taught.signals,
            *judgement.signals,
            *self._opinions.watch(
                connection,
                {**_numbers(slices), **_gold(taught.correct, now)},
                contract=contract.hash,
                now=now,
            ),
            *drifting.watch(
                connection,
                until=judging.last_closed(connection, done=done),
                champion=champion,
                settings=settings.drift,
                contract=contract.hash,
                now=now,
            ),
        ]
        for signal in signals:
            evaluation.add_signal(connection, signal)
        if any(signal.severity == "page" for signal in judgement.signals):
            teaching.doubt(connection, now)
        if taught.canaries_answered:
            explain_anew(connection, champion.artefact_id, now)
        replan(
            connection,
            settings.sampling,
            champion.artefact_id,
            wanted=self._labels_wanted(connection, champion.artefact_id),
            now=now,
        )
        labels = sum(ticket.loss is not None for one in slices for ticket in one.drawn)
        return EvaluateTurn(led=True, judged=labels, signals=tuple(signals))

    def _estimate(
        self, connection: sa.Connection, streams: Mapping[tuple[str, str], Judged]
    ) -> None:
        """Add a point to the quality curve of each stream that got something new."""
        for (segment, model), judged in streams.items():
            lifetime = judging.lifetime(connection, segment, model, until=judged.at)
            windows = judging.newest(
                connection, segment, model, until=judged.at, limit=self._settings.recent_labels
            )
            assert lifetime is not None
            recent = newest(windows, self._settings.recent_labels)
            tolerance = self._contract.tolerance_of(segment)
            estimate = estimate_quality(lifetime, recent, tolerance, log_e=judged.log_e)
            evaluation.add_estimate(connection, estimate)

    def _labels_wanted(self, connection: sa.Connection, champion: str) -> bool:
        """Say whether more labels are asked for: while the student is out of its bounds."""
        return any(
            signal.severity == "page" and signal.contract == self._contract.hash
            for signal in evaluation.signals(connection, model=champion)
        )

    # --- alerts ------------------------------------------------------------------------------

    def _tell(self, connection: sa.Connection, now: float) -> None:
        settings = self._settings
        facts = situation.gather(
            connection,
            now=now,
            lane=settings.lane,
            contract=self._contract,
            stale_after=settings.stale_seconds,
        )
        # news that was told and is over must be known as long as the situation still holds it
        standing = notifying.standing(connection, now - situation.NEWS_SECONDS)
        changes = stages.reconcile(
            rules.conditions(facts),
            standing,
            now,
            settings.alerts,
            functools.partial(rules.closing, facts),
        )
        notifying.apply(connection, changes, now)


def _numbers(slices: Iterable[Slice]) -> dict[tuple[str, str], Stream]:
    """Return what the second opinions watch: losses of the uniform draw, means of windows."""
    streams = window_means([window for one in slices for window in one.windows])
    for one in slices:
        for ticket in one.drawn:
            if ticket.uniform and ticket.loss is not None:
                key = ("disagreement", ticket.model)
                values = streams[key].values if key in streams else []
                values.append(ticket.loss)
                streams[key] = Stream(one.end, values)
    return streams


def _gold(correct: Mapping[str, list[float]], now: float) -> dict[tuple[str, str], Stream]:
    return {("gold", model): Stream(now, values) for model, values in correct.items()}
