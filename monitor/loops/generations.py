"""Generations of evidence: what a student's detectors are held to, and each one's share.

A generation begins with a student, and again where the contract or the teacher changes: evidence
under one limit, or by one judge, says nothing under another. The shares of the false-alarm
probability are given out when it begins, by the traffic that segments have had, and never change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

import msgspec
import sqlalchemy as sa

from monitor.estimation.weights import Weights, share_out
from monitor.loops.slices import Slice
from monitor.store import evaluation
from monitor.store.evaluation import DetectorKey

#: traffic of so many seconds before a generation begins is what segments are weighed by
WEIGHED: Final = 86_400.0


class _Generation(msgspec.Struct, frozen=True):
    name: str
    weights: Weights


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Generation).decode


class Generations:
    """The students' generations under one contract and one teacher.

    Parameters
    ----------
    name: of the contract and the teacher; another one begins new generations.
    """

    def __init__(self, connection: sa.Connection, name: str) -> None:
        self._connection = connection
        self.name = name
        self._known: dict[str, _Generation] = {}

    def meet(self, model: str, segments: Iterable[str], one: Slice) -> None:
        """Give each segment of a student's slice its share, if it has none yet."""
        known = self._known.get(model) or self._stored(model) or self._begin(one)
        new = set(segments) - known.weights.shares.keys()
        if new:
            known = _Generation(self.name, known.weights.admit(new))
        self._known[model] = known

    def share(self, model: str, segment: str) -> float:
        """Return the share of a stream that was met."""
        return self._known[model].weights.of(segment)

    def save(self, now: float) -> None:
        """Write them where the next turn finds them."""
        states = {_key(model): _encode(one) for model, one in self._known.items()}
        evaluation.write_detector_states(self._connection, states, now)

    def _stored(self, model: str) -> _Generation | None:
        body = evaluation.detector_state(self._connection, _key(model))
        found = None if body is None else _decode(body)
        return found if found is not None and found.name == self.name else None

    def _begin(self, one: Slice) -> _Generation:
        windows = evaluation.windows(self._connection, after=one.start - WEIGHED, until=one.start)
        traffic: Counter[str] = Counter()
        for window in windows:
            traffic[window.segment] += window.pairs
        return _Generation(self.name, share_out(traffic))


def _key(model: str) -> DetectorKey:
    return DetectorKey("generation", "disagreement", "*", model)
