"""Watch what customers ask and how they are answered: closed windows go to the drift detector.

The detector's state holds weeks of slices, a megabyte of them, and judges a slice an hour. So it
is woken once a slice, reads the windows that closed meanwhile, and sleeps again: a turn in
between costs one look at a number.
"""

from __future__ import annotations

import math
from typing import Final

import sqlalchemy as sa

from monitor.detectors.finding import resume
from monitor.drift import Drift, DriftFinding, DriftSettings, explain
from monitor.loops.signals import signal
from monitor.loops.situation import Serving
from monitor.store import drifting, embedding, evaluation
from monitor.store.drifting import DriftReport
from monitor.store.evaluation import DetectorKey
from schemas.signals import Signal

KEY: Final = DetectorKey("drift", "*", "*", "")
#: start of the newest window that was read
READ: Final = "drift_read"
#: end of the newest slice whose embeddings were read; -1: there are more
READ_TEXTS: Final = "drift_read_texts"
#: slices read in one turn: a longer past is caught up with turn by turn
MOST_SLICES: Final = 24
#: texts, before and since, in which the words of a drift are looked for
TEXTS: Final = 400


def watch(
    connection: sa.Connection,
    *,
    until: float,
    champion: Serving,
    settings: DriftSettings,
    contract: str,
    now: float,
) -> list[Signal]:
    """Judge the slices that are complete since the last call; return what drifted.

    Parameters
    ----------
    until: start of the newest closed window; minus infinity before the first.
    champion: the student that serves. Windows of before its time belong to its forerunner.
    contract: hash of the one that is watched by; drift is not held against it.

    At its first call, and when the settings changed, it learns from the windows that the journal
    holds. The same windows give the same signals, however often the process was stopped. What
    sampled tickets are about is read when it was counted, which may be later.
    """
    read = evaluation.number(connection, READ, -math.inf)
    length = settings.slice_seconds
    windows_due = not math.isinf(until) and read // length != until // length
    if not windows_due and not _texts_due(connection, settings):
        return []
    drift = _restored(connection, settings)
    found = []
    if windows_due:
        if drift.open_since is None:
            read = drifting.before_first(connection, until - (settings.reference + 1) * length)
        until = min(until, read + MOST_SLICES * length)
        found += _read(connection, drift, read, until, champion)
        evaluation.set_number(connection, READ, until)
    if settings.embedder is not None:
        found += _read_texts(connection, drift)
    signals = [_signal(connection, one, champion.artefact_id, contract) for one in found]
    evaluation.write_detector_states(connection, {KEY: drift.state()}, now)
    report = DriftReport(
        drifted=drift.drifted,
        learning=drift.learning,
        reference=settings.reference,
        slice_seconds=length,
    )
    drifting.write_report(connection, report, now)
    return signals


def _texts_due(connection: sa.Connection, settings: DriftSettings) -> bool:
    """Whether slices were embedded that nobody read yet."""
    if settings.embedder is None:
        return False
    done = evaluation.number(connection, embedding.DONE, -1.0)
    return done != evaluation.number(connection, READ_TEXTS, -1.0)


def _read_texts(connection: sa.Connection, drift: Drift) -> list[DriftFinding]:
    """Judge what was counted since the last call."""
    state = embedding.map_state(connection)
    if state is None:
        return []
    since = -math.inf if drift.embedded_until is None else drift.embedded_until
    slices = embedding.slices(connection, topic_map=drift.topic_map, since=since, limit=MOST_SLICES)
    done = evaluation.number(connection, embedding.DONE, -1.0)
    evaluation.set_number(connection, READ_TEXTS, done if len(slices) < MOST_SLICES else -1.0)
    topics = state.topic_map.words() if state.topic_map else {}
    return drift.read(slices, topics)


def _restored(connection: sa.Connection, settings: DriftSettings) -> Drift:
    state = evaluation.detector_state(connection, KEY)
    return resume(Drift, settings, state)


def _read(
    connection: sa.Connection, drift: Drift, after: float, until: float, champion: Serving
) -> list[DriftFinding]:
    windows = evaluation.windows(connection, after=after, until=until)
    earlier = [window for window in windows if window.start < champion.since]
    parts = ((earlier, drift.model), (windows[len(earlier) :], champion.artefact_id))
    return [one for part, model in parts if part for one in drift.update(part, model=model)]


def _signal(connection: sa.Connection, finding: DriftFinding, model: str, contract: str) -> Signal:
    before = drifting.texts(connection, since=0.0, before=finding.since, limit=TEXTS)
    now = drifting.texts(connection, since=finding.since, before=finding.at, limit=TEXTS)
    return signal(
        KEY._replace(metric=finding.feature, model=model),
        finding,
        at=finding.at,
        contract=contract,
        sentence=explain(finding, before, now),
    )
