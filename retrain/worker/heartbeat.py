"""The child's sign of life: a file that is replaced every few seconds."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from retrain.durable import replace_bytes
from retrain.order import Heartbeat, Phase

#: seconds between two beats
INTERVAL = 5.0


class Pulse:
    """Writes `heartbeat.json` from a thread of its own, so that a long step still beats.

    Use it as a context manager; the training thread only sets fields.
    """

    def __init__(self, path: Path, epoch: int, interval: float = INTERVAL) -> None:
        self.phase: Phase = "building"
        self.step = 0
        self.steps = 0
        self.tokens = 0
        self.loss: float | None = None
        self._path = path
        self._epoch = epoch
        self._interval = interval
        self._since = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        """Beat once, then keep beating."""
        self.beat()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Stop, after a last beat."""
        self._done.set()
        self._thread.join()
        self.beat()

    def enter(self, phase: Phase, steps: int = 0) -> None:
        """Begin a phase, and say so at once."""
        self.phase, self.step, self.steps, self.tokens = phase, 0, steps, 0
        self._since = time.monotonic()
        self.beat()

    def beat(self) -> None:
        """Replace the file."""
        elapsed = max(1e-9, time.monotonic() - self._since)
        now = Heartbeat(
            epoch=self._epoch,
            pid=os.getpid(),
            at=time.time(),
            phase=self.phase,
            step=self.step,
            steps=self.steps,
            loss=self.loss,
            tokens_per_second=self.tokens / elapsed,
            rss_bytes=_resident(),
        )
        replace_bytes(self._path, msgspec.json.encode(now))

    def _run(self) -> None:
        while not self._done.wait(self._interval):
            try:
                self.beat()
            except OSError:
                # a full disk must not end a training that may still finish; a missing beat is
                # what the supervisor looks for
                continue


def _resident() -> int:
    """Return this process's resident memory in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
