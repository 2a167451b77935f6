"""Composition root of the retraining program, and what the command line asks of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import sqlalchemy as sa

from retrain.config import RetrainSettings
from retrain.loop import RetrainLoop
from schemas.decisions import Decision
from schemas.runs import Run


def build(
    settings: RetrainSettings, engine: sa.Engine, clock: Callable[[], float]
) -> RetrainApp:
    """Wire the program together; nothing runs before `start`."""
    raise NotImplementedError


class RetrainApp:
    """The retraining program: `start` and `stop` for the daemon, the rest for people."""

    loop: RetrainLoop

    def start(self, stop: threading.Event) -> None:
        """Tick in a background thread until `stop` is set; returns at once."""

    def stop(self) -> None:
        """Let the current turn end, have the child checkpoint, give the lease back."""

    def dry_run(self, now: float) -> Decision:
        """What the policy would decide now; nothing is written."""

    def request_run(self, actor: str, reason: str, now: float) -> Run:
        """Ask for a retraining. Raises ConflictError when the policy holds it."""

    def models(self) -> list[Model]:
        """Every registered artefact, newest first (retrain.store.Model)."""

    def promote(self, artefact_id: str, actor: str, reason: str, now: float) -> Champion:
        """Make an artefact the champion, whatever the gates said; audited."""

    def rollback(self, actor: str, reason: str, now: float) -> Champion:
        """Let the predecessor serve again; audited."""

    def import_labels(self, rows: Iterable[HistoricRow], now: float) -> int:
        """Store historic teacher answers; returns how many were new."""
