"""Embed sampled tickets, slice by slice, and count what they are about.

A loop of its own, because a model takes its time: labels, alarms and the rest of drift go on
without it, and take what it counted when it is there. A slice is embedded when it is closed, a
batch a turn and outside of any transaction; what came of it is one row, written in the transaction
that marks the slice as done. So a crash repeats a slice at most, and counts none twice.
"""

from __future__ import annotations

import math
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
from schemas.journal import Leadership, check_leadership, lead
from schemas.samples import Sample

#: Texts that the map is made from; none of them is counted.
TO_FIT: Final = 1000
#: Texts that are embedded in one turn: a second or two, in which the process cannot end.
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
    lease_seconds: float = 15.0


class _Task(NamedTuple):
    """One slice that is under way; its tickets make the map where there is none."""

    state: MapState
    #: whether what was counted before is by another embedder, or of other slices
    anew: bool
    start: float
    end: float
    samples: list[Sample]
    #: of the first samples: what is embedded so far
    vectors: list[Vectors]


class EmbedLoop:
    """Takes closed slices in order: the first make the map, the others are counted by it.

    One process at a time does this, by a lease with a fencing token.
    """

    def __init__(self, engine: sa.Engine, embedder: Embedder, settings: EmbedSettings) -> None:
        self._engine = engine
        self._embedder = embedder
        self._settings = settings
        self._leadership: Leadership | None = None
        self._task: _Task | None = None

    @property
    def _kept(self) -> float:
        """How long counts are kept, seconds of event time: twice what a detector begins with."""
        drift = self._settings.drift
        return 2 * (drift.reference + 1) * drift.slice_seconds

    def once(self, now: float) -> bool:
        """Embed some tickets, and count their slice if they were the last; False: none is due.

        Raises
        ------
        DependencyDownError: the embedder cannot be used now; the next turn tries these again.
        FencedError: another process does this now; nothing of the slice was written.
        """
        settings = self._settings
        with self._engine.begin() as connection:
            leads = lead(connection, "embed", settings.owner, now, settings.lease_seconds)
            if leads != self._leadership:
                self._task = None  # whoever led meanwhile may have done it
            self._leadership = leads
            if leads is None:
                return False
            task = self._task = self._task or self._next(connection, now)
        if task is None:
            return False
        self._embed(task)
        if sum(map(len, task.vectors)) == len(task.samples):
            self._task = None
            with self._engine.begin() as connection:
                check_leadership(connection, leads)
                self._write(connection, task, now)
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
        return _Task(state, anew, start, start + length, samples, [])

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

    def _embed(self, task: _Task) -> None:
        done = sum(map(len, task.vectors))
        some = task.samples[done : done + BATCH]
        task.vectors.append(self._embedder.embed([sample.text for sample in some]))

    def _write(self, connection: sa.Connection, task: _Task, now: float) -> None:
        vectors = np.concatenate(task.vectors)
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
