"""`proctord` as processes on one directory: what the acceptance tests start, ask and kill."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from factories import START, traffic

from schemas.events import Ticket, encode

#: seconds that a test waits for the daemon to get somewhere; a busy machine may need them
PATIENCE = 120.0

_ON_FILES = """
[journal]
url = "{url}"
[contract]
tolerance = 0.1
[task]
labels = ["a", "b"]
[source]
root = "{root}/events"
checkpoint_seconds = 0.2
[pipeline]
max_past_seconds = 1e9
window_seconds = 20.0
[sampling]
random_rate = 0.5
[teacher]
kind = "scripted"
file = "{root}/answers.jsonl"
deadline_seconds = 1e9
[evaluation]
tick_seconds = 0.2
[registry]
root = "{root}/registry"
[retrain]
tick_seconds = 0.5
"""


class House:
    """One directory, its settings, and daemons on it."""

    def __init__(self, root: Path, settings: str) -> None:
        self.root = root
        self.config = root / "proctord.toml"
        self.config.write_text(settings)
        self.daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "monitor", "run", "-c", str(self.config)]
        with (self.root / "daemon.log").open("ab") as log:
            daemon = subprocess.Popen(command, stdout=log, stderr=log)
        self.daemons.append(daemon)
        return daemon

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "monitor", *words, "-c", str(self.config)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    def status(self) -> dict[str, Any]:
        patience = time.monotonic() + PATIENCE
        asked = self.ask("status", "--json")
        while "no journal" in asked.stderr and time.monotonic() < patience:
            asked = self.ask("status", "--json")  # a daemon makes it when it starts
        found: dict[str, Any] = json.loads(asked.stdout)
        return found

    def until(self, what: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        patience = time.monotonic() + PATIENCE
        while not holds(status := self.status()):
            if time.monotonic() > patience:
                pytest.fail(f"waited in vain for {what}: {status}\n{self.log()[-3000:]}")
            time.sleep(0.5)
        return status

    def log(self) -> str:
        return (self.root / "daemon.log").read_text()

    def close(self) -> None:
        for daemon in self.daemons:
            if daemon.poll() is None:
                daemon.kill()
                daemon.wait()


class FileHouse(House):
    """A house whose production writes to files."""

    def __init__(self, root: Path, url: str = "") -> None:
        self.url = url or f"sqlite:///{root}/proctord.db"
        super().__init__(root, _ON_FILES.format(root=root, url=self.url))
        self.written = 0
        (root / "answers.jsonl").write_text("")

    def write(self, outputs: list[str]) -> None:
        """Production goes on: the teacher would say "a" to all of it."""
        events = traffic(outputs, start=START + self.written, model=f"m{self.written}")
        self.written += len(outputs)
        for event in events:
            stream = "tickets" if isinstance(event, Ticket) else "answers"
            path = self.root / "events" / stream / "log.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.write(encode(event) + b"\n")
            if isinstance(event, Ticket):
                row = {"id": event.ticket_id, "text": event.text, "teacher": {"label": "a"}}
                with (self.root / "answers.jsonl").open("a") as file:
                    file.write(json.dumps(row) + "\n")


def pairs(count: int) -> Callable[[dict[str, Any]], bool]:
    return lambda status: status["counters"].get("pairs", 0) == count
