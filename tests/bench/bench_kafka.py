"""How fast events come out of Kafka and through proctord, in one run on one broker.

    PROCTORD_KAFKA_HOME=... python -m tests.bench.bench_kafka [--size small|full] [--rounds N]

Starts one Apache Kafka, fills three topics of eight partitions with the tickets and answers of
`bench_pipeline` (634 bytes, lz4), and reads them once for each row:

    bare kafka-python   a poll loop that looks at nothing (with crc32c): what the others are
                        compared with
    KafkaSource.poll    our source alone
    run                 `proctord run`: consume, label, evaluate and notify, on a SQLite file
    replay              `proctord replay` on files that hold the same events

The first two are timed from their first batch on; `run` from its first checkpoint to the one that
leaves less than a checkpoint's worth unread (how soon that is written is a setting and no speed),
after which it must get to the last event and its last label; `replay` from the start of its
process to its end, with what it costs to start. Two segment attributes, 5 % of the tickets sampled, a scripted teacher. Rows take turns over the
rounds and the median counts, so that a machine that is busy for a while disturbs all of them
alike; where it is busy all the time, the processor time says more than the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import sqlalchemy as sa

from schemas import tables
from schemas.events import Stream
from schemas.journal import open_journal, reader
from tests.bench import bench_pipeline
from tests.kafka_rig import Broker, broker

PARTITIONS = 8
#: records between two checkpoints of a backlog, as shipped
CHECKPOINT = 20_000
SIZES = {"small": 60_000, "full": 300_000}
PATIENCE = 300.0  # seconds

CONFIG = """
[journal]
url = "sqlite:///{root}/proctord.db"
[contract]
tolerance = 0.1
[task]
labels = {labels}
[source]
kind = "kafka"
[source.kafka]
bootstrap_servers = ["{bootstrap}"]
group_id = "{group}"
topics = {{tickets = "{tickets}", answers = "{answers}", feedback = "{feedback}"}}
start = "earliest"
[pipeline]
segment_by = ["channel", "language"]
max_past_seconds = 1e9
[sampling]
random_rate = 0.05
[teacher]
kind = "scripted"
file = "{teacher}"
deadline_seconds = 1e9
[registry]
root = "{root}/registry"
"""


@dataclass(frozen=True)
class Bench:
    """A broker whose topics hold `messages` events, and a directory of files with the same."""

    kafka: Broker
    topics: Mapping[str, str]
    messages: int
    files: Path

    @property
    def teacher(self) -> Path:
        return self.files / "teacher.jsonl"

    @contextmanager
    def proctord(self, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
        """Start a command on a fresh journal; give the process and its directory."""
        with tempfile.TemporaryDirectory(prefix="proctord-bench-") as directory:
            root = Path(directory)
            config = root / "proctord.toml"
            config.write_text(
                CONFIG.format(
                    root=root,
                    labels=[f"intent_{n}" for n in range(20)],
                    bootstrap=self.kafka.bootstrap,
                    group=_group(),
                    teacher=self.teacher,
                    **self.topics,
                )
            )
            command = [sys.executable, "-m", "monitor", *words, "-c", str(config)]
            with (root / "log").open("wb") as log:
                process = subprocess.Popen(command, stdout=log, stderr=log)
            try:
                yield process, root
            finally:
                process.kill()
                process.wait()


class Speed(NamedTuple):
    """What one pass over the messages came to."""

    #: messages a second by the clock
    rate: float
    #: microseconds of processor time a message, all threads together
    cpu: float

    @classmethod
    def of(cls, messages: int, seconds: float, cpu_seconds: float) -> Self:
        return cls(messages / seconds, cpu_seconds / messages * 1e6)


def measure_bare(bench: Bench) -> Speed:
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


def measure_source(bench: Bench) -> Speed:
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


def measure_run(bench: Bench) -> Speed:
    """Let the daemon read, label and judge everything, and watch its journal from outside."""
    with bench.proctord("run", "--only", "consume,label,evaluate,notify") as (daemon, root):
        journal = reader(open_journal(f"sqlite:///{root}/proctord.db"))
        first = _wait_for(daemon, journal, lambda read, _: read > 0)
        started, cpu = time.perf_counter(), _cpu_seconds(daemon.pid)
        near = bench.messages - CHECKPOINT
        last = _wait_for(daemon, journal, lambda read, _: read >= near)
        seconds, cpu = time.perf_counter() - started, _cpu_seconds(daemon.pid) - cpu
        _wait_for(daemon, journal, lambda read, waiting: read == bench.messages and not waiting)
        journal.dispose()
        return Speed.of(last - first, seconds, cpu)


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _wait_for(
    daemon: subprocess.Popen[bytes], journal: sa.Engine, enough: Callable[[int, int], bool]
) -> int:
    """Return the number of events applied once `enough(events, waiting samples)` holds."""
    patience = time.monotonic() + PATIENCE
    while time.monotonic() < patience and daemon.poll() is None:
        time.sleep(0.05)
        read, waiting = _progress(journal)
        if enough(read, waiting):
            return read
    raise RuntimeError(f"the daemon stands still, or ended with {daemon.returncode}")


def _progress(journal: sa.Engine) -> tuple[int, int]:
    open_ones = tables.sample.c.state.in_(["waiting", "claimed"])
    try:
        with journal.begin() as connection:
            counters = connection.scalars(sa.select(tables.shard.c.counters)).all()
            waiting = connection.scalar(sa.select(sa.func.count()).where(open_ones))
    except sa.exc.OperationalError:
        return 0, 0  # the daemon has not made the tables yet
    return sum(one.get("tickets", 0) + one.get("answers", 0) for one in counters), waiting or 0


def measure_replay(bench: Bench) -> Speed:
    """Replay the files: start, imports and the teacher's file included."""
    started, cpu = time.perf_counter(), _cpu_seconds_of_children()
    words = ("replay", str(bench.files), "--labels", str(bench.teacher))
    with bench.proctord(*words) as (process, root):
        code = process.wait(PATIENCE)
        seconds, cpu = time.perf_counter() - started, _cpu_seconds_of_children() - cpu
        said = (root / "log").read_text().splitlines()
    assert code == 0, said
    assert any(line.startswith(f"{bench.messages:,} events") for line in said), said
    return Speed.of(bench.messages, seconds, cpu)


def _cpu_seconds_of_children() -> float:
    """Return what the children that ended have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


#: The first row is what the others are compared with.
ROWS: Mapping[str, Callable[[Bench], Speed]] = {
    "bare kafka-python": measure_bare,
    "KafkaSource.poll": measure_source,
    "run": measure_run,
    "replay": measure_replay,
}


def _rate(count: Callable[[], int], messages: int) -> Speed:
    """Time the messages from the first batch on: joining the group is not measured."""
    patience = time.monotonic() + PATIENCE
    first = 0
    while not first and time.monotonic() < patience:
        first = count()
    started, cpu, got = time.perf_counter(), time.process_time(), first
    while got < messages and time.monotonic() < patience:
        got += count()
    assert got == messages, f"only {got} of {messages} came"
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    return Speed.of(got - first, seconds, cpu)


def _group() -> str:
    return f"bench-{uuid.uuid4().hex[:8]}"


def fill(kafka: Broker, directory: Path, messages: int) -> Bench:
    """Write the events to the topics, keyed by ticket, and to files; the teacher's answers too."""
    streams: tuple[Stream, ...] = ("tickets", "answers", "feedback")
    for stream in streams:
        (directory / stream).mkdir()
    bench = Bench(kafka, kafka.create(**dict.fromkeys(streams, PARTITIONS)), messages, directory)
    with (
        kafka.producer(compression_type="lz4", linger_ms=50, batch_size=262_144) as producer,
        (directory / "tickets" / "log.jsonl").open("wb") as tickets,
        (directory / "answers" / "log.jsonl").open("wb") as answers,
        bench.teacher.open("wb") as teacher,
    ):
        files = {"tickets": tickets, "answers": answers}
        for stream, value in bench_pipeline.messages(messages):
            event = json.loads(value)
            producer.send(bench.topics[stream], value, key=event["ticket_id"].encode())
            files[stream].write(value + b"\n")
            if stream == "tickets":
                number = int(event["ticket_id"].removeprefix("ticket-"))
                said = {"label": f"intent_{number % 20}", "latency_ms": 900.0}
                row = {"id": event["ticket_id"], "text": "", "teacher": said}
                teacher.write(json.dumps(row).encode() + b"\n")
    return bench


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if "PROCTORD_KAFKA_HOME" not in os.environ:
        print("skipped: needs Apache Kafka, set PROCTORD_KAFKA_HOME")
        return
    with broker() as kafka, tempfile.TemporaryDirectory(prefix="proctord-bench-") as directory:
        bench = fill(kafka, Path(directory), SIZES[options.size])
        report(bench, options.rounds)


def report(bench: Bench, rounds: int) -> None:
    speeds: dict[str, list[Speed]] = {name: [] for name in ROWS}
    for _ in range(rounds):
        for name, measure in ROWS.items():
            speeds[name].append(measure(bench))
    middle = {
        name: Speed(*(statistics.median(column) for column in zip(*measured, strict=True)))
        for name, measured in speeds.items()
    }
    bare = next(iter(middle.values()))
    print(f"{bench.messages} messages of {bench_pipeline.EVENT_BYTES} B, {PARTITIONS} partitions")
    print(f"{'':20}{'msg/s':>10}{'of bare':>10}{'CPU us/msg':>12}{'of bare':>10}")
    for name, speed in middle.items():
        clock = f"{speed.rate:10.0f}{speed.rate / bare.rate:9.2f}x"
        print(f"{name:20}{clock}{speed.cpu:12.1f}{bare.cpu / speed.cpu:9.2f}x")


if __name__ == "__main__":
    main()
