"""Side by side: records that were fetched wait here until the other streams have come as far.

A broker sends so many bytes of each partition, and a reader hands on what comes. Over a long
backlog the stream of small events then runs far ahead of the one of large events, and its halves
of pairs wait in memory and in the journal until there are too many and the oldest must go. So
each turn takes from all partitions of a shard the same fraction of what they have left: they
reach their ends together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from math import ceil
from typing import Final

from monitor.sources import Record

#: A partition whose next records do not come within this many seconds holds nobody up: they may
#: belong to a transaction that is not committed, or their broker is down.
PATIENCE: Final = 1.0


class Interleaver:
    """Holds fetched records, in order within a partition, and hands them on in proportion.

    >>> from monitor.sources.memory import record
    >>> streams = Interleaver()
    >>> streams.add("tickets/0", [record("tickets", n, b"") for n in range(10)], now=0.0)
    >>> streams.add("answers/0", [record("answers", n, b"") for n in range(30)], now=0.0)

    20 tickets are still to come, and no answer, so a third of the answers goes with ten tickets:

    >>> found = streams.take([{"tickets/0": 20, "answers/0": 0}], limit=100, now=0.0)
    >>> [sum(one.stream == stream for one in found) for stream in ("tickets", "answers")]
    [10, 10]
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Record]] = {}
        #: partition -> when it last had a record here, or was first asked for one
        self._heard: dict[str, float] = {}

    def add(self, partition: str, records: Iterable[Record], now: float) -> None:
        """Take in what was fetched, to be handed on in this order."""
        self._waiting.setdefault(partition, deque()).extend(records)
        self._heard[partition] = now

    def drop(self, partitions: Iterable[str]) -> None:
        """Forget these partitions and what waits of them."""
        for partition in partitions:
            self._waiting.pop(partition, None)
            self._heard.pop(partition, None)

    def held(self, partition: str) -> int:
        """Return how many records of the partition wait here."""
        return len(self._waiting.get(partition, ()))

    def take(
        self, shards: Iterable[Mapping[str, int | None]], limit: int, now: float
    ) -> list[Record]:
        """Hand on about `limit` records.

        Parameters
        ----------
        shards: for each shard, the records of each of its partitions that are not fetched yet;
            None where that is not known yet.
        now: seconds, of any clock that does not jump.
        """
        lefts = list(shards)
        total = sum(
            self.held(partition) + (left or 0) for one in lefts for partition, left in one.items()
        )
        found: list[Record] = []
        for one in lefts if total else ():
            here = min(self._here(partition, left, now) for partition, left in one.items())
            for partition, left in one.items():
                wanted = ceil(min(here, limit / total) * (self.held(partition) + (left or 0)))
                found += self._first(partition, wanted, now)
        return found

    def _here(self, partition: str, left: int | None, now: float) -> float:
        """Return the fraction of what is left of the partition that can be handed on."""
        held = self.held(partition)
        if not held:
            waited = now - self._heard.setdefault(partition, now)
            return 1.0 if left == 0 or waited >= PATIENCE else 0.0
        return held / (held + (left or 0))

    def _first(self, partition: str, wanted: int, now: float) -> list[Record]:
        waiting = self._waiting.get(partition)
        if not waiting:
            return []
        self._heard[partition] = now
        return [waiting.popleft() for _ in range(min(wanted, len(waiting)))]
