"""Where production's events come from: a Kafka topic, files that grow, or a test's list."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from schemas.events import Stream

_NOWHERE: Final[Mapping[str, int]] = MappingProxyType({})


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
    """What one turn brought: records, and shards that came or went.

    A shard that is in both `lost` and `gained` went and came back: drop it, then load it anew.
    """

    records: list[Record]
    #: shards that are this process's from now on; none of their records come before `seek`
    gained: frozenset[int]
    #: shards that are another's now: what is held of them must be dropped, unwritten
    lost: frozenset[int]
    #: where partitions that had no position begin. It goes into the next checkpoint like the
    #: position of a record: without it a process that starts at `latest`, and stops before the
    #: first record, starts at `latest` again and skips what came meanwhile
    began: Mapping[str, int] = _NOWHERE


class Source(Protocol):
    """A place to read events from, at least once and in order within a partition."""

    def poll(self, timeout: float) -> Poll:
        """Wait up to `timeout` seconds for records.

        Raises
        ------
        PositionError: a position that `seek` gave is gone, or there is none and no start is
            configured. Its `gaps` name them; `seek` with other positions goes on.
        DependencyDownError: the broker or the directories cannot be reached, and waiting
            within `timeout` did not help. Poll again later.
        ConfigError: it will not work until a person changes something.
        """

    def seek(self, shard: int, positions: Mapping[str, int]) -> None:
        """Let a gained shard's records flow, from these offsets.

        A partition without a position begins where the configuration says. Positions of
        other shards are ignored.
        """

    def shard_of(self, partition: str) -> int:
        """Return the shard that a partition belongs to."""

    def commit(self, positions: Mapping[str, int]) -> None:
        """Tell lag tools how far the journal is; never raises, never blocks for long."""

    def gaps(self, positions: Mapping[str, int]) -> Mapping[str, tuple[int, int]]:
        """Return the positions that are gone: (wanted, first that can be read).

        It looks, and takes nothing over: no poll is needed before, and others read on.

        Raises
        ------
        DependencyDownError, ConfigError: as `poll`.
        """

    def place(self, partition: str) -> str:
        """Return where people find a partition: a file's path; else its own name."""

    def lag(self) -> Mapping[str, int]:
        """Records (Kafka) or bytes (files) that each owned partition is behind."""

    def close(self) -> None:
        """Leave; what was not checkpointed will be read again."""
