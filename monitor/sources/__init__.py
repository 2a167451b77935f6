"""Where production's events come from: a Kafka topic, files that grow, or a test's list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from schemas.events import Stream


class Record(NamedTuple):
    """One message as it came, and where it stands."""

    stream: Stream
    #: records of one shard are handled in one place: its tickets meet its answers there
    shard: int
    #: names one append-only sequence for ever: `tickets/3`, or a file's identity
    partition: str
    offset: int
    #: the offset to go on from after this record
    next_offset: int
    #: when the producer or broker stamped it, seconds UTC; None when nobody did
    timestamp: float | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class Poll(NamedTuple):
    """What one turn brought: records, and shards that came or went."""

    records: list[Record]
    #: shards that are this process's from now on; none of their records come before `seek`
    gained: frozenset[int]
    #: shards that are another's now: what is held of them must be dropped, unwritten
    lost: frozenset[int]


class Source(Protocol):
    """A place to read events from, at least once and in order within a partition."""

    def poll(self, timeout: float) -> Poll:
        """Wait up to `timeout` seconds for records.

        Raises
        ------
        PositionError: a position that `seek` gave is gone, or there is none and no start is
            configured.
        """

    def seek(self, shard: int, positions: Mapping[str, int]) -> None:
        """Let a gained shard's records flow, from these offsets.

        A partition without a position begins where the configuration says.
        """

    def commit(self, positions: Mapping[str, int]) -> None:
        """Tell lag tools how far the journal is; never raises, never blocks for long."""

    def lag(self) -> Mapping[str, int]:
        """Records (Kafka) or bytes (files) that each owned partition is behind."""

    def close(self) -> None:
        """Leave; what was not checkpointed will be read again."""
