"""Keep a loop turning: errors that pass are waited out, those that do not end the daemon.

A loop that dies silently is a loop that nobody watches. So what cannot be handled here stops
the whole process with a reason, and the service manager starts it again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, NamedTuple

import sqlalchemy as sa
import structlog

from schemas.errors import (
    ConfigError,
    DependencyDownError,
    FencedError,
    PositionError,
    ProctordError,
)

#: waits after the 1st, 2nd, ... failure in a row, seconds; the last one repeats
BACKOFF: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
#: failures in a row that nobody foresaw, after which the process had better start anew
MAX_SURPRISES: Final = 10

_log = structlog.get_logger("proctord")


class Loop(NamedTuple):
    """One loop of the daemon."""

    name: str
    #: one turn; True when there was work, and the next turn should follow at once
    turn: Callable[[float], bool]
    #: seconds between two turns when there is none
    pause: float
    #: make it new after another process took over what it held
    restart: Callable[[], None]


class Failure(NamedTuple):
    """Why the daemon has to end."""

    loop: str
    error: BaseException


class Supervisor:
    """Runs loops, each in a thread of its own, until the stop event is set.

    Attributes
    ----------
    failure: why a loop could not go on; None while all can. It sets the stop event.
    """

    def __init__(self, stop: threading.Event, clock: Callable[[], float]) -> None:
        self._stop = stop
        self._clock = clock
        self._threads: list[threading.Thread] = []
        self.failure: Failure | None = None

    def start(self, loop: Loop) -> None:
        """Let a loop turn in a thread; returns at once."""
        # daemon threads: a turn that hangs in a foreign library must not outlive the last signal
        thread = threading.Thread(target=self._run, args=(loop,), name=loop.name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def join(self, seconds: float) -> list[str]:
        """Wait for the threads to end; return the names of those that did not."""
        until = self._clock() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - self._clock()))
        return [thread.name for thread in self._threads if thread.is_alive()]

    def _run(self, loop: Loop) -> None:
        failures, surprises = 0, 0
        while not self._stop.is_set():
            try:
                busy = loop.turn(self._clock())
            except Exception as error:  # noqa: BLE001 - sorted below, and none is swallowed
                surprises = surprises + 1 if _is_surprise(error) else 0
                if _is_final(error) or surprises >= MAX_SURPRISES:
                    self._give_up(loop, error)
                    return
                _report(loop, error, failures)
                if isinstance(error, FencedError):
                    loop.restart()
                self._stop.wait(BACKOFF[min(failures, len(BACKOFF) - 1)])
                failures += 1
                continue
            if failures:
                _log.info("loop_recovered", loop=loop.name, failures=failures)
            failures, surprises = 0, 0
            if not busy:
                self._stop.wait(loop.pause)

    def _give_up(self, loop: Loop, error: Exception) -> None:
        _log.error("loop_ended", loop=loop.name, error=str(error), exc_info=error)
        self.failure = self.failure or Failure(loop.name, error)
        self._stop.set()


def _is_final(error: Exception) -> bool:
    """Whether trying again cannot help until somebody changes something."""
    return isinstance(error, ConfigError | PositionError)


def _is_surprise(error: Exception) -> bool:
    expected = (DependencyDownError, FencedError, sa.exc.OperationalError)
    return not isinstance(error, expected)


def _report(loop: Loop, error: Exception, failures: int) -> None:
    """Say it once: the same outage is no news at every turn."""
    if failures:
        return
    known = isinstance(error, ProctordError | sa.exc.OperationalError)
    _log.warning("loop_failed", loop=loop.name, error=str(error), exc_info=None if known else error)
