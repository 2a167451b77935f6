"""Kafka topics as a source: one topic a stream, a shard for each partition number.

Positions come from the journal alone. The group's committed offsets are written for lag tools,
and never read.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Any, Final, Literal, NoReturn

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
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
from monitor.sources.kafka_settings import KafkaSettings, check_codecs, explained, options
from schemas.errors import ConfigError, DependencyDownError, PositionError
from schemas.events import Stream

#: The most records that one poll returns, about.
BATCH: Final = 5000
#: So many records of a partition are held at most (and one fetch more) until others catch up.
AHEAD: Final = 1000
#: Seconds for a question about offsets.
LOOKUP: Final = 5.0
#: Seconds for leaving the group.
LEAVE: Final = 3.0


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc] # kafka-python has no types
    """Writes down what the group gave and took.

    It is called on kafka-python's IO thread, now and then while the loop is elsewhere, so it
    only appends to a deque, which both threads may touch.
    """

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer
        self.events: deque[tuple[Literal["gained", "lost"], frozenset[int]]] = deque()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        # before the first fetch can leave: no record may come before the journal's position is
        # known. Offset 0 stands in until then, because a partition without any position makes
        # poll() ask for the group's committed offset, and raise when there is none.
        for partition in assigned:
            self._consumer.pause(partition)
            self._consumer.seek(partition, 0)
        self.events.append(("gained", _shards(assigned)))

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self.events.append(("lost", _shards(revoked)))

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self.events.append(("lost", _shards(lost)))


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
        self._rebalances: _Rebalances | None = None
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
                self._streams.add(_name(place), found, time.monotonic())

    def _hold_back(self, consumer: KafkaConsumer) -> None:
        """Fetch no more of the partitions that are ahead of the others."""
        for place in self._owned():
            change = (
                consumer.pause if self._streams.held(_name(place)) >= AHEAD else consumer.resume
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
            left[_name(place)] = None
            # the group can take a partition away between two of these lines
            with suppress(KafkaError):
                end = consumer.highwater(place)
                at = consumer.position(place, timeout_ms=0)
                if end is not None and at is not None:
                    left[_name(place)] = max(0, end - at)
        return left

    def _poll_of(self, records: list[Record]) -> Poll:
        began = {
            _name(place): at
            for place, at in self._began.items()
            if place.partition in self._flowing
        }
        found = Poll(records, frozenset(self._gained), frozenset(self._lost), began)
        self._gained, self._lost, self._began = set(), set(), {}
        return found

    def seek(self, shard: int, positions: Mapping[str, int]) -> None:
        """Let a gained shard's records flow from the next poll on."""
        self._halt({shard})
        names = {_name(place) for place in self._places(shard)}
        self._wanted[shard] = {name: at for name, at in positions.items() if name in names}

    def shard_of(self, partition: str) -> int:
        """Return the partition's number."""
        return int(partition.rpartition("/")[2])

    def commit(self, positions: Mapping[str, int]) -> None:
        """Send the offsets to the group, and do not wait."""
        offsets = {
            place: OffsetAndMetadata(positions[_name(place)], "", -1)
            for place in self._owned()
            if _name(place) in positions
        }
        # only lag tools read them, and the next commit brings newer ones: a failure costs nothing
        with suppress(KafkaError):
            if self._consumer and offsets:
                self._consumer.commit_async(offsets)

    def lag(self) -> Mapping[str, int]:
        """Return the records that each partition is behind; those not fetched yet are left out."""
        consumer = self._consumer
        return {
            name: left + self._streams.held(name)
            for shard in (self._flowing if consumer else ())
            for name, left in self._not_fetched(consumer, shard).items()
            if left is not None
        }

    def close(self) -> None:
        """Leave the group, so that others take over at once."""
        consumer, self._consumer = self._consumer, None
        if consumer:
            with suppress(KafkaError):
                consumer.close(autocommit=False, timeout_ms=LEAVE * 1000)

    # --- the group -------------------------------------------------------------------------

    def _connect(self) -> KafkaConsumer:
        check_codecs()
        clients: list[KafkaNetClient] = []

        def client(**given: Any) -> KafkaNetClient:
            clients.append(KafkaNetClient(**given))
            return clients[-1]

        try:
            consumer = KafkaConsumer(kafka_client=client, **options(self._settings))
        except (KafkaError, OSError) as error:
            # the constructor started an IO thread and does not stop it when it fails
            for left in clients:
                left.close()
            raise explained(error, self._settings) from error
        self._rebalances = _Rebalances(consumer)
        consumer.subscribe(list(self._stream_of), listener=self._rebalances)
        self._consumer = consumer
        self._unchecked = True
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
        self._unchecked = False

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
            self._streams.drop(_name(place) for place in self._places(shard))

    def _owned(self) -> list[TopicPartition]:
        return [place for shard in self._flowing for place in self._places(shard)]

    def _place(self, consumer: KafkaConsumer) -> None:
        """Start the shards that `seek` named."""
        unknown = [
            place
            for shard, positions in self._wanted.items()
            for place in self._places(shard)
            if _name(place) not in positions
        ]
        starts = self._starts(consumer, unknown) if unknown else {}
        for shard, positions in self._wanted.items():
            for place in self._places(shard):
                # ValueError: taken away again; the group's word on it is on its way
                with suppress(ValueError, KeyError):
                    consumer.seek(place, positions.get(_name(place), starts.get(place)))
                    consumer.resume(place)
            self._flowing.add(shard)
        self._wanted.clear()
        self._began |= starts

    def _starts(
        self, consumer: KafkaConsumer, places: Sequence[TopicPartition]
    ) -> dict[TopicPartition, int]:
        start, wait = self._settings.start, LOOKUP * 1000
        if start is None:
            self._refuse(consumer, dict.fromkeys(places))
        if start == "earliest":
            return dict(consumer.beginning_offsets(places, timeout_ms=wait))
        offsets = dict(consumer.end_offsets(places, timeout_ms=wait))
        if not isinstance(start, str):
            stamped = dict.fromkeys(places, int(start * 1000))
            found = consumer.offsets_for_times(stamped, timeout_ms=wait)
            offsets |= {place: at.offset for place, at in found.items() if at is not None}
        return offsets

    def _refuse(
        self, consumer: KafkaConsumer, wanted: Mapping[TopicPartition, int | None]
    ) -> NoReturn:
        """Stop the shards of these partitions and say what is gone."""
        first = consumer.beginning_offsets(list(wanted), timeout_ms=LOOKUP * 1000)
        self._halt(_shards(wanted))
        for shard in _shards(wanted):
            # so that the others' records come, and this error does not come again
            for place in self._places(shard):
                with suppress(KeyError):
                    consumer.pause(place)
        gaps = {_name(place): (offset, first[place]) for place, offset in wanted.items()}
        raise _gap_error(gaps)


def _shards(places: Iterable[TopicPartition]) -> frozenset[int]:
    return frozenset(place.partition for place in places)


def _name(place: TopicPartition) -> str:
    """Name a partition by its topic: another topic must not go on at this one's offsets."""
    return f"{place.topic}/{place.partition}"


def _records(stream: Stream, place: TopicPartition, batch: Iterable[Any]) -> list[Record]:
    name, shard = _name(place), place.partition
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


def _gap_error(gaps: Mapping[str, tuple[int | None, int]]) -> PositionError:
    lost = [f"{name} from {at} to {first}" for name, (at, first) in gaps.items() if at is not None]
    if lost:
        return PositionError(
            f"Kafka does not have what was to be read next: {', '.join(lost)}",
            gaps=gaps,
            next_step="note the loss, and go on from the first offset that is left",
        )
    return PositionError(
        f"the journal has no position of {', '.join(gaps)}",
        gaps=gaps,
        next_step="say where the first start begins: --from earliest, latest or a time",
    )
