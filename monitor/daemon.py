"""`proctord run`: turn signals into a stop, start the loops, drain them in the right order."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Final, Protocol

import sqlalchemy as sa
import structlog

from monitor.app import LOOPS, Monitor
from monitor.config import MonitorSettings
from monitor.garbage import calm_collector
from monitor.loops.supervisor import Supervisor
from schemas.journal import sole_writer, tidy

#: seconds that the loops may take to end their turns; with `monitor.app.GRACE` below the 25 s
#: that a service manager is promised
TURNS_END: Final = 8.0

_log = structlog.get_logger("proctord")


class Retraining(Protocol):
    """The other program, as far as the daemon drives it."""

    def start(self, stop: threading.Event) -> None:
        """Tick in the background until `stop` is set; returns at once."""

    def stop(self) -> None:
        """Let the current turn end and have a training child checkpoint."""


def serve(
    settings: MonitorSettings,
    engine: sa.Engine,
    *,
    lane: str,
    only: frozenset[str],
    retraining: Retraining | None,
) -> None:
    """Run until SIGTERM or SIGINT; a second one ends the process at once.

    A call that outlasts the stop, of a teacher that does not answer, ends with the process.

    Raises
    ------
    HeldElsewhereError: another daemon runs on this SQLite journal.
    ProctordError: what a loop could not go on with.
    """
    configure_logs()
    stop = threading.Event()
    _stop_on_signals(stop)
    with sole_writer(engine):
        monitor = Monitor(settings, engine, lane=lane, stop=stop)
        supervisor = Supervisor(stop, time.time)
        calm_collector()
        monitor.start(supervisor, only & frozenset(LOOPS))
        if retraining is not None:
            retraining.start(stop)
        _log.info("started", loops=sorted(only), lane=lane, contract=settings.contract.hash)
        stop.wait()
        _log.info("stopping")
        hanging = _drain(monitor, supervisor, retraining)
        tidy(engine)
    _log.info("stopped")
    if supervisor.failure is not None:
        raise supervisor.failure.error
    if hanging:
        # the interpreter would wait for the threads in which the teacher is asked
        sys.stdout.flush()
        os._exit(0)


def _drain(monitor: Monitor, supervisor: Supervisor, retraining: Retraining | None) -> list[str]:
    """Let everything end in order; return the loops that did not."""
    # the trainer first: its checkpoint takes longest, and runs beside the rest
    if retraining is not None:
        retraining.stop()
    hanging = supervisor.join(TURNS_END)
    if hanging:
        # what they hold is not written: it is read, or asked, again at the next start
        _log.warning("loops_hang", loops=hanging)
    if supervisor.failure is None and set(hanging) <= {"label", "embed"}:
        monitor.drain(time.time())
    else:
        monitor.close()
    return hanging


def _stop_on_signals(stop: threading.Event) -> None:
    def on_signal(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)


def configure_logs() -> None:
    """Log JSON lines to stderr: constant event names, facts as fields, UTC times."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
