"""What the consume loop does with a source, without the rest of the loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from monitor.sources import Record, Source

#: Seconds; the stand-in for Kafka takes 23 to let a first member join.
PATIENCE = 120.0


class Reader:
    """Reads a source, seeks what it gains, and keeps the positions as a checkpoint would."""

    def __init__(self, source: Source, positions: Mapping[str, int] | None = None) -> None:
        self.source = source
        #: the last checkpoint: where a gained shard goes on
        self.checkpoint = dict(positions or {})
        #: how far the records in `read` go
        self.positions = dict(self.checkpoint)
        self.read: list[Record] = []
        self.owned: set[int] = set()
        self.gained: list[int] = []
        self.lost: list[int] = []

    def turn(self, timeout: float = 0.2) -> None:
        found = self.source.poll(timeout)
        self.lost += found.lost
        self.owned -= found.lost
        for shard in found.gained:
            self.gained.append(shard)
            self.owned.add(shard)
            self.source.seek(shard, self.checkpoint)
        self.read += found.records
        self.positions.update(found.began)
        self.positions.update({one.partition: one.next_offset for one in found.records})

    def until(self, reached: Callable[[], bool], timeout: float = 0.2) -> None:
        patience = time.monotonic() + PATIENCE
        while not reached():
            assert time.monotonic() < patience, f"waited in vain; read {len(self.read)} records"
            self.turn(timeout)

    def take(self, count: int) -> list[Record]:
        """Read until there are `count` records, and one empty turn more: no others come."""
        self.until(lambda: len(self.read) >= count)
        self.turn()
        return self.read

    def values(self, stream: str) -> list[bytes | None]:
        return [one.value for one in self.read if one.stream == stream]
