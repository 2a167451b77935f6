"""`proctord run` on a broker: every codec, bad messages, stops, kills, and events that are gone."""

from __future__ import annotations

import os
import re
import signal
import socketserver
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from factories import START, traffic

from monitor.store import evaluation, reading
from schemas.events import Event, Ticket, encode
from schemas.journal import open_journal, reader
from tests.daemon_rig import House, pairs
from tests.kafka_rig import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

STREAMS = ("tickets", "answers", "feedback")
WINDOW = 60.0
SETTINGS = """
[journal]
url = "sqlite:///{root}/proctord.db"
[contract]
tolerance = 0.1
[task]
labels = ["a", "b"]
[source]
kind = "kafka"
checkpoint_seconds = 0.2
[source.kafka]
bootstrap_servers = ["{bootstrap}"]
group_id = "{group}"
start = "earliest"
topics = {{ {topics} }}
[pipeline]
max_past_seconds = 1e9
window_seconds = {window}
[sampling]
random_rate = 0.5
[teacher]
{teacher}
[evaluation]
tick_seconds = 0.5
[registry]
root = "{root}/registry"
"""
#: knows no ticket: it abstains
SILENT = 'kind = "scripted"\nfile = "{root}/answers.jsonl"\n'


class KafkaHouse(House):
    """A house whose production writes to Kafka: two partitions a topic, keyed by ticket."""

    def __init__(self, root: Path, kafka: Broker, teacher: str = SILENT) -> None:
        self.kafka = kafka
        self.topics = kafka.create(**dict.fromkeys(STREAMS, 2))
        (root / "answers.jsonl").write_text("")
        settings = SETTINGS.format(
            root=root,
            bootstrap=kafka.bootstrap,
            group=f"proctord-{uuid.uuid4().hex[:8]}",
            topics=", ".join(f'{stream} = "{topic}"' for stream, topic in self.topics.items()),
            window=WINDOW,
            teacher=teacher.format(root=root),
        )
        super().__init__(root, settings)
        self.published: list[Event] = []

    def publish(self, outputs: Sequence[str], **options: Any) -> None:
        """Production goes on."""
        n = len(self.published) // 2
        events = traffic(outputs, start=START + n, model=f"m{n}")
        with self.kafka.producer(**options) as producer:
            for event in events:
                topic = self.topics["tickets" if isinstance(event, Ticket) else "answers"]
                producer.send(topic, encode(event), key=event.ticket_id.encode())
        self.published += events

    def send(self, stream: str, value: bytes | None, **options: Any) -> str:
        """Publish one message; return its place as `dlq list` writes it."""
        with self.kafka.producer() as producer:
            sent = producer.send(self.topics[stream], value, **options).get(60)
        return f"{sent.topic}/{sent.partition}@{sent.offset}"

    def counted(self) -> tuple[Counter[float], Counter[str], dict[str, int]]:
        """Return the pairs in the journal's windows by start and by answer, and the counters."""
        journal = reader(open_journal(f"sqlite:///{self.root}/proctord.db"))
        with journal.begin() as connection:
            found = evaluation.windows(
                connection, after=float("-inf"), until=float("inf"), segment="*"
            )
            counters = reading.counters(connection)
        journal.dispose()
        starts, classes = Counter[float](), Counter[str]()
        for window in found:
            starts[window.start] += window.pairs
            classes.update(window.classes)
        return starts, classes, counters

    def truth(self) -> tuple[Counter[float], Counter[str]]:
        """Return what was published, counted likewise."""
        starts = Counter(
            event.at.timestamp() // WINDOW * WINDOW
            for event in self.published
            if isinstance(event, Ticket)
        )
        return starts, Counter(
            event.output for event in self.published if not isinstance(event, Ticket)
        )


@pytest.fixture
def house(kafka: Broker, tmp_path: Path) -> Iterator[KafkaHouse]:
    house = KafkaHouse(tmp_path, kafka)
    yield house
    house.close()


def stop(daemon: Any) -> float:
    """Send SIGTERM and return how many seconds the daemon took to end well."""
    started = time.monotonic()
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(timeout=25) == 0
    return time.monotonic() - started


def test_every_codec_is_read_and_bad_messages_are_kept_with_their_place(house: KafkaHouse) -> None:
    for codec in (None, "gzip", "snappy", "lz4", "zstd"):
        house.publish(["a"] * 20, compression_type=codec, linger_ms=20)
    bad = {
        house.send("tickets", b'{"ticket_id": 7}', key=b"k", partition=1): "$.ticket_id",
        house.send("answers", b"\xff\xfe", partition=0): "",
        house.send("feedback", None, key=b"k", partition=1): "tombstone",
    }
    daemon = house.start()
    house.until("the tickets of all codecs", pairs(100))
    stop(daemon)
    starts, classes, counters = house.counted()
    assert (starts, classes) == house.truth()
    assert counters["dead_letters"] == len(bad)
    lines = house.ask("dlq", "list").stdout.splitlines()
    listed = {re.findall(r"\S+/\d+@\d+", line)[0]: line for line in lines}
    assert listed.keys() == bad.keys()
    for place, told in bad.items():
        assert told in listed[place]
    [ticket] = [place for place, told in bad.items() if told == "$.ticket_id"]
    shown = house.ask("dlq", "show", listed[ticket].split()[0]).stdout
    partition, offset = ticket.split("@")
    assert f"{partition}, offset {offset}" in shown
    assert '{"ticket_id": 7}' in shown
    assert "b'k'" in shown


def test_kill_9_loses_nothing_and_counts_nothing_twice(house: KafkaHouse) -> None:
    for round_ in range(3):
        house.publish(["a", "b", "b"] * 100)
        daemon = house.start()
        house.until("the first of them", lambda status: status["counters"].get("pairs", 0) > 0)
        time.sleep(0.3 * round_)  # wherever it is by then
        house.publish(["b"] * 50)
        os.kill(daemon.pid, signal.SIGKILL)
        daemon.wait()
    daemon = house.start()
    house.until("all tickets", pairs(1050))
    stop(daemon)
    starts, classes, counters = house.counted()
    assert (starts, classes) == house.truth()
    assert (counters["tickets"], counters["answers"]) == (1050, 1050)
    assert (counters["duplicates"], counters["late"]) == (0, 0)


def test_a_stop_goes_on_where_it_was_and_skips_nothing(house: KafkaHouse) -> None:
    house.publish(["a"] * 100)
    daemon = house.start()
    house.until("the first tickets", pairs(100))
    stop(daemon)
    house.publish(["b"] * 50)
    house.start()
    house.until("the tickets published meanwhile", pairs(150))
    starts, classes, counters = house.counted()
    assert (starts, classes) == house.truth()
    assert counters["tickets"] == 150


class _Mute(socketserver.BaseRequestHandler):
    """Takes a question and never answers."""

    def handle(self) -> None:
        self.server.asked.set()  # type: ignore[attr-defined]
        self.server.over.wait()  # type: ignore[attr-defined]


@pytest.fixture
def mute() -> Iterator[Any]:
    """A teacher that lets everybody wait."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Mute) as server:
        server.daemon_threads = True
        server.asked, server.over = threading.Event(), threading.Event()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.over.set()  # type: ignore[attr-defined]
        server.shutdown()


def test_a_teacher_that_does_not_answer_does_not_delay_the_stop(
    kafka: Broker, mute: Any, tmp_path: Path
) -> None:
    """Its deadline is far longer than the 25 s that a service manager grants."""
    url = f"http://127.0.0.1:{mute.server_address[1]}/v1"
    house = KafkaHouse(
        tmp_path,
        kafka,
        "[teacher.http]\n"
        f'base_url = "{url}"\nmodel = "mute"\nmost_usd_per_call = 0.001\n'
        "total_seconds = 300.0\nread_seconds = 300.0\n",
    )
    try:
        house.publish(["a"] * 100)
        daemon = house.start()
        assert mute.asked.wait(120), house.log()
        house.until("the tickets", pairs(100))
        assert stop(daemon) < 25
        starts, classes, _ = house.counted()
        assert (starts, classes) == house.truth(), "what was read is written"
        assert "Traceback" not in house.log()
    finally:
        house.close()


def test_events_that_retention_removed_end_the_daemon_until_somebody_accepts_the_loss(
    apache_kafka: Broker, tmp_path: Path
) -> None:
    from kafka import TopicPartition

    house = KafkaHouse(tmp_path, apache_kafka)
    try:
        house.publish(["a"] * 60)
        daemon = house.start()
        house.until("the first tickets", pairs(60))
        stop(daemon)
        assert "kafka answers, and has what comes next" in house.ask("doctor").stdout
        house.publish(["a"] * 40)
        with apache_kafka.admin() as admin:
            gone = [TopicPartition(house.topics[stream], 0) for stream in ("tickets", "answers")]
            admin.delete_records(dict.fromkeys(gone, -1))
        assert house.start().wait(timeout=60) == 78
        assert "events are gone" in house.ask("doctor").stdout
        assert "Kafka does not have what was to be read next" in house.log()
        assert "proctord source accept-gap --reason" in house.log()
        accepted = house.ask("source", "accept-gap", "--reason", "retention was too short")
        assert accepted.returncode == 0, accepted.stderr
        lost = re.findall(r"(\d+) are lost", accepted.stdout)
        assert len(lost) == 2
        assert lost[0] == lost[1], "tickets and their answers"
        house.publish(["b"] * 30)
        house.start()
        house.until("the rest", pairs(130 - int(lost[0])))
        _, classes, counters = house.counted()
        assert classes["b"] == 30
        assert counters["duplicates"] == 0
        assert house.ask("audit").stdout.count("retention was too short") == 2
    finally:
        house.close()
