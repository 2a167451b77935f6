"""Composition root of the retraining program, and what the command line asks of it."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
import structlog

from retrain import history, store
from retrain.config import RetrainSettings, RetrainTable
from retrain.history import HistoricRow
from retrain.launchers.local import LocalLauncher
from retrain.loop import RetrainLoop
from retrain.order import ScoredRow
from retrain.policy import Request
from retrain.registry import Change, Registry
from retrain.store import Champion, Model
from retrain.supervise import Supervisor
from schemas.contract import QualityContract
from schemas.decisions import Decision
from schemas.errors import ConflictError, NotAllowedError, NotFoundError, ProctordError
from schemas.journal import reader
from schemas.runs import Run, Verdict

_log = structlog.get_logger("proctord")

#: what a person does whose request for a run is held, by the rule that holds it
_NEXT: Final = {
    "too_few_labels": "`proctord labels import FILE`, or let `proctord run` ask the teacher",
    "teacher_out_of_bounds": "`proctord gold status` shows what people found",
}
_LOOK: Final = "`proctord status` shows how it stands"


def build(settings: RetrainSettings, engine: sa.Engine, clock: Callable[[], float]) -> RetrainApp:
    """Wire the program together; nothing runs before `start`."""
    table = settings.retrain
    registry = Registry(settings.registry.root, table.lane)
    launcher = LocalLauncher([str(table.python), "-m", "retrain.worker"], _environment(table))
    loop = RetrainLoop(
        engine=engine,
        registry=registry,
        supervisor=Supervisor(launcher),
        table=table,
        contract=settings.contract,
        holder=f"{socket.gethostname()}:{os.getpid()}",
        judge=_judge,
        clock=clock,
    )
    return RetrainApp(engine=engine, registry=registry, loop=loop, table=table, clock=clock)


def _judge(rows: Sequence[ScoredRow], contract: QualityContract) -> Verdict:
    from retrain.gates import judge  # numpy takes its time, and `proctord models` needs none

    return judge(rows, contract)


def _environment(table: RetrainTable) -> dict[str, str]:
    environ = dict(os.environ)
    if Path(sys.executable) == table.python:
        # the child must find the code that this process runs, installed or not
        here = str(Path(__file__).resolve().parents[1])
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, environ.get("PYTHONPATH")]))
    return environ


class RetrainApp:
    """The retraining program: `start` and `stop` for the daemon, the rest for people."""

    def __init__(
        self,
        *,
        engine: sa.Engine,
        registry: Registry,
        loop: RetrainLoop,
        table: RetrainTable,
        clock: Callable[[], float],
    ) -> None:
        self.loop = loop
        self._engine = engine
        self._registry = registry
        self._table = table
        self._clock = clock
        self._scheduler: Any = None
        self._stop = threading.Event()
        self._ailing = False

    # --- the daemon --------------------------------------------------------------------------

    def start(self, stop: threading.Event) -> None:
        """Tick in a background thread until `stop` is set; returns at once."""
        from apscheduler.executors.pool import ThreadPoolExecutor
        from apscheduler.schedulers.background import BackgroundScheduler

        self._stop = stop
        # a turn that hashes a large artefact may outlast a tick: no news
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        # The jobs live in memory and come from the configuration at each start: a stored job is
        # a pickle, and two schedulers on one store run it twice. What was done stands in the
        # journal. No tick is ever too late to be taken: the default drops it after one second.
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._scheduler.add_job(
            self.tick,
            "interval",
            seconds=self._table.tick_seconds,
            next_run_time=datetime.now(UTC),
        )
        self._scheduler.start()

    def tick(self) -> None:
        """Take one turn by the clock; what goes wrong is logged once and tried again."""
        if self._stop.is_set():
            return
        try:
            self.loop.once(self._clock())
        except Exception as error:  # noqa: BLE001 - the next tick looks at everything anew
            if not self._ailing:
                known = isinstance(error, ProctordError | sa.exc.OperationalError)
                trace = None if known else error
                _log.warning("loop_failed", loop="retrain", error=str(error), exc_info=trace)
            self._ailing = True
            return
        if self._ailing:
            _log.info("loop_recovered", loop="retrain")
        self._ailing = False

    def stop(self) -> None:
        """Let the current turn end, have the child checkpoint, give the lease back."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=True)
        self.loop.close()

    # --- people ------------------------------------------------------------------------------

    def dry_run(self, now: float) -> Decision:
        """Return what the policy would decide now; nothing is written."""
        return self.loop.propose(now)

    def request_run(self, actor: str, reason: str, now: float) -> Run:
        """Ask for a retraining; the daemon's next turn takes it up. Audited.

        Raises
        ------
        ConflictError: a run is under way.
        NotAllowedError: the policy holds it: there is nothing to learn from, or nobody good
            enough to learn from.
        """
        decision = self.loop.propose(now, Request(actor=actor, reason=reason))
        if decision.rule == "run_active":
            raise ConflictError(decision.reason, next_step=_LOOK)
        if decision.action != "retrain":
            raise NotAllowedError(decision.reason, next_step=_NEXT.get(decision.rule, _LOOK))
        return self.loop.request(decision, actor)

    def models(self) -> list[Model]:
        """Return every registered artefact of the lane, newest first."""
        with reader(self._engine).connect() as connection:
            return store.models(connection, self._table.lane)

    def model(self, artefact_id: str) -> tuple[Model, Run | None]:
        """Return one artefact, and the run that made it.

        `artefact_id` may be cut short, as long as only one artefact begins so.

        Raises
        ------
        NotFoundError
        """
        with reader(self._engine).connect() as connection:
            model = store.find_model(connection, self._table.lane, artefact_id)
            return model, store.find_run(connection, model.run_id)

    def promote(self, artefact_id: str, actor: str, reason: str, now: float) -> Champion:
        """Make an artefact the champion, whatever the gates said; audited.

        `artefact_id` may be cut short, as long as only one artefact begins so.

        Raises
        ------
        NotFoundError, ArtefactError, ConflictError
        NotAllowedError: it serves already.
        """
        with reader(self._engine).connect() as connection:
            model = store.find_model(connection, self._table.lane, artefact_id)
            serving = store.serving(connection, self._table.lane)
        if model.artefact_id == serving:
            raise NotAllowedError(
                f"{serving[:12]} serves already", next_step="`proctord models` lists the others"
            )
        self._registry.check(model.artefact_id)
        change = Change(action="promote", actor=actor, reason=reason, at=now)
        with self._engine.begin() as connection:
            champion = self._registry.install(connection, model.artefact_id, serving, change)
        self._registry.repair(self._engine)
        return champion

    def rollback(self, actor: str, reason: str, now: float) -> Champion:
        """Let the predecessor serve again; audited.

        Raises
        ------
        NotFoundError, ArtefactError, ConflictError
        """
        with reader(self._engine).connect() as connection:
            served = store.champions(connection, self._table.lane)
        previous = store.predecessor(served)
        if previous is None:
            raise NotFoundError(
                f"lane {self._table.lane} has no champion to go back to",
                next_step="`proctord models` lists what `proctord promote` can make champion",
            )
        self._registry.check(previous)
        change = Change(action="rollback", actor=actor, reason=reason, at=now)
        with self._engine.begin() as connection:
            champion = self._registry.roll_back(
                connection, previous, served[-1].artefact_id, change
            )
        self._registry.repair(self._engine)
        return champion

    def import_labels(self, rows: Iterable[HistoricRow], now: float) -> int:
        """Store historic teacher answers, texts redacted by the caller; return how many are new."""
        return history.import_labels(self._engine, rows, now)
