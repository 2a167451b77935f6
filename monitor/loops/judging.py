"""Judge slices: scores, detectors and estimates of every student in every segment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import sqlalchemy as sa

from monitor.detectors.change import Change, ChangeSettings
from monitor.detectors.finding import Finding, resume
from monitor.detectors.level import Level, LevelSettings
from monitor.estimation.calibration import MIN_LABELS, Trust
from monitor.estimation.quality import JudgedWindow
from monitor.estimation.scores import Belief, Scores
from monitor.estimation.since import describe, since
from monitor.estimation.tally import Tally, tally
from monitor.loops.attributing import explained
from monitor.loops.generations import Generations
from monitor.loops.signals import signal
from monitor.loops.slices import Slice
from monitor.sampling import Stratum
from monitor.store import evaluation, judging, planning
from monitor.store.evaluation import DetectorKey
from schemas.contract import QualityContract
from schemas.signals import Signal
from schemas.windows import WindowSummary

#: a window of which more than this share of the labels was lost is no evidence either way
MOST_LOST: Final = 0.2
#: the change detector's promise is a probability: more than this a quarter is none
MOST_ALPHA: Final = 0.5
#: windows of one stream among which the beginning of the evidence is looked for
LOOK_BACK: Final = 1000


StrataOf = Callable[[int, str], Sequence[Stratum]]

_encode = msgspec.json.Encoder().encode
_decode_trust = msgspec.json.Decoder(Trust).decode


class Judged(NamedTuple):
    """Where one stream stands after its newest window."""

    #: end of that window, event time, seconds UTC
    at: float
    #: evidence against "within the tolerance": log of `level`'s e-value
    log_e: float


class Judgement(NamedTuple):
    """What some slices came to."""

    #: in the order of their windows
    signals: list[Signal]
    #: by (segment, student): the streams that got something new
    streams: dict[tuple[str, str], Judged]


def judge(
    connection: sa.Connection,
    slices: Sequence[Slice],
    contract: QualityContract,
    *,
    teacher: str,
    now: float,
) -> Judgement:
    """Journal what the slices say, and let the detectors see it.

    Parameters
    ----------
    teacher: generation of the teacher; with another one, or another contract, evidence begins
        anew.
    """
    streams: dict[tuple[str, str], list[Scores]] = {}
    trusts = _Trusts(connection)
    generations = Generations(connection, f"{contract.hash}/{teacher}")
    for one in slices:
        rows, segments = [], defaultdict(list)
        strata_of = _strata(connection, one.windows)
        for window, told in _tallies(one, contract, strata_of, trusts.belief):
            rows.append(_row(window, told))
            segments[told.model].append(window.segment)
            streams.setdefault((window.segment, told.model), []).append(told.scores)
        judging.add(connection, rows)
        trusts.learn(one, strata_of)
        for model, met in segments.items():
            generations.meet(model, met, one)
    trusts.save(now)
    generations.save(now)
    found, evidence = _watch(connection, streams, contract, generations, now)
    signals = [explained(connection, one) for one in found]
    return Judgement(
        signals, {key: Judged(scores[-1].at, evidence[key]) for key, scores in streams.items()}
    )


def _tallies(
    one: Slice,
    contract: QualityContract,
    strata_of: StrataOf,
    belief: Callable[[str], Belief | None],
) -> Iterator[tuple[WindowSummary, Tally]]:
    for window in one.windows:
        prior = contract.tolerance_of(window.segment)
        for told in tally(window, one.drawn, strata_of, prior=prior, belief=belief):
            yield window, told


def _strata(connection: sa.Connection, windows: Iterable[WindowSummary]) -> StrataOf:
    versions = {int(key.partition("/")[0]) for window in windows for key in window.strata}
    plans = planning.by_versions(connection, versions)
    return lambda version, model: plans[version].strata(model)


class _Trusts:
    """How far each student's calibration held in the slices judged so far."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._known: dict[str, Trust] = {}

    def belief(self, model: str) -> Belief | None:
        trust = self._of(model)
        return trust.belief if trust.labels >= MIN_LABELS else None

    def learn(self, one: Slice, strata_of: StrataOf) -> None:
        """Take a slice's labels in: for the slices after it, not for its own."""
        for ticket in one.drawn:
            if ticket.loss is not None:
                stratum = strata_of(ticket.plan, ticket.model)[ticket.stratum]
                self._known[ticket.model] = self._of(ticket.model).told(stratum, ticket.loss)

    def save(self, now: float) -> None:
        states = {_trust_key(model): _encode(trust) for model, trust in self._known.items()}
        evaluation.write_detector_states(self._connection, states, now)

    def _of(self, model: str) -> Trust:
        if model not in self._known:
            state = evaluation.detector_state(self._connection, _trust_key(model))
            self._known[model] = Trust() if state is None else _decode_trust(state)
        return self._known[model]


def _trust_key(model: str) -> DetectorKey:
    return DetectorKey("trust", "disagreement", "*", model)


def _row(window: WindowSummary, told: Tally) -> JudgedWindow:
    moments = told.scores.moments
    return JudgedWindow(
        segment=window.segment,
        model=told.model,
        start=window.start,
        end=told.scores.at,
        tickets=moments.n,
        labels=told.scores.labels,
        lost=told.scores.lost,
        total=moments.total,
        squares=moments.squares,
        uniform=told.uniform,
    )


def _watch(
    connection: sa.Connection,
    streams: dict[tuple[str, str], list[Scores]],
    contract: QualityContract,
    generations: Generations,
    now: float,
) -> tuple[list[Signal], dict[tuple[str, str], float]]:
    stored = evaluation.detector_states(connection, {model for _, model in streams})
    states: dict[DetectorKey, bytes] = {}
    signals: list[Signal] = []
    evidence: dict[tuple[str, str], float] = {}
    for (segment, model), scores in streams.items():
        told = [one for one in scores if one.lost <= MOST_LOST * (one.labels + one.lost)]
        for key, detector in _resumed(stored, contract, generations, segment, model):
            for window in told:
                finding = detector.update([window])
                if finding is not None:
                    signals.append(_signal(connection, key, finding, window.at, contract.hash))
            states[key] = detector.state()
            if key.detector == Level.kind:
                evidence[segment, model] = detector.log_e
    evaluation.write_detector_states(connection, states, now)
    return sorted(signals, key=lambda one: one.at), evidence


def _resumed(
    stored: Mapping[DetectorKey, bytes],
    contract: QualityContract,
    generations: Generations,
    segment: str,
    model: str,
) -> Iterator[tuple[DetectorKey, Level | Change]]:
    """Who watches a stream of disagreement, with their shares of what may go wrong."""
    share = generations.share(model, segment)
    key = DetectorKey(Level.kind, "disagreement", segment, model)
    level = LevelSettings(
        tolerance=contract.tolerance_of(segment),
        delta=contract.false_alarm_probability,
        weight=share,
        generation=generations.name,
    )
    yield key, resume(Level, level, stored.get(key))
    key = DetectorKey(Change.kind, "disagreement", segment, model)
    change = ChangeSettings(
        alpha=min(MOST_ALPHA, contract.false_change_alarms_per_quarter),
        weight=share,
        generation=generations.name,
    )
    yield key, resume(Change, change, stored.get(key))


def _signal(
    connection: sa.Connection, key: DetectorKey, finding: Finding, at: float, contract: str
) -> Signal:
    """Return what was found at the end of a window, with its figures."""
    assert finding.limit is not None
    windows = judging.newest(connection, key.segment, key.model, until=at, limit=LOOK_BACK)
    lifetime = judging.lifetime(connection, key.segment, key.model, until=at)
    assert lifetime is not None
    began = since(windows, lifetime.labels, finding.limit)
    return signal(
        key,
        finding,
        at=at,
        contract=contract,
        interval=began.interval,
        sentence=f"{describe(began, windows, lifetime)}; {finding.sentence}",
    )
