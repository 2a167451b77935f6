"""A list as a source: for tests, and for replaying events that are already in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from monitor.sources import Poll, Record
from schemas.events import Stream


def record(
    stream: Stream,
    offset: int,
    value: bytes | None,
    *,
    shard: int = 0,
    key: bytes | None = None,
    timestamp: float | None = None,
) -> Record:
    """Build the record at `offset` of the partition `<stream>/<shard>`.

    >>> record("tickets", 7, b"{}").next_offset
    8
    """
    return Record(stream, shard, f"{stream}/{shard}", offset, offset + 1, timestamp, key, value, ())


class MemorySource:
    """Reads a list of records in its order; the list may grow while it is read.

    Two sources may share one list: the second goes on where the first one's checkpoint was.

    >>> log = [record("tickets", 0, b"a"), record("tickets", 1, b"b")]
    >>> source = MemorySource(log)
    >>> sorted(source.poll(0).gained)
    [0]
    >>> source.seek(0, {"tickets/0": 1})
    >>> [found.value for found in source.poll(0).records]
    [b'b']

    Parameters
    ----------
    log: the records; offsets within a partition must grow.
    shards: what this process owns at the start.
    batch: the most records that one poll returns.
    """

    def __init__(
        self, log: Sequence[Record], *, shards: frozenset[int] = frozenset({0}), batch: int = 5000
    ) -> None:
        self._log = log
        self._batch = batch
        self._gained = shards
        self._lost: frozenset[int] = frozenset()
        #: shards whose records flow
        self._flowing: set[int] = set()
        #: partition -> next offset; what stands before it was read
        self._positions: dict[str, int] = {}
        #: nothing before this place in the list is left to read
        self._next = 0
        #: what `commit` was told last
        self.committed: dict[str, int] = {}

    def poll(self, timeout: float) -> Poll:  # noqa: ARG002 - nothing to wait for: it is all here
        """Return the next records of the shards that flow."""
        gained, lost = self._gained, self._lost
        self._gained = self._lost = frozenset()
        return Poll(self._take(), gained, lost)

    def _take(self) -> list[Record]:
        taken: list[Record] = []
        while self._next < len(self._log) and len(taken) < self._batch:
            found = self._log[self._next]
            self._next += 1
            if found.shard in self._flowing and found.offset >= self._positions.get(
                found.partition, 0
            ):
                self._positions[found.partition] = found.next_offset
                taken.append(found)
        return taken

    def reassign(self, shards: frozenset[int]) -> None:
        """Own these shards from the next poll on, as a rebalance would have it: all anew."""
        self._lost |= self._flowing
        self._gained = shards
        self._flowing.clear()

    def seek(self, shard: int, positions: Mapping[str, int]) -> None:
        """Let the shard's records flow from these offsets; without one, from the first."""
        for partition in {found.partition for found in self._log if found.shard == shard}:
            self._positions[partition] = positions.get(partition, 0)
        self._flowing.add(shard)
        # from the front again: the other shards' positions keep theirs from being read twice
        self._next = 0

    def shard_of(self, partition: str) -> int:
        """Return the shard that the partition's records name."""
        return next(found.shard for found in self._log if found.partition == partition)

    def commit(self, positions: Mapping[str, int]) -> None:
        """Remember the positions."""
        self.committed.update(positions)

    def gaps(self, positions: Mapping[str, int]) -> Mapping[str, tuple[int, int]]:  # noqa: ARG002
        """Return nothing: a list loses nothing."""
        return {}

    def place(self, partition: str) -> str:
        """Return the name: a list is nowhere."""
        return partition

    def lag(self) -> Mapping[str, int]:
        """Return the number of records left in each flowing partition."""
        left: dict[str, int] = {}
        for found in self._log:
            if found.shard in self._flowing:
                ahead = found.offset >= self._positions.get(found.partition, 0)
                left[found.partition] = left.get(found.partition, 0) + ahead
        return left

    def close(self) -> None:
        """Stop: no record flows after this."""
        self._flowing.clear()
