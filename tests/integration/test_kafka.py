"""KafkaSource on a real broker: codecs, groups, crashes, retention, wrong topics."""

from __future__ import annotations

import gc
import threading
import time
import uuid
import warnings
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from monitor.sources import kafka_settings
from monitor.sources.kafka import KafkaSource
from monitor.sources.kafka_settings import KafkaSettings
from schemas.errors import ConfigError, DependencyDownError, PositionError
from tests.kafka_rig import Broker, broker
from tests.source_reader import PATIENCE, Reader

pytestmark = pytest.mark.kafka

STREAMS = ("tickets", "answers", "feedback")


class Shop:
    """Production's topics, and the sources that read them."""

    def __init__(self, kafka: Broker, **partitions: int) -> None:
        self.kafka = kafka
        self.topics = kafka.create(**(partitions or dict.fromkeys(STREAMS, 2)))
        self.group = f"group-{uuid.uuid4().hex[:8]}"
        self.sources: list[KafkaSource] = []

    def reader(self, positions: dict[str, int] | None = None, **settings: Any) -> Reader:
        topics: Any = self.topics
        options = {
            "bootstrap_servers": (self.kafka.bootstrap,),
            "group_id": self.group,
            "topics": topics,
            "start": "earliest",
        }
        self.sources.append(KafkaSource(KafkaSettings(**(options | settings))))
        return Reader(self.sources[-1], positions)

    def publish(self, stream: str, shard: int, *values: bytes, **options: Any) -> None:
        with self.kafka.producer(**options) as producer:
            for value in values:
                producer.send(self.topics[stream], value, partition=shard)

    def close(self) -> None:
        for source in self.sources:
            source.close()


@pytest.fixture
def leaky() -> Iterator[None]:
    """Collect the sockets that kafka-python drops unclosed when a connection is refused."""
    yield
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()


@pytest.fixture
def shop(kafka: Broker) -> Iterator[Shop]:
    made = Shop(kafka)
    yield made
    made.close()


@pytest.fixture
def real_shop(apache_kafka: Broker) -> Iterator[Shop]:
    made = Shop(apache_kafka)
    yield made
    made.close()


def test_batches_in_every_codec_arrive(shop: Shop) -> None:
    codecs = (None, "gzip", "snappy", "lz4", "zstd")
    for codec in codecs:
        values = [f"{codec} {n}".encode() for n in range(20)]
        shop.publish("tickets", 0, *values, compression_type=codec, linger_ms=20)
    reader = shop.reader()
    reader.take(100)
    assert {(value or b"").split()[0].decode() for value in reader.values("tickets")} == {
        str(codec) for codec in codecs
    }


def test_key_value_headers_and_time_arrive_as_they_were_sent(shop: Shop) -> None:
    headers = [("ce_type", b"ticket.v1"), ("ce_type", b"again")]
    with shop.kafka.producer() as producer:
        producer.send(
            shop.topics["tickets"], b"\x00\xff", b"key", headers, 0, int(time.time()) * 1000
        )
        producer.send(shop.topics["tickets"], None, b"key", partition=0)
    full, tombstone = shop.reader().take(2)
    assert (full.key, full.value, full.headers) == (b"key", b"\x00\xff", tuple(headers))
    assert full.timestamp is not None
    assert abs(full.timestamp - time.time()) < 2 * PATIENCE
    assert full.timestamp == int(full.timestamp)
    assert (tombstone.key, tombstone.value, tombstone.headers) == (b"key", None, ())


def test_a_second_member_takes_over_whole_shards_and_gives_them_back(shop: Shop) -> None:
    """A shard is the same partition of all topics: its tickets meet its answers in one place."""
    first = shop.reader()
    first.until(lambda: first.owned == {0, 1})
    second = shop.reader()
    halves = [{0}, {1}]
    patience = time.monotonic() + PATIENCE
    while sorted([first.owned, second.owned], key=sorted) != halves:
        assert time.monotonic() < patience
        first.turn()
        second.turn()
    for shard in (0, 1):
        shop.publish("tickets", shard, b"ticket %d" % shard)
        shop.publish("answers", shard, b"answer %d" % shard)
    while len(first.read) + len(second.read) < 4:
        assert time.monotonic() < patience
        first.turn()
        second.turn()
    for reader in (first, second):
        [shard] = reader.owned
        assert {one.shard for one in reader.read} == {shard}
        assert {one.stream for one in reader.read} == {"tickets", "answers"}
    assert set(first.lost) == {0, 1}, "a rebalance takes all, and gives anew"
    second.source.close()
    first.until(lambda: first.owned == {0, 1})


def test_what_was_read_but_not_checkpointed_comes_again_after_a_rebalance(shop: Shop) -> None:
    shop.publish("tickets", 0, b"a", b"b")
    first = shop.reader()
    first.take(2)
    first.checkpoint = {f"{shop.topics['tickets']}/0": 1}
    second = shop.reader()
    patience = time.monotonic() + PATIENCE
    while b"b" not in first.values("tickets")[2:] + second.values("tickets")[1:]:
        assert time.monotonic() < patience
        first.turn()
        second.turn()
    assert first.lost, "the second member's arrival took the shard away for a moment at least"


def test_the_group_is_told_how_far_the_journal_is(shop: Shop) -> None:
    from kafka import KafkaConsumer, TopicPartition

    shop.publish("tickets", 0, b"a", b"b", b"c")
    reader = shop.reader()
    reader.take(3)
    place = TopicPartition(shop.topics["tickets"], 0)
    reader.source.commit({f"{place.topic}/0": 2})
    asking = KafkaConsumer(bootstrap_servers=shop.kafka.bootstrap, group_id=shop.group)
    try:
        reader.until(lambda: asking.committed(place, timeout_ms=5000) == 2)
    finally:
        asking.close()


def test_a_start_at_a_time_begins_with_the_first_record_stamped_then(real_shop: Shop) -> None:
    noon = int(time.time()) - 3600
    with real_shop.kafka.producer() as producer:
        for minutes in range(-2, 3):
            producer.send(
                real_shop.topics["tickets"],
                str(minutes).encode(),
                partition=0,
                timestamp_ms=(noon + 60 * minutes) * 1000,
            )
        producer.send(
            real_shop.topics["answers"], b"x", partition=1, timestamp_ms=(noon - 9) * 1000
        )
    reader = real_shop.reader(start=float(noon))
    reader.take(3)
    assert [one.value for one in reader.read] == [b"0", b"1", b"2"]


def test_without_a_position_or_a_start_it_refuses_until_it_is_told(shop: Shop) -> None:
    shop.publish("tickets", 0, b"a")
    reader = shop.reader(start=None)
    with pytest.raises(PositionError, match="the journal has no position of") as caught:
        reader.until(lambda: False)
    gaps = caught.value.gaps
    assert set(gaps) == {f"{topic}/{n}" for topic in shop.topics.values() for n in (0, 1)}
    assert set(gaps.values()) == {(None, 0)}
    for shard in (0, 1):
        reader.source.seek(shard, {name: first for name, (_, first) in gaps.items()})
    reader.take(1)


def test_streams_of_unlike_size_are_read_side_by_side(shop: Shop) -> None:
    """Fetched by bytes alone, the answers of a long backlog would be read first."""
    count = 6000
    random = Random(1)
    for stream, size in (("tickets", 1000), ("answers", 100)):
        values = [b"%d %s" % (n, random.randbytes(size)) for n in range(count)]
        shop.publish(stream, 0, *values)
    reader = shop.reader()
    furthest = 0
    while len(reader.read) < 2 * count:
        reader.turn()
        ahead = len(reader.values("answers")) - len(reader.values("tickets"))
        furthest = max(furthest, abs(ahead))
    assert furthest < count / 10


def test_an_offset_that_retention_removed_is_refused_with_what_is_lost(real_shop: Shop) -> None:
    """The other shard goes on; the one at fault goes on after another `seek`."""
    from kafka import TopicPartition

    topic = real_shop.topics["tickets"]
    real_shop.publish("tickets", 0, *[b"%d" % n for n in range(10)])
    with real_shop.kafka.admin() as admin:
        admin.delete_records({TopicPartition(topic, 0): 6})
    reader = real_shop.reader({f"{topic}/0": 2})
    with pytest.raises(PositionError, match=f"{topic}/0 from 2 to 6") as caught:
        reader.until(lambda: False)
    assert caught.value.gaps == {f"{topic}/0": (2, 6)}
    elsewhere = {f"{topic}/1": 0, "another.topic/0": 7, f"{topic}/99": 7}
    assert reader.source.gaps({f"{topic}/0": 2, **elsewhere}) == caught.value.gaps
    real_shop.publish("tickets", 1, b"elsewhere")
    reader.take(1)
    assert reader.values("tickets") == [b"elsewhere"]
    reader.source.seek(0, {f"{topic}/0": 6})
    reader.take(5)
    assert reader.values("tickets")[1:] == [b"6", b"7", b"8", b"9"]


def test_a_position_beyond_the_end_of_the_log_is_refused_too(real_shop: Shop) -> None:
    """The topic was made anew, or the journal belongs to another broker."""
    topic = real_shop.topics["answers"]
    reader = real_shop.reader({f"{topic}/1": 99})
    with pytest.raises(PositionError, match=f"{topic}/1 from 99 to 0"):
        reader.until(lambda: False)
    assert reader.source.gaps({f"{topic}/1": 99}) == {f"{topic}/1": (99, 0)}


def test_a_look_for_gaps_takes_nothing_from_the_group(real_shop: Shop) -> None:
    real_shop.publish("tickets", 0, b"a")
    reader = real_shop.reader()
    reader.take(1)
    assert not real_shop.reader().source.gaps(reader.positions)
    for _ in range(5):
        reader.turn()
    assert not reader.lost


def test_topics_of_unlike_partition_counts_are_refused(kafka: Broker) -> None:
    shop = Shop(kafka, tickets=2, answers=3)
    with pytest.raises(ConfigError, match="partition counts differ"):
        shop.reader().until(lambda: False)
    shop.close()


@pytest.mark.usefixtures("leaky")
def test_a_missing_topic_is_said_and_read_when_it_is_there(real_shop: Shop) -> None:
    late = f"late-{uuid.uuid4().hex[:8]}"
    reader = real_shop.reader(topics={"tickets": late})
    with pytest.raises(DependencyDownError, match=f"no topic {late}"):
        reader.until(lambda: False)
    with real_shop.kafka.admin() as admin:
        admin.create_topics({late: {"num_partitions": 1, "replication_factor": 1}})
    patience = time.monotonic() + PATIENCE
    while not reader.owned:
        assert time.monotonic() < patience
        try:
            reader.turn()
        except DependencyDownError:
            time.sleep(0.1)


def test_two_streams_cannot_share_a_topic() -> None:
    with pytest.raises(ConfigError, match="a topic of its own"):
        KafkaSource(
            KafkaSettings(
                bootstrap_servers=("x:1",), group_id="g", topics={"tickets": "t", "answers": "t"}
            )
        )


@pytest.mark.usefixtures("leaky")
def test_no_broker_is_said_at_each_poll_and_leaves_no_thread_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kafka_settings, "CONNECT", 0.5)
    settings = KafkaSettings(
        bootstrap_servers=("127.0.0.1:1",), group_id="g", topics={"tickets": "t"}
    )
    source = KafkaSource(settings)
    before = threading.active_count()
    for _ in range(2):
        with pytest.raises(DependencyDownError, match=r"Kafka at 127\.0\.0\.1:1"):
            source.poll(0.1)
    source.close()
    assert threading.active_count() == before


def test_a_password_that_is_not_there_is_said_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_KAFKA_PASSWORD", raising=False)
    settings = KafkaSettings(
        bootstrap_servers=("127.0.0.1:1",),
        group_id="g",
        topics={"tickets": "t"},
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username="proctord",
        sasl_password_env="SHOP_KAFKA_PASSWORD",
    )
    with pytest.raises(ConfigError, match="SHOP_KAFKA_PASSWORD"):
        KafkaSource(settings).poll(0)


@pytest.mark.usefixtures("leaky")
def test_a_broker_that_crashes_and_returns_costs_no_record_and_repeats_none() -> None:
    """While it is away, polls are empty and the shards stay ours, or come back as gained."""
    with broker() as kafka:
        if not kafka.real:
            pytest.skip("needs Apache Kafka: the stand-in forgets everything")
        shop = Shop(kafka, tickets=1, answers=1)
        reader = shop.reader()
        values = [b"%d" % n for n in range(200)]
        shop.publish("tickets", 0, *values[:100])
        reader.take(100)
        reader.checkpoint = dict(reader.positions)
        kafka.kill()
        for _ in range(5):
            assert not reader.source.poll(0.2).records
            reader.source.commit(reader.positions)
            reader.source.lag()
        kafka.start()
        shop.publish("tickets", 0, *values[100:])
        reader.take(200)
        assert reader.values("tickets") == values
        shop.close()


SASL = (
    "listener.security.protocol.map=PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
    "sasl.enabled.mechanisms=PLAIN",
    "sasl.mechanism.inter.broker.protocol=PLAIN",
    (
        "listener.name.plaintext.plain.sasl.jaas.config="
        "org.apache.kafka.common.security.plain.PlainLoginModule required "
        'username="proctord" password="right" user_proctord="right";'
    ),
)


@pytest.mark.usefixtures("leaky")
def test_a_password_opens_the_door_and_a_wrong_one_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    login = {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "proctord",
        "sasl_plain_password": "right",
    }
    with broker(*SASL) as kafka:
        if not kafka.real:
            pytest.skip("needs Apache Kafka: the stand-in has no passwords")
        from kafka.admin import KafkaAdminClient

        admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap, **login)
        admin.create_topics({"tickets": {"num_partitions": 1, "replication_factor": 1}})
        admin.close()
        secret = tmp_path / "password"
        secret.write_text("right\n")
        ours: dict[str, Any] = {
            "bootstrap_servers": (kafka.bootstrap,),
            "group_id": "g",
            "topics": {"tickets": "tickets"},
            "start": "earliest",
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "PLAIN",
            "sasl_username": "proctord",
        }
        reader = Reader(KafkaSource(KafkaSettings(**ours, sasl_password_file=secret)))
        reader.until(lambda: reader.owned == {0})
        reader.source.close()
        monkeypatch.setenv("SHOP_KAFKA_PASSWORD", "wrong")
        refused = KafkaSource(KafkaSettings(**ours, sasl_password_env="SHOP_KAFKA_PASSWORD"))
        with pytest.raises(DependencyDownError, match="Kafka at"):
            refused.poll(0.1)
        refused.close()
