"""How fast events come out of Kafka, against a bare kafka-python poll loop in the same run.

    PROCTORD_KAFKA_HOME=... python tests/bench/bench_kafka.py [--size small|full] [--rounds N]

Starts one Apache Kafka, fills three topics of eight partitions with ticket and answer events of
634 bytes (lz4), and reads them once for each row. Each row is a function `measure_x(bench) ->
messages a second`; a new row is a new function in `ROWS`. Rows take turns over the rounds and the
median counts, so that a machine that is busy for a while disturbs all of them alike.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.kafka_rig import Broker, broker

PARTITIONS = 8
EVENT_BYTES = 634
SIZES = {"small": 60_000, "full": 300_000}
PATIENCE = 300.0  # seconds
START = 1_760_000_000.0  # seconds UTC


@dataclass(frozen=True)
class Bench:
    """A broker whose topics hold `messages` events."""

    kafka: Broker
    topics: Mapping[str, str]
    messages: int


def measure_bare(bench: Bench) -> float:
    """Poll with kafka-python and look at nothing."""
    from kafka import KafkaConsumer

    consumer = KafkaConsumer(
        *bench.topics.values(),
        bootstrap_servers=bench.kafka.bootstrap,
        group_id=_group(),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_poll_records=5000,
    )

    def count() -> int:
        return sum(len(batch) for batch in consumer.poll(200).values())

    try:
        return _rate(count, bench.messages)
    finally:
        consumer.close()


def measure_source(bench: Bench) -> float:
    """Poll our KafkaSource."""
    from monitor.sources.kafka import KafkaSource
    from monitor.sources.kafka_settings import KafkaSettings

    topics: Any = dict(bench.topics)
    source = KafkaSource(
        KafkaSettings(
            bootstrap_servers=(bench.kafka.bootstrap,),
            group_id=_group(),
            topics=topics,
            start="earliest",
        )
    )

    def count() -> int:
        found = source.poll(0.2)
        for shard in found.gained:
            source.seek(shard, {})
        return len(found.records)

    try:
        return _rate(count, bench.messages)
    finally:
        source.close()


#: The first row is what the others are compared with.
ROWS: Mapping[str, Callable[[Bench], float]] = {
    "bare kafka-python": measure_bare,
    "KafkaSource.poll": measure_source,
}


def _rate(count: Callable[[], int], messages: int) -> float:
    """Return messages a second from the first batch on: joining the group is not measured."""
    patience = time.monotonic() + PATIENCE
    first = 0
    while not first and time.monotonic() < patience:
        first = count()
    started, got = time.perf_counter(), first
    while got < messages and time.monotonic() < patience:
        got += count()
    assert got == messages, f"only {got} of {messages} came"
    return (got - first) / (time.perf_counter() - started)


def _group() -> str:
    return f"bench-{uuid.uuid4().hex[:8]}"


def events(pairs: int) -> Iterator[tuple[str, bytes, bytes, int]]:
    """Yield (stream, key, value, milliseconds): each ticket, and its answer two seconds later."""
    for n in range(pairs):
        at = START + n / 100
        key = f"ticket-{n:09d}".encode()
        ticket = {
            "ticket_id": key.decode(),
            "at": _text(at),
            "text": f"My order {n} has not arrived, and the tracking page says nothing. ",
            "attributes": {"channel": "mail", "language": "en"},
        }
        answer = {
            "ticket_id": key.decode(),
            "at": _text(at + 2),
            "output": "delivery_late",
            "model": "student-1",
            "confidence": 0.93,
            "latency_ms": 41.5,
            "note": "",
        }
        yield "tickets", key, _padded(ticket, "text"), int(at * 1000)
        yield "answers", key, _padded(answer, "note"), int((at + 2) * 1000)


def _text(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def _padded(event: dict[str, Any], field: str) -> bytes:
    event[field] += "x" * (EVENT_BYTES - len(json.dumps(event)))
    return json.dumps(event).encode()


def fill(kafka: Broker, messages: int) -> Bench:
    """Produce `messages` events, a ticket and its answer in turn, keyed by ticket."""
    topics = kafka.create(tickets=PARTITIONS, answers=PARTITIONS, feedback=PARTITIONS)
    with kafka.producer(compression_type="lz4", linger_ms=50, batch_size=262_144) as producer:
        for stream, key, value, at in events(messages // 2):
            producer.send(topics[stream], value, key=key, timestamp_ms=at)
    return Bench(kafka, topics, messages)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if "PROCTORD_KAFKA_HOME" not in os.environ:
        print("skipped: needs Apache Kafka, set PROCTORD_KAFKA_HOME")
        return
    # the events are older than the usual week: the broker would delete them while we read
    with broker("log.retention.ms=-1") as kafka:
        bench = fill(kafka, SIZES[options.size])
        print(f"{bench.messages} messages of {EVENT_BYTES} B, {PARTITIONS} partitions, lz4")
        report(bench, options.rounds)


def report(bench: Bench, rounds: int) -> None:
    rates: dict[str, list[float]] = {name: [] for name in ROWS}
    for _ in range(rounds):
        for name, measure in ROWS.items():
            rates[name].append(measure(bench))
    base = statistics.median(next(iter(rates.values())))
    for name, measured in rates.items():
        middle = statistics.median(measured)
        spread = f"{min(measured):.0f} to {max(measured):.0f}"
        print(f"{name:24} {middle:10.0f} msg/s  {middle / base:5.2f} x  ({spread})")


if __name__ == "__main__":
    main()
