"""Second opinions: river's detectors on the streams that `level` and `change` do not judge alone.

They stay alive between turns, because building one again from its stored values costs
milliseconds; the journal holds those values, for whoever goes on after this process.
"""

from __future__ import annotations

import importlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import sqlalchemy as sa

from monitor.detectors import SECOND_OPINIONS, Detector, make, restore
from monitor.loops.signals import signal
from monitor.store import evaluation
from monitor.store.evaluation import DetectorKey
from schemas.signals import Signal
from schemas.windows import WindowSummary

#: Fields of a window whose means are watched. They are of all traffic, not of the sample.
WINDOWED: Final = ("confidence", "text_length", "latency_ms", "cost_usd")


class Stream(NamedTuple):
    """New numbers of one quantity of one student, oldest first, with the event time of the last."""

    at: float
    values: list[float]


Streams = Mapping[tuple[str, str], Stream]


class Opinions:
    """The second opinions of one evaluator.

    What they hold in memory is worth as much as the transaction it was written in: after one that
    failed, or a time without the lead, call `forget`.
    """

    def __init__(self) -> None:
        # A second of imports: now, when nothing waits, and not beside a backlog.
        importlib.import_module("river.drift")
        self._live: dict[DetectorKey, Detector] = {}

    def forget(self) -> None:
        """Go on from the journal."""
        self._live.clear()

    def watch(
        self, connection: sa.Connection, streams: Streams, *, contract: str, now: float
    ) -> list[Signal]:
        """Take what is new in each stream, by (metric, student); return what was found."""
        states: dict[DetectorKey, bytes] = {}
        signals: list[Signal] = []
        for (metric, model), new in streams.items():
            for kind, settings in SECOND_OPINIONS[metric].items():
                key = DetectorKey(kind, metric, "*", model)
                detector = self._detector(connection, key, settings)
                finding = detector.update(new.values)
                states[key] = detector.state()
                if finding is not None:
                    signals.append(signal(key, finding, at=new.at, contract=contract))
        evaluation.write_detector_states(connection, states, now)
        return signals

    def _detector(
        self, connection: sa.Connection, key: DetectorKey, settings: Mapping[str, object]
    ) -> Detector:
        live = self._live.get(key)
        if live is None:
            state = evaluation.detector_state(connection, key)
            live = (
                make(key.detector, settings)
                if state is None
                else restore(key.detector, settings, state)
            )
            self._live[key] = live
        return live


def window_means(windows: Iterable[WindowSummary]) -> dict[tuple[str, str], Stream]:
    """Return the means of windows of all traffic, by (metric, student).

    A window in which the student changed belongs to the one that answered most of it.
    """
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    ends: dict[tuple[str, str], float] = {}
    for window in windows:
        if window.segment != "*" or not window.models:
            continue
        model = max(sorted(window.models), key=lambda name: window.models[name])
        for metric in WINDOWED:
            moments = getattr(window, metric)
            if moments.n:
                found[metric, model].append(moments.mean)
                ends[metric, model] = window.start + window.length
    return {key: Stream(ends[key], values) for key, values in found.items()}
