"""Judge new labels and closed windows: detectors, estimates, alerts, in one transaction a turn.

One process at a time does this, by a lease with a fencing token. Labels are marked as judged in
the transaction that holds what the detectors made of them, so a crash neither loses a label nor
counts one twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import sqlalchemy as sa

from monitor.alerts import rules, stages
from monitor.alerts.stages import AlertSettings
from monitor.detectors import SECOND_OPINIONS, Finding, make, restore
from monitor.estimation.quality import estimate_quality
from monitor.estimation.scores import plain
from monitor.loops import situation
from monitor.store import evaluation, intake, notifying
from monitor.store.evaluation import DetectorKey, Judgeable
from schemas.contract import QualityContract
from schemas.journal import Leadership, check_leadership, lead
from schemas.signals import Signal
from schemas.windows import WindowSummary

#: Fields of a window whose means are watched. They are of all traffic, not of the sample.
WINDOWED: Final = ("confidence", "text_length", "latency_ms", "cost_usd")


class EvaluateSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How this evaluator works."""

    #: this process, as the journal knows it
    owner: str
    lane: str
    alerts: AlertSettings
    #: labels that the recent figure rests on
    recent_labels: int = 500
    #: rate of the extra draw while a retraining wants labels
    requested_rate: float = 0.5
    #: a shard that wrote nothing for so long holds no window open, seconds
    idle_seconds: float = 60.0
    #: without events for so long the source is called stale, seconds
    stale_seconds: float = 900.0
    lease_seconds: float = 15.0
    #: labels taken in one turn
    batch: int = 5000


class EvaluateTurn(NamedTuple):
    """What one turn came to; `led` is False where another process leads."""

    led: bool
    judged: int
    signals: tuple[Signal, ...]


class _Values(NamedTuple):
    """New numbers of one stream of one student, oldest first."""

    at: float
    values: list[float]


class EvaluateLoop:
    """Takes what is new since the last turn, and says what it means."""

    def __init__(
        self, engine: sa.Engine, contract: QualityContract, settings: EvaluateSettings
    ) -> None:
        self._engine = engine
        self._contract = contract
        self._settings = settings
        self._leadership: Leadership | None = None

    def once(self, now: float) -> EvaluateTurn:
        """Judge what is new.

        Raises
        ------
        FencedError: another process leads now; nothing of this turn was written.
        """
        settings = self._settings
        with self._engine.begin() as connection:
            leads = lead(connection, "evaluate", settings.owner, now, settings.lease_seconds)
        self._leadership = leads
        if leads is None:
            return EvaluateTurn(led=False, judged=0, signals=())
        with self._engine.begin() as connection:
            check_leadership(connection, leads)
            turn = self._judge(connection, now)
            self._tell(connection, now)
        return turn

    def _judge(self, connection: sa.Connection, now: float) -> EvaluateTurn:
        labels = evaluation.unjudged(connection, self._settings.batch)
        streams = _label_streams(labels)
        streams.update(self._window_streams(connection, now))
        signals = self._watch(connection, streams, now)
        for signal in signals:
            evaluation.add_signal(connection, signal)
        evaluation.mark_judged(connection, [one.label.ticket_id for one in labels])
        for (metric, model), new in streams.items():
            if metric == "disagreement":
                self._estimate(connection, model, new.at)
        self._want_labels(connection)
        return EvaluateTurn(led=True, judged=len(labels), signals=tuple(signals))

    # --- detectors ---------------------------------------------------------------------------

    def _watch(
        self, connection: sa.Connection, streams: Mapping[tuple[str, str], _Values], now: float
    ) -> list[Signal]:
        stored = evaluation.detector_states(connection, {model for _, model in streams})
        states: dict[DetectorKey, bytes] = {}
        signals: list[Signal] = []
        for (metric, model), new in streams.items():
            for kind, detector_settings in self._detectors(metric).items():
                key = DetectorKey(kind, metric, "*", model)
                state = stored.get(key)
                detector = (
                    make(kind, detector_settings)
                    if state is None
                    else restore(kind, detector_settings, state)
                )
                values: Sequence[object] = new.values
                if kind == "level":
                    values = [plain([loss], new.at) for loss in new.values]
                finding = detector.update(values)
                states[key] = detector.state()
                if finding is not None:
                    signals.append(_signal(key, finding, new.at))
        evaluation.write_detector_states(connection, states, now)
        return signals

    def _detectors(self, metric: str) -> dict[str, Mapping[str, object]]:
        """Who watches this stream, with their settings: `level` alone pages."""
        watching = dict(SECOND_OPINIONS[metric])
        if metric != "disagreement":
            return watching
        level = {
            "tolerance": self._contract.tolerance,
            "delta": self._contract.false_alarm_probability,
        }
        return {"level": level, **watching}

    def _window_streams(
        self, connection: sa.Connection, now: float
    ) -> dict[tuple[str, str], _Values]:
        """Means of the windows that closed since the last turn: these streams are not sampled."""
        done = evaluation.watermark(connection, now - self._settings.idle_seconds)
        if done is None:
            return {}
        after = evaluation.number(connection, "windows_read", float("-inf"))
        closed = [
            window
            for window in evaluation.windows(connection, after=after, until=done, segment="*")
            if window.start + window.length <= done
        ]
        if closed:
            evaluation.set_number(connection, "windows_read", closed[-1].start)
        return _means(closed)

    # --- estimates ---------------------------------------------------------------------------

    def _estimate(self, connection: sa.Connection, model: str, at: float) -> None:
        evaluation.add_estimate(
            connection,
            estimate_quality(
                segment="*",
                model=model,
                at=at,
                losses=evaluation.loss_moments(connection, model),
                recent=evaluation.recent_losses(connection, model, self._settings.recent_labels),
                tolerance=self._contract.tolerance,
            ),
        )

    def _want_labels(self, connection: sa.Connection) -> None:
        """Ask for more labels while the student that serves is out of its bounds."""
        champion = situation.champion(connection, self._settings.lane)
        pages = evaluation.signals(connection, model=champion.artefact_id)
        wanted = any(signal.severity == "page" for signal in pages)
        rate = self._settings.requested_rate if wanted else 0.0
        evaluation.set_number(connection, "requested_rate", rate)

    # --- alerts ------------------------------------------------------------------------------

    def _tell(self, connection: sa.Connection, now: float) -> None:
        settings = self._settings
        intake.note(connection, now)
        facts = situation.gather(
            connection,
            now=now,
            lane=settings.lane,
            contract=self._contract,
            stale_after=settings.stale_seconds,
        )
        # news that was told and is over must be known as long as the situation still holds it
        standing = notifying.standing(connection, now - situation.NEWS_SECONDS)
        changes = stages.reconcile(rules.conditions(facts), standing, now, settings.alerts)
        notifying.apply(connection, changes, now)


def _label_streams(labels: Sequence[Judgeable]) -> dict[tuple[str, str], _Values]:
    """Disagreements of the uniform draw by student: the other samples were chosen with a purpose."""
    streams: dict[tuple[str, str], _Values] = {}
    for label, sample in labels:
        if sample.reason != "random" or label.disagreement is None:
            continue
        key = ("disagreement", sample.model)
        known = streams.get(key, _Values(sample.at, []))
        known.values.append(label.disagreement)
        streams[key] = _Values(sample.at, known.values)
    return streams


def _means(windows: Iterable[WindowSummary]) -> dict[tuple[str, str], _Values]:
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    ends: dict[tuple[str, str], float] = {}
    for window in windows:
        if not window.models:
            continue
        # a window in which the student changed belongs to the one that answered most of it
        model = max(sorted(window.models), key=lambda name: window.models[name])
        for metric in WINDOWED:
            moments = getattr(window, metric)
            if moments.n:
                found[metric, model].append(moments.mean)
                ends[metric, model] = window.start + window.length
    return {key: _Values(ends[key], values) for key, values in found.items()}


def _signal(key: DetectorKey, finding: Finding, at: float) -> Signal:
    return Signal(
        at=at,
        detector=key.detector,
        metric=key.metric,
        segment=key.segment,
        model=key.model,
        severity=finding.severity,
        statistic=finding.statistic,
        threshold=finding.threshold,
        n=finding.n,
        interval=finding.interval,
        sentence=finding.sentence,
    )
