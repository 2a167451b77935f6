"""What the embed loop reads and writes: sampled tickets by slice, the map, what was counted."""

from __future__ import annotations

from typing import Final

import msgspec
import sqlalchemy as sa

from monitor.drift.topics import EmbeddedSlice, TopicMap
from monitor.store import evaluation
from monitor.store.evaluation import DetectorKey
from schemas import tables
from schemas.journal import add
from schemas.samples import Sample

_KEY: Final = DetectorKey("topics", "*", "*", "")
#: end of the newest slice that is done with
DONE: Final = "embedded"


class MapState(msgspec.Struct, frozen=True, kw_only=True):
    """The map that is in use, and what it stands and falls with."""

    #: of the embedder
    fingerprint: str
    slice_seconds: float
    #: texts are gathered for the map from here on, event time, seconds UTC
    since: float
    #: None: still gathering
    topic_map: TopicMap | None = None


_encode = msgspec.json.Encoder().encode
_decode_state = msgspec.json.Decoder(MapState).decode
_decode_slice = msgspec.json.Decoder(EmbeddedSlice).decode
_decode_sample = msgspec.json.Decoder(Sample).decode


def map_state(connection: sa.Connection) -> MapState | None:
    """Return the map; None before the first turn."""
    body = evaluation.detector_state(connection, _KEY)
    return None if body is None else _decode_state(body)


def write_map_state(connection: sa.Connection, state: MapState, now: float) -> None:
    """Replace the map."""
    evaluation.write_detector_states(connection, {_KEY: _encode(state)}, now)


def _drawn(since: float, until: float) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the condition of tickets of the uniform draw that count in windows of `[since, until)`."""
    table = tables.sample
    return table.c.reason == "random", table.c.window >= since, table.c.window < until


def first_drawn(connection: sa.Connection, *, since: float, until: float) -> float | None:
    """Return the start of the first window in `[since, until)` of which a ticket was drawn."""
    query = sa.select(sa.func.min(tables.sample.c.window)).where(*_drawn(since, until))
    found = connection.scalar(query)
    return None if found is None else float(found)


def count_drawn(connection: sa.Connection, *, since: float, until: float) -> int:
    """Return how many tickets were drawn uniformly of windows in `[since, until)`."""
    return connection.scalar(sa.select(sa.func.count()).where(*_drawn(since, until))) or 0


def drawn(connection: sa.Connection, *, since: float, until: float) -> list[Sample]:
    """Return the tickets that were drawn uniformly of windows in `[since, until)`."""
    rows = connection.execute(sa.select(tables.sample.c.body).where(*_drawn(since, until)))
    return [_decode_sample(body) for (body,) in rows]


def add_slice(connection: sa.Connection, slice_: EmbeddedSlice) -> None:
    """Journal what was counted in a slice; one that is known already is left as it is."""
    row = {"start": slice_.start, "topic_map": slice_.topic_map, "body": _encode(slice_)}
    add(connection, tables.embedded_slice, row)


def slices(
    connection: sa.Connection, *, topic_map: str, since: float, limit: int
) -> list[EmbeddedSlice]:
    """Return the oldest slices not taken yet: from `since` on, or counted by another map."""
    table = tables.embedded_slice
    rows = connection.execute(
        sa.select(table.c.body)
        .where(sa.or_(table.c.start >= since, table.c.topic_map != topic_map))
        .order_by(table.c.start)
        .limit(limit)
    )
    return [_decode_slice(body) for (body,) in rows]


def prune(connection: sa.Connection, before: float) -> None:
    """Delete what was counted in slices that start before."""
    table = tables.embedded_slice
    connection.execute(sa.delete(table).where(table.c.start < before))
