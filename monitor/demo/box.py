"""The box: production and proctord in one directory, driven by one clock that we turn.

Everything is real except the time: files of events, an HTTP teacher, a database, a training
child, a server that follows the champion. The clock is turned by the story, so the same seed
gives the same figures however fast the machine is; only the training child and the measured
latencies live in wall time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import sqlalchemy as sa

from monitor.alerts.channels import Channel
from monitor.app import Monitor
from monitor.config import MonitorSettings
from monitor.demo.customers import Row, Scenario
from monitor.demo.serving import ChampionServer, Reply
from monitor.loops import situation
from monitor.redaction import redact
from monitor.store import gold, notifying
from schemas.accepting import accept
from schemas.alerts import Condition
from schemas.contract import QualityContract
from schemas.decisions import Decision
from schemas.errors import ConfigError
from schemas.events import Answer, Feedback, Ticket, encode
from schemas.runs import Run
from schemas.signals import Signal

#: Monday, 1 June 2026, 06:00 UTC: when the shop opens
OPENING: Final = 1780293600.0
#: seconds between two customers, and until they are answered
BETWEEN, ANSWERED_AFTER = 10.0, 2.0
#: customers of one turn of all loops
TURN: Final = 50
#: customers that are served while a student trains; then the shop waits for it to end
WHILE_TRAINING: Final = 200
#: one ticket in so many gets a human's correction, where the right answer is known
FEEDBACK_EVERY: Final = 50
#: states of a run whose student trains
AT_WORK: Final = frozenset({"building", "training", "evaluating"})
#: wall seconds between two looks at a child
_LOOK: Final = 0.1


class Retraining(Protocol):
    """The other program, as far as the box drives it."""

    loop: Any

    def import_labels(self, rows: Any, now: float) -> int: ...  # noqa: D102 - `retrain.app` says

    def request_run(self, actor: str, reason: str, now: float) -> Run: ...  # noqa: D102

    def promote(self, artefact_id: str, actor: str, reason: str, now: float) -> Any: ...  # noqa: D102


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What became known in one turn of the loops."""

    #: customers served until now
    served: int
    now: float
    signals: tuple[Signal, ...]
    #: the newest decision and the newest run, as far as there are any
    decision: Decision | None
    run: Run | None
    champion: str
    #: alerts that fire
    firing: tuple[Condition, ...]


class Box:
    """Production and proctord, wired together in `root`."""

    def __init__(
        self,
        root: Path,
        scenario: Scenario,
        *,
        settings: MonitorSettings,
        engine: sa.Engine,
        lane: str,
        retraining: Retraining,
        channel: Channel,
        threads: int,
    ) -> None:
        self._root = root
        self._scenario = scenario
        self._engine = engine
        self._lane = lane
        self._retraining = retraining
        names = tuple(settings.alerts.channels)
        self._monitor = Monitor(settings, engine, lane=lane, channels=dict.fromkeys(names, channel))
        self.server = ChampionServer(root / "registry", threads)
        self._right = {row.id: row.gold for row in scenario.stream if row.gold is not None}
        self.now = OPENING
        self.served = 0
        self._accept(settings.contract)

    def close(self) -> None:
        """Let go of threads and connections, and end a child that still trains."""
        loop = self._retraining.loop
        # gone before its directory goes: it would write into a directory that is being deleted
        while not loop.abandon():
            time.sleep(_LOOK)
        loop.close()
        self._monitor.close()

    def _accept(self, contract: QualityContract) -> None:
        """Accept the shop's contract, without which nothing is promoted by itself."""
        with self._engine.begin() as connection:
            reason = "what a shop in a box can live with"
            accept(connection, contract, after=None, actor="demo", reason=reason, now=self.now)

    def distil(self, on_wait: Callable[[Run], None]) -> Run:
        """Distil the first student from the history; returns the run, ended.

        Raises
        ------
        ConfigError: no student came of it that could serve under what was accepted.
        """
        past = (msgspec.structs.replace(r, text=redact(r.text)) for r in self._scenario.history)
        self._retraining.import_labels(past, self.now)
        wanted = self._retraining.request_run("demo", "the first student", self.now)
        run = self._finish(wanted, on_wait)
        if run.state != "held":
            what = run.verdict.reason if run.verdict else run.failure
            raise ConfigError(
                f"the first student cannot serve, its run is {run.state}: {what}",
                next_step="teach it from more tickets (`--history`) or from a pretrained encoder "
                "(`--base`), or accept more disagreement (`--tolerance`)",
            )
        # nobody has checked the teacher yet: a person answers for the first student
        reason = "the shop opens: people check its teacher from now on"
        self._retraining.promote(run.challenger, "demo", reason, self.now)
        self.now += BETWEEN
        return run

    def days(self, on_wait: Callable[[Run], None]) -> Iterator[Turn]:
        """Serve the stream to its end; yields after each turn of the loops."""
        trained_during = 0
        rows = self._scenario.stream
        for start in range(0, len(rows), TURN):
            part = rows[start : start + TURN]
            self._serve(part)
            turn = self._turn()
            yield turn
            run = turn.run
            trains = run is not None and run.state in AT_WORK
            trained_during = trained_during + len(part) if trains else 0
            if run is not None and (trained_during >= WHILE_TRAINING or self._scores(run)):
                self._finish(run, on_wait)

    # --- production ------------------------------------------------------------------------

    def _serve(self, rows: Sequence[Row]) -> None:
        """Let customers write and the champion answer, as files that grow."""
        replies = self.server.answer([row.text for row in rows])
        tickets, answers, feedback = [], [], self._checked()
        for row, reply in zip(rows, replies, strict=True):
            self.now += BETWEEN
            tickets.append(self._ticket(row))
            answers.append(self._answer(row, reply))
            self.served += 1
            if row.gold is not None and self.served % FEEDBACK_EVERY == 0:
                feedback.append(self._feedback(row, reply))
        for stream, events in (("tickets", tickets), ("answers", answers), ("feedback", feedback)):
            _append(self._root / "events" / stream / "shop.jsonl", events)

    def _ticket(self, row: Row) -> bytes:
        return encode(
            Ticket(ticket_id=row.id, at=_moment(self.now), text=row.text, attributes=row.attributes)
        )

    def _answer(self, row: Row, reply: Reply) -> bytes:
        return encode(
            Answer(
                ticket_id=row.id,
                at=_moment(self.now + ANSWERED_AFTER),
                output=reply.output,
                model=reply.model,
                confidence=min(1.0, round(reply.confidence, 6)),
                # a measured one would make two runs of one story differ
                latency_ms=8.0 + len(row.text) / 20,
            )
        )

    def _feedback(self, row: Row, reply: Reply) -> bytes:
        right = reply.output == row.gold
        return encode(
            Feedback(
                ticket_id=row.id,
                at=_moment(self.now + ANSWERED_AFTER + 1),
                accepted=right,
                output=None if right else row.gold,
                by="agent",
            )
        )

    def _checked(self) -> list[bytes]:
        """Let people answer the tickets of `proctord gold list`, as feedback events."""
        with self._engine.begin() as connection:
            waiting = gold.waiting(connection, drawn_after=OPENING, limit=1000)
        return [
            encode(
                Feedback(
                    ticket_id=one.draw.ticket_id,
                    at=_moment(self.now),
                    # whose of the two answers is production's, they are not told
                    accepted=False,
                    output=self._right[one.draw.ticket_id],
                    by="reviewer",
                )
            )
            for one in waiting
            if one.draw.ticket_id in self._right
        ]

    # --- proctord ---------------------------------------------------------------------------

    def _turn(self) -> Turn:
        """Turn every loop until it has nothing left to do."""
        now = self.now
        monitor = self._monitor
        while monitor.consume.once(now, timeout=0.0).records:
            pass
        monitor.consume.checkpoint(now)
        while monitor.label.once(now).labelled:
            pass
        signals = monitor.evaluate.once(now).signals
        self._retraining.loop.once(now)
        monitor.notify.once(now)
        with self._engine.begin() as connection:
            live = situation.newest_run(connection, self._lane, live=True)
            return Turn(
                served=self.served,
                now=now,
                signals=signals,
                decision=situation.newest_decision(connection, self._lane),
                run=live or situation.newest_run(connection, self._lane, live=False),
                champion=situation.champion(connection, self._lane).artefact_id,
                firing=tuple(alert.condition for alert in notifying.firing(connection)),
            )

    def _finish(self, run: Run, on_wait: Callable[[Run], None]) -> Run:
        """Wait, in wall time, until a run needs no child any more."""
        while run.state in {"requested", *AT_WORK} or self._scores(run):
            self._retraining.loop.once(self.now)
            run = self._run(run.run_id)
            on_wait(run)
            time.sleep(_LOOK)
        return run

    def _scores(self, run: Run) -> bool:
        """Say whether a child scores fresh labels: seconds, in which no customer comes."""
        return run.state == "gated" and bool(self._retraining.loop.busy)

    def _run(self, run_id: str) -> Run:
        with self._engine.begin() as connection:
            for live in (True, False):
                found = situation.newest_run(connection, self._lane, live=live)
                if found is not None and found.run_id == run_id:
                    return found
        raise RuntimeError(f"run {run_id} is gone from the journal")


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _append(path: Path, events: Sequence[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(b"".join(event + b"\n" for event in events))
