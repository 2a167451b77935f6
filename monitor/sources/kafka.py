"""Kafka topics as a source: one topic a stream, a shard for each partition number.

Positions come from the journal alone. The group's committed offsets are written for lag tools,
and never read.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Any, Final, NoReturn

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import (
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    UnknownTopicOrPartitionError,
)
from kafka.net.compat import KafkaNetClient
from kafka.structs import OffsetAndMetadata

from monitor.sources import Poll, Record
from monitor.sources.interleave import Interleaver
from monitor.sources.kafka_offsets import beginnings, gap_error, name_of, outside, starts
from monitor.sources.kafka_rebalances import Rebalances, shards_of
from monitor.sources.kafka_settings import KafkaSettings, check_codecs, explained, options
from schemas.errors import ConfigError, DependencyDownError
from schemas.events import Stream

#: The most records that one poll returns, about.
BATCH: Final = 5000
#: So many records of a partition are held at most (and one fetch more) until others catch up.
AHEAD: Final = 1000
#: Seconds for leaving the group.
LEAVE: Final = 3.0


class KafkaSource:
    """Reads the streams' topics as one member of a consumer group.

    One thread owns it. Nothing happens before the first `poll`, which connects; after an error
    it cannot go on from it leaves the group, and the next `poll` connects anew: all shards are
    then `lost`, and `gained` again when they come back.

    After a PositionError the shards at fault stand still until they are `seek`-ed again; the
    others go on.

    The streams of a shard advance together, however long the backlog (`Interleaver`).
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._stream_of = {topic: stream for stream, topic in settings.topics.items()}
        if not self._stream_of or len(self._stream_of) != len(settings.topics):
            raise ConfigError(
                f"each stream needs a topic of its own, not {settings.topics}",
                next_step="give the source one topic a stream",
            )
        self._consumer: KafkaConsumer | None = None
        self._rebalances: Rebalances | None = None
        #: shards whose records flow
        self._flowing: set[int] = set()
        #: shards that wait for their first fetch: the journal's positions
        self._wanted: dict[int, dict[str, int]] = {}
        self._gained: set[int] = set()
        self._lost: set[int] = set()
        self._began: dict[TopicPartition, int] = {}
        self._streams = Interleaver()
        #: True when the last poll returned records: more may be here already
        self._busy = False
        #: True when the group changed and the topics' partition counts were not compared since
        self._unchecked = True

    def poll(self, timeout: float) -> Poll:
        """Wait up to `timeout` seconds for records; while the broker is away there are none.

        Raises
        ------
        PositionError: retention removed the offset that was wanted, or there is none.
        DependencyDownError: no broker, no such topic, or it refuses us.
        ConfigError: the topics' partition counts differ, or the settings cannot work.
        """
        until = time.monotonic() + timeout
        consumer = self._consumer or self._connect()
        try:
            self._place(consumer)
            self._fetch(consumer, 0.0 if self._busy else timeout)
        except KafkaError as error:
            self._wait_or_reconnect(error, until)
        self._follow_group()
        if self._unchecked:
            self._compare_topics(consumer)
            self._unchecked = False
        return self._poll_of(self._take(consumer))

    def _fetch(self, consumer: KafkaConsumer, timeout: float) -> None:
        self._hold_back(consumer)
        try:
            # All that was fetched, however much: a partition must not be paused while the
            # consumer holds a part of a fetch of it (kafka-python 3.0.12 then forgets that part,
            # and the partition, for good). What one fetch can bring is bounded in bytes.
            batches = consumer.poll(int(timeout * 1000), max_records=sys.maxsize)
        except OffsetOutOfRangeError as error:
            self._refuse(consumer, error.args[0])
        for place, batch in batches.items():
            # not flowing: it was taken away while these records were on their way
            if place.partition in self._flowing:
                found = _records(self._stream_of[place.topic], place, batch)
                self._streams.add(name_of(place), found, time.monotonic())

    def _hold_back(self, consumer: KafkaConsumer) -> None:
        """Fetch no more of the partitions that are ahead of the others."""
        for place in self._owned():
            change = (
                consumer.pause if self._streams.held(name_of(place)) >= AHEAD else consumer.resume
            )
            # the group can take a partition away between two of these lines
            with suppress(KeyError):
                change(place)

    def _take(self, consumer: KafkaConsumer) -> list[Record]:
        shards = [self._not_fetched(consumer, shard) for shard in self._flowing]
        records = self._streams.take(shards, BATCH, time.monotonic())
        self._busy = bool(records)
        return records

    def _not_fetched(self, consumer: KafkaConsumer, shard: int) -> dict[str, int | None]:
        """Return how many records of each partition are still at the broker; None: not known."""
        left: dict[str, int | None] = {}
        for place in self._places(shard):
            left[name_of(place)] = None
            # the group can take a partition away between two of these lines
            with suppress(KafkaError):
                end = consumer.highwater(place)
                at = consumer.position(place, timeout_ms=0)
                if end is not None and at is not None:
                    left[name_of(place)] = max(0, end - at)
        return left

    def _poll_of(self, records: list[Record]) -> Poll:
        began = {
            name_of(place): at
            for place, at in self._began.items()
            if place.partition in self._flowing
        }
        found = Poll(records, frozenset(self._gained), frozenset(self._lost), began)
        self._gained, self._lost, self._began = set(), set(), {}
        return found

    def seek(self, shard: int, positions: Mapping[str, int]) -> None:
        """Let a gained shard's records flow from the next poll on."""
        self._halt({shard})
        names = {name_of(place) for place in self._places(shard)}
        self._wanted[shard] = {name: at for name, at in positions.items() if name in names}

    def shard_of(self, partition: str) -> int:
        """Return the partition's number."""
        return int(partition.rpartition("/")[2])

    def commit(self, positions: Mapping[str, int]) -> None:
        """Send the offsets to the group, and do not wait."""
        offsets = {
            place: OffsetAndMetadata(positions[name_of(place)], "", -1)
            for place in self._owned()
            if name_of(place) in positions
        }
        # only lag tools read them, and the next commit brings newer ones: a failure costs nothing
        with suppress(KafkaError):
            if self._consumer and offsets:
                self._consumer.commit_async(offsets)

    def place(self, partition: str) -> str:
        """Return the name, which tells topic and partition."""
        return partition

    def lag(self) -> Mapping[str, int]:
        """Return the records that each partition is behind; those not fetched yet are left out."""
        consumer = self._consumer
        return {
            name: left + self._streams.held(name)
            for shard in (self._flowing if consumer else ())
            for name, left in self._not_fetched(consumer, shard).items()
            if left is not None
        }

    def gaps(self, positions: Mapping[str, int]) -> Mapping[str, tuple[int, int]]:
        """Return the positions that are outside their partition; the group is left alone.

        Below it: retention removed what was there. Above it: the topic was made anew, or the
        broker lost its end.
        """
        consumer = self._open(group_id=None, group_instance_id=None)
        try:
            self._compare_topics(consumer)
            places = [
                TopicPartition(topic, number)
                for topic in self._stream_of
                for number in consumer.partitions_for_topic(topic)
            ]
            known = {p: positions[name_of(p)] for p in places if name_of(p) in positions}
            return outside(consumer, known)
        except KafkaError as error:
            raise explained(error, self._settings) from error
        finally:
            consumer.close()

    def close(self) -> None:
        """Leave the group, so that others take over at once."""
        consumer, self._consumer = self._consumer, None
        if consumer:
            with suppress(KafkaError):
                consumer.close(autocommit=False, timeout_ms=LEAVE * 1000)

    # --- the group -------------------------------------------------------------------------

    def _connect(self) -> KafkaConsumer:
        check_codecs()
        consumer = self._open()
        self._rebalances = Rebalances(consumer)
        consumer.subscribe(list(self._stream_of), listener=self._rebalances)
        self._consumer = consumer
        self._unchecked = True
        return consumer

    def _open(self, **changed: Any) -> KafkaConsumer:
        clients: list[KafkaNetClient] = []

        def client(**given: Any) -> KafkaNetClient:
            clients.append(KafkaNetClient(**given))
            return clients[-1]

        try:
            consumer = KafkaConsumer(kafka_client=client, **(options(self._settings) | changed))
        except (KafkaError, OSError) as error:
            # the constructor started an IO thread and does not stop it when it fails
            for left in clients:
                left.close()
            raise explained(error, self._settings) from error
        return consumer

    def _wait_or_reconnect(self, error: KafkaError, until: float) -> None:
        """Sit out an outage; leave and raise when waiting does not help."""
        # the first of these can come for an instant when a rebalance and a poll cross
        if isinstance(error, NoOffsetForPartitionError) or error.retriable:
            time.sleep(max(0.0, until - time.monotonic()))
            return
        self.close()
        self._lost |= self._flowing
        self._halt(self._flowing.copy())
        self._gained.clear()
        raise explained(error, self._settings) from error

    def _follow_group(self) -> None:
        """Take over what the listener wrote down, in its order."""
        assert self._rebalances
        while self._rebalances.events:
            what, shards = self._rebalances.events.popleft()
            if what == "gained":
                self._gained |= shards
                self._unchecked = True
            else:
                self._lost |= shards
                self._gained -= shards
                self._halt(shards)

    def _compare_topics(self, consumer: KafkaConsumer) -> None:
        counts = {topic: self._partitions(consumer, topic) for topic in self._stream_of}
        missing = ", ".join(topic for topic, count in counts.items() if not count)
        if missing:
            raise DependencyDownError(
                f"Kafka has no topic {missing}", next_step="create it, or correct the topic's name"
            )
        if len(set(counts.values())) > 1:
            raise ConfigError(
                f"the topics' partition counts differ: {counts}; a ticket and its answer would "
                "be read in different places and never meet",
                next_step="give all topics equally many partitions, keyed by ticket id",
            )

    def _partitions(self, consumer: KafkaConsumer, topic: str) -> int:
        try:
            return len(consumer.partitions_for_topic(topic))
        except UnknownTopicOrPartitionError:
            return 0
        except KafkaError as error:
            raise explained(error, self._settings) from error

    # --- positions -------------------------------------------------------------------------

    def _places(self, shard: int) -> list[TopicPartition]:
        return [TopicPartition(topic, shard) for topic in self._stream_of]

    def _halt(self, shards: AbstractSet[int]) -> None:
        """Let nothing more of these shards flow, and forget what was fetched of them."""
        self._flowing -= shards
        for shard in shards:
            self._wanted.pop(shard, None)
            self._streams.drop(name_of(place) for place in self._places(shard))

    def _owned(self) -> list[TopicPartition]:
        return [place for shard in self._flowing for place in self._places(shard)]

    def _place(self, consumer: KafkaConsumer) -> None:
        """Start the shards that `seek` named."""
        unknown = [
            place
            for shard, positions in self._wanted.items()
            for place in self._places(shard)
            if name_of(place) not in positions
        ]
        begin = self._starts(consumer, unknown) if unknown else {}
        for shard, positions in self._wanted.items():
            for place in self._places(shard):
                # ValueError: taken away again; the group's word on it is on its way
                with suppress(ValueError, KeyError):
                    consumer.seek(place, positions.get(name_of(place), begin.get(place)))
                    consumer.resume(place)
            self._flowing.add(shard)
        self._wanted.clear()
        self._began |= begin

    def _starts(
        self, consumer: KafkaConsumer, places: Sequence[TopicPartition]
    ) -> dict[TopicPartition, int]:
        if self._settings.start is None:
            self._refuse(consumer, dict.fromkeys(places))
        return starts(consumer, self._settings.start, places)

    def _refuse(
        self, consumer: KafkaConsumer, wanted: Mapping[TopicPartition, int | None]
    ) -> NoReturn:
        """Stop the shards of these partitions and say what is gone."""
        first = beginnings(consumer, wanted)
        self._halt(shards_of(wanted))
        for shard in shards_of(wanted):
            # so that the others' records come, and this error does not come again
            for place in self._places(shard):
                with suppress(KeyError):
                    consumer.pause(place)
        raise gap_error({name_of(place): (at, first[place]) for place, at in wanted.items()})


def _records(stream: Stream, place: TopicPartition, batch: Iterable[Any]) -> list[Record]:
    name, shard = name_of(place), place.partition
    return [
        Record(
            stream,
            shard,
            name,
            found.offset,
            found.offset + 1,
            # -1: neither producer nor broker stamped it
            found.timestamp / 1000 if found.timestamp >= 0 else None,
            found.key,
            found.value,
            # Kafka allows a header without a value
            tuple([(key, value or b"") for key, value in found.headers]) if found.headers else (),
        )
        for found in batch
    ]
