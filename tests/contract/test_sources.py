"""What every source promises, whatever it reads from."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Literal, Protocol, get_args

import pytest

from monitor.sources import Record, Source
from monitor.sources.jsonl import JsonlSource
from monitor.sources.kafka import KafkaSource
from monitor.sources.kafka_settings import KafkaSettings
from monitor.sources.memory import MemorySource, record
from schemas.events import Stream
from tests.kafka_rig import Broker
from tests.source_reader import Reader

STREAMS: tuple[Stream, ...] = get_args(Stream)
Start = Literal["earliest", "latest"]


class World(Protocol):
    """Production, as a source sees it."""

    def publish(self, stream: Stream, *values: bytes) -> None: ...

    def open(self, start: Start = "earliest") -> Source: ...

    def close(self) -> None: ...


class MemoryWorld:
    def __init__(self) -> None:
        self.log: list[Record] = []

    def publish(self, stream: Stream, *values: bytes) -> None:
        offset = sum(one.stream == stream for one in self.log)
        self.log += [record(stream, offset + n, value) for n, value in enumerate(values)]

    def open(self, start: Start = "earliest") -> Source:
        assert start == "earliest"
        return MemorySource(self.log)

    def close(self) -> None: ...


class JsonlWorld:
    def __init__(self, root: Path) -> None:
        self.root = root
        for stream in STREAMS:
            (root / stream).mkdir()

    def publish(self, stream: Stream, *values: bytes) -> None:
        with (self.root / stream / "events.jsonl").open("ab") as file:
            file.writelines(value + b"\n" for value in values)

    def open(self, start: Start = "earliest") -> Source:
        return JsonlSource.under(self.root, start=start)

    def close(self) -> None: ...


class KafkaWorld:
    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.topics = broker.create(tickets=2, answers=2, feedback=2)
        self.group = f"contract-{uuid.uuid4().hex[:8]}"
        self.open_ones: list[KafkaSource] = []

    def publish(self, stream: Stream, *values: bytes) -> None:
        with self.broker.producer() as producer:
            for value in values:
                producer.send(self.topics[stream], value, key=stream.encode())

    def open(self, start: Start = "earliest") -> Source:
        source = KafkaSource(
            KafkaSettings(
                bootstrap_servers=(self.broker.bootstrap,),
                group_id=self.group,
                topics={stream: self.topics[stream] for stream in STREAMS},
                start=start,
            )
        )
        self.open_ones.append(source)
        return source

    def close(self) -> None:
        for source in self.open_ones:
            source.close()


KAFKA = pytest.param("kafka", marks=pytest.mark.kafka)


@pytest.fixture(params=["memory", "jsonl", KAFKA])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made: World
    if request.param == "kafka":
        made = KafkaWorld(request.getfixturevalue("kafka"))
    else:
        made = MemoryWorld() if request.param == "memory" else JsonlWorld(tmp_path)
    yield made
    made.close()


def _numbered(prefix: str, count: int) -> list[bytes]:
    return [f'{{"{prefix}":{n}}}'.encode() for n in range(count)]


def test_shards_are_announced_before_their_records_which_wait_for_seek(world: World) -> None:
    world.publish("tickets", b"a")
    source = world.open()
    reader = Reader(source)
    while not (found := source.poll(0.2)).gained:
        assert not found.records
    assert not found.records
    assert not source.poll(0.2).records
    for shard in found.gained:
        source.seek(shard, {})
    reader.take(1)
    assert not reader.gained, "a shard is announced once"


def test_every_record_arrives_once_in_the_order_of_its_partition(world: World) -> None:
    tickets, answers = _numbered("t", 300), _numbered("a", 200)
    world.publish("tickets", *tickets)
    world.publish("answers", *answers)
    reader = Reader(world.open())
    reader.take(500)
    assert reader.values("tickets") == tickets
    assert reader.values("answers") == answers
    assert not reader.values("feedback")


def test_offsets_follow_each_other_within_a_partition(world: World) -> None:
    world.publish("tickets", *_numbered("t", 50))
    read = Reader(world.open()).take(50)
    assert len({one.partition for one in read}) == 1
    for one, after in pairwise(read):
        assert one.offset < one.next_offset == after.offset


def test_seek_goes_on_exactly_at_any_record_that_was_read(world: World) -> None:
    values = _numbered("t", 20)
    world.publish("tickets", *values)
    first = Reader(world.open())
    read = list(first.take(20))
    first.source.close()
    for n in (0, 7, 18):
        again = Reader(world.open(), {read[n].partition: read[n].next_offset})
        again.take(20 - n - 1)
        assert again.values("tickets") == values[n + 1 :]
        again.source.close()


def test_a_process_that_died_goes_on_from_its_checkpoint(world: World) -> None:
    """What was read after the checkpoint comes again; what was before it does not."""
    world.publish("tickets", *_numbered("t", 10))
    dead = Reader(world.open())
    dead.take(10)
    checkpoint = dict(dead.positions)
    kept = list(dead.read)
    dead.source.commit(checkpoint)
    world.publish("tickets", *_numbered("u", 5))
    world.publish("answers", *_numbered("a", 5))
    dead.take(20)
    dead.source.close()
    reborn = Reader(world.open(), checkpoint)
    reborn.read += kept
    reborn.take(20)
    assert reborn.values("tickets") == _numbered("t", 10) + _numbered("u", 5)
    assert reborn.values("answers") == _numbered("a", 5)


def test_what_is_published_later_arrives_too(world: World) -> None:
    reader = Reader(world.open())
    world.publish("tickets", b"first")
    reader.take(1)
    world.publish("tickets", b"second")
    world.publish("feedback", b"third")
    reader.take(3)
    assert reader.values("tickets") == [b"first", b"second"]
    assert reader.values("feedback") == [b"third"]


@pytest.mark.parametrize("world", ["jsonl", KAFKA], indirect=True)
def test_latest_skips_what_was_there_and_nothing_after(world: World) -> None:
    """Nor does a second start, from positions that hold no record yet, skip anything."""
    world.publish("tickets", b"old")
    first = Reader(world.open("latest"))
    first.until(lambda: any(name.startswith("tickets") for name in first.positions))
    first.source.close()
    world.publish("tickets", b"new")
    world.publish("answers", b"new too")
    second = Reader(world.open("latest"), first.positions)
    second.take(2)
    assert second.values("tickets") == [b"new"]
    assert second.values("answers") == [b"new too"]


def test_nothing_is_behind_when_all_is_read(world: World) -> None:
    world.publish("tickets", *_numbered("t", 5))
    reader = Reader(world.open())
    read = reader.take(5)
    assert reader.source.lag()[read[0].partition] == 0


def test_a_position_that_can_be_gone_on_from_is_no_gap(world: World) -> None:
    if isinstance(world, KafkaWorld) and not world.broker.real:
        pytest.skip("needs Apache Kafka: the stand-in does not know where its partitions end")
    world.publish("tickets", *_numbered("t", 5))
    reader = Reader(world.open())
    reader.take(5)
    reader.source.close()
    assert not world.open().gaps({**reader.positions, "elsewhere/0": 7})
    assert not world.open().gaps({reader.read[0].partition: reader.read[0].next_offset})


def test_commit_takes_any_positions_and_changes_no_reading(world: World) -> None:
    world.publish("tickets", b"a")
    source = world.open()
    source.commit({"tickets/99": 1})
    reader = Reader(source)
    reader.take(1)
    source.commit({**reader.positions, "elsewhere/0": 7})
    world.publish("tickets", b"b")
    reader.take(2)
    assert reader.values("tickets") == [b"a", b"b"]


def test_close_can_be_called_twice_and_before_the_first_poll(world: World) -> None:
    source = world.open()
    source.close()
    source.close()
