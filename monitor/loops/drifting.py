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
from monitor.store import drifting, evaluation
from monitor.store.drifting import DriftReport
from monitor.store.evaluation import DetectorKey
from schemas.signals import Signal

KEY: Final = DetectorKey("drift", "*", "*", "")
#: start of the newest window that was read
READ: Final = "drift_read"
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
    holds. The same windows give the same signals, however often the process was stopped.
    """
    read = evaluation.number(connection, READ, -math.inf)
    length = settings.slice_seconds
    if math.isinf(until) or read // length == until // length:
        return []
    drift = _restored(connection, settings)
    if drift.open_since is None:
        read = drifting.before_first(connection, until - (settings.reference + 1) * length)
    until = min(until, read + MOST_SLICES * length)
    found = _read(connection, drift, read, until, champion)
    signals = [_signal(connection, one, champion.artefact_id, contract) for one in found]
    evaluation.write_detector_states(connection, {KEY: drift.state()}, now)
    evaluation.set_number(connection, READ, until)
    report = DriftReport(
        drifted=drift.drifted,
        learning=drift.learning,
        reference=settings.reference,
        slice_seconds=length,
    )
    drifting.write_report(connection, report, now)
    return signals


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
