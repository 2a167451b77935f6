"""What the consumer group gave this member, and took: written down where it is called."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Literal

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition


def shards_of(places: Iterable[TopicPartition]) -> frozenset[int]:
    """Return the partitions' numbers: a shard is the same number of all topics."""
    return frozenset(place.partition for place in places)


class Rebalances(ConsumerRebalanceListener):  # type: ignore[misc] # kafka-python has no types
    """Writes down what the group gave and took.

    It is called on kafka-python's IO thread, now and then while the loop is elsewhere, so it
    only appends to a deque, which both threads may touch.
    """

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer
        self.events: deque[tuple[Literal["gained", "lost"], frozenset[int]]] = deque()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Note what came, and keep it still."""
        # before the first fetch can leave: no record may come before the journal's position is
        # known. Offset 0 stands in until then, because a partition without any position makes
        # poll() ask for the group's committed offset, and raise when there is none.
        for partition in assigned:
            self._consumer.pause(partition)
            self._consumer.seek(partition, 0)
        self.events.append(("gained", shards_of(assigned)))

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Note what went in good order."""
        self.events.append(("lost", shards_of(revoked)))

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        """Note what others took while we were away."""
        self.events.append(("lost", shards_of(lost)))
