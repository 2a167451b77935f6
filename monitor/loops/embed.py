"""Embed sampled tickets, slice by slice, and count what they are about.

A loop of its own, because a model takes its time: labels, alarms and the rest of drift go on
without it, and take what it counted when it is there. A slice is embedded when it is closed, in
batches and outside of any transaction; what came of it is one row, written in the transaction
that marks the slice as done. So a crash repeats a slice at most, and counts none twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
import sqlalchemy as sa

from monitor.drift.settings import DriftSettings
from monitor.drift.topics import EmbeddedSlice, TopicMap, Vectors, fit_map
from monitor.drift.uniform import uniform
from monitor.embedders import Embedder
from monitor.store import drifting, embedding, evaluation
from monitor.store.embedding import DONE, MapState
from schemas.journal import check_leadership, lead
from schemas.samples import Sample

#: Texts that the map is made from; none of them is counted.
TO_FIT: Final = 1000
#: Texts that are embedded between two looks at whether the process has to end.
BATCH: Final = 64


class EmbedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How this embedding process works."""

    #: this process, as the journal knows it
    owner: str
    drift: DriftSettings
    #: tickets of a slice that are embedded at most
    texts: int
    #: the secret of the sampling draw
    salt: str
    #: a shard that wrote nothing for so long holds no slice open, seconds
    idle_seconds: float = 60.0
    #: longer than a slice takes: a second process begins after it
    lease_seconds: float = 300.0


class _Task(NamedTuple):
    """One slice that is due; its tickets make the map where there is none."""

    state: MapState
    #: whether what was counted before is by another embedder, or of other slices
    anew: bool
    start: float
    end: float
    samples: list[Sample]


class EmbedLoop:
    """Takes closed slices in order: the first make the map, the others are counted by it.

    Parameters
    ----------
    stopping: True once the process has to end: a slice under way is left for the next start.
    """

    def __init__(
        self,
        engine: sa.Engine,
        embedder: Embedder,
        settings: EmbedSettings,
        *,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._engine = engine
        self._embedder = embedder
        self._settings = settings
        self._stopping = stopping

    @property
    def _kept(self) -> float:
        """How long counts are kept, seconds of event time: twice what a detector begins with."""
        drift = self._settings.drift
        return 2 * (drift.reference + 1) * drift.slice_seconds

    def once(self, now: float) -> bool:
        """Do one slice; return whether there was one.

        Raises
        ------
        DependencyDownError: the embedder cannot be used now; nothing was written.
        FencedError: another process does this now; nothing was written.
        """
        settings = self._settings
        with self._engine.begin() as connection:
            leads = lead(connection, "embed", settings.owner, now, settings.lease_seconds)
            task = self._next(connection, now) if leads else None
        if leads is None or task is None:
            return False
        vectors = self._embed([sample.text for sample in task.samples])
        if vectors is None:
            return False
        with self._engine.begin() as connection:
            check_leadership(connection, leads)
            self._write(connection, task, vectors, now)
        return True

    def _next(self, connection: sa.Connection, now: float) -> _Task | None:
        """Return the oldest slice that is closed and not done; None while there is none."""
        length = self._settings.drift.slice_seconds
        done = evaluation.watermark(connection, now - self._settings.idle_seconds)
        if math.isinf(done):
            return None
        closed = done // length * length
        state = embedding.map_state(connection)
        ours = (self._embedder.fingerprint, length)
        anew = state is None or (state.fingerprint, state.slice_seconds) != ours
        if state is None or anew:
            state = self._begin(connection, closed)
        after = state.since if anew else evaluation.number(connection, DONE, state.since)
        first = embedding.first_drawn(connection, since=after, until=closed)
        if first is None:
            return None
        start = first // length * length
        samples = self._samples(connection, state, start, start + length)
        return _Task(state, anew, start, start + length, samples)

    def _begin(self, connection: sa.Connection, closed: float) -> MapState:
        """Begin so far back that the journal's past makes the map, and the reference too."""
        length = self._settings.drift.slice_seconds
        past = closed - self._kept
        return MapState(
            fingerprint=self._embedder.fingerprint,
            slice_seconds=length,
            since=drifting.before_first(connection, past) // length * length,
        )

    def _samples(
        self, connection: sa.Connection, state: MapState, start: float, end: float
    ) -> list[Sample]:
        """Return the tickets to embed: of the slice, or of all since the beginning for the map."""
        settings = self._settings
        if state.topic_map is not None:
            drawn = embedding.drawn(connection, since=start, until=end)
            return uniform(drawn, settings.salt, settings.texts)
        if embedding.count_drawn(connection, since=state.since, until=end) < TO_FIT:
            return []
        drawn = embedding.drawn(connection, since=state.since, until=end)
        found = uniform(drawn, settings.salt, TO_FIT)
        return found if len(found) == TO_FIT else []

    def _embed(self, texts: Sequence[str]) -> Vectors | None:
        """Return the vectors; None where the process has to end meanwhile."""
        found = [self._embedder.embed([])]
        for start in range(0, len(texts), BATCH):
            if self._stopping():
                return None
            found.append(self._embedder.embed(texts[start : start + BATCH]))
        return np.concatenate(found)

    def _write(self, connection: sa.Connection, task: _Task, vectors: Vectors, now: float) -> None:
        state = task.state
        if task.anew:
            embedding.prune(connection, math.inf)
            embedding.write_map_state(connection, state, now)
        if state.topic_map is not None:
            readings = state.topic_map.read(vectors)
            slice_ = EmbeddedSlice(
                start=task.start, topic_map=state.topic_map.name, readings=readings
            )
            embedding.add_slice(connection, slice_)
            embedding.prune(connection, task.end - self._kept)
        elif task.samples:
            made = msgspec.structs.replace(state, topic_map=self._fit(task, vectors))
            embedding.write_map_state(connection, made, now)
        evaluation.set_number(connection, DONE, task.end)

    def _fit(self, task: _Task, vectors: Vectors) -> TopicMap:
        state = task.state
        name = f"{state.fingerprint}/{state.slice_seconds:g}/{task.end:.0f}"
        return fit_map(vectors, [sample.text for sample in task.samples], name=name)
