"""`proctord demo`: tell a story in the box, show it while it happens, and sum it up."""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from rich.console import Console
from rich.table import Table
from rich.text import Text

from monitor.alerts.figures import named
from monitor.config import MonitorSettings
from monitor.demo import figures as sums
from monitor.demo.box import BETWEEN, Box, Turn
from monitor.demo.customers import Row, Scenario, from_rows, shoe_shop
from monitor.demo.figures import Figures, Measured, Story
from monitor.demo.settings import BoxRules, write_settings
from monitor.demo.stopping import Brake, StoppedError, braking
from monitor.demo.teacher_server import TeacherServer
from monitor.demo.view import View
from monitor.store import evaluation
from schemas.errors import ConfigError
from schemas.journal import ensure_schema, open_journal, tidy
from schemas.runs import Run

#: tickets of the shop's story: the history, and the stream before and after the change
HISTORY: Final = 3500
BEFORE: Final = 2500
AFTER: Final = 5000
#: tickets that come on top of that while an alert still fires: a new student's labels prove it
MORE: Final = 3000
#: CPU threads of the training child and of the server
THREADS: Final = 2

Load = Callable[[Path], tuple[MonitorSettings, Any]]
Build = Callable[[Any, sa.Engine, Callable[[], float]], Any]


def show(
    *,
    tickets: Path | None,
    history: int | None,
    keep: Path | None,
    seed: int,
    as_json: bool,
    load: Load,
    build: Build,
    rules: BoxRules,
) -> None:
    """Run a story and print its figures.

    Raises
    ------
    ConfigError: the tickets cannot be read, no student learned enough from them, or the directory
        to keep the state in is not empty.
    """
    console = Console(stderr=as_json)
    try:
        with braking() as brake, ExitStack() as stack:
            scenario = _scenario(tickets, history, seed)
            found = tell(
                scenario,
                _root(keep, stack),
                seed=seed,
                console=console,
                load=load,
                build=build,
                rules=rules,
                brake=brake,
            )
    except StoppedError as error:
        sys.stderr.write(f"proctord: the demo was {error}\n")
        raise SystemExit(error.exit_code) from None
    if as_json:
        sys.stdout.write(json.dumps(sums.as_json(found), indent=2, sort_keys=True) + "\n")
        return
    _print(console, found)
    if keep is not None:
        # one line, however wide the terminal is: it is there to be pasted
        command = f"proctord status -c {shlex.quote(str(keep / 'proctord.toml'))}"
        console.print(Text(f"\nThe state stands in {keep}: try  {command}"), soft_wrap=True)


def _scenario(tickets: Path | None, history: int | None, seed: int) -> Scenario:
    if tickets is None:
        return shoe_shop(seed, history=HISTORY, before=BEFORE, after=AFTER, more=MORE)
    rows = list(_read_rows(tickets))
    taught = len(rows) // 3 if history is None else history
    if not 0 < taught < len(rows):
        raise ConfigError(
            f"{tickets} holds {len(rows)} tickets, which is too few for a history of {taught}",
            next_step="choose a smaller `--history`",
        )
    return from_rows(tickets.name, rows, taught)


def _read_rows(path: Path) -> list[Row]:
    from monitor.teachers.scripted import read_recorded

    return [msgspec.convert(row, Row, from_attributes=True) for row in read_recorded(path)]


def _root(keep: Path | None, stack: ExitStack) -> Path:
    if keep is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="proctord-demo-")))
    if keep.exists() and any(keep.iterdir()):
        raise ConfigError(f"{keep} is not empty", next_step="name a new directory for `--keep`")
    keep.mkdir(parents=True, exist_ok=True)
    return keep


def tell(
    scenario: Scenario,
    root: Path,
    *,
    seed: int,
    console: Console,
    load: Load,
    build: Build,
    rules: BoxRules,
    brake: Brake,
) -> Figures:
    """Run a story in `root` and return what it came to.

    Raises
    ------
    ConfigError: no student learned enough from the tickets.
    StoppedError: somebody pulled the brake.
    """
    started = time.monotonic()
    teacher = TeacherServer((*scenario.history, *scenario.stream))
    with ExitStack() as stack:
        url = stack.enter_context(teacher.serving())
        monitor, retrain = load(
            write_settings(root, scenario, rules, url=url, seed=seed, threads=THREADS)
        )
        engine = open_journal(monitor.journal.url)
        stack.callback(engine.dispose)
        ensure_schema(engine)
        tolerance = monitor.contract.tolerance
        view = stack.enter_context(View(console, tickets=len(scenario.stream), tolerance=tolerance))
        box = Box(
            root,
            scenario,
            settings=monitor,
            engine=engine,
            lane=retrain.retrain.lane,
            retraining=build(retrain, engine, time.time),
            channel=view,
            threads=THREADS,
        )
        stack.callback(box.close)
        teller = _Teller(scenario, box, view, engine, brake)
        story = teller.tell(teacher, started)
        tidy(engine)
        with engine.begin() as connection:
            return sums.gather(connection, story, tolerance)


class _Teller:
    """Follows a story: says what happens, and keeps what the summary needs."""

    def __init__(
        self, scenario: Scenario, box: Box, view: View, engine: sa.Engine, brake: Brake
    ) -> None:
        self._scenario = scenario
        self._box = box
        self._view = view
        self._engine = engine
        self._brake = brake
        self._change_at: float | None = None
        self._page: Turn | None = None
        self._early_pages = 0
        self._promoted_at: float | None = None
        self._run = ("", "")
        self._decided = -1.0

    def tell(self, teacher: TeacherServer, started: float) -> Story:
        view, scenario = self._view, self._scenario
        view.say("distil", f"the first student learns from {len(scenario.history):,} tickets")
        first = self._box.distil(self._waiting)
        view.say("serve", f"student {first.challenger[:12]} serves, by a person's word", "green")
        if scenario.change_at is not None:
            # of the first ticket after the change, which comes after all before it were served
            self._change_at = self._box.now + scenario.change_at * BETWEEN + BETWEEN / 2
        turn: Turn | None = None
        for turn in self._box.days(self._waiting):
            self._follow(turn, first)
            if turn.served >= scenario.enough and not turn.firing:
                break
        self._tell_end(turn)
        server = self._box.server
        return Story(
            tickets=self._box.served,
            change_at=self._change_at,
            first_page_at=self._page.now if self._page else None,
            pages_before_change=self._early_pages,
            delay_tickets=self._delay(),
            promoted_at=self._promoted_at,
            first_student=first.challenger,
            last_student=turn.champion if turn else first.challenger,
            verdict=turn.run.verdict if turn and turn.run else None,
            # threads add up in any order: what rounding leaves of that is not the story's
            teacher_ms=round(teacher.latency_ms / max(1, teacher.asked), 3),
            teacher_only_usd=sum(
                row.teacher.cost_usd for row in scenario.stream[: self._box.served]
            ),
            measured=Measured(
                wall_seconds=time.monotonic() - started,
                student_ms=1000 * server.seconds / max(1, server.answered),
            ),
        )

    def _delay(self) -> int | None:
        if self._page is None or self._scenario.change_at is None:
            return None
        return self._page.served - self._scenario.change_at

    def _follow(self, turn: Turn, first: Run) -> None:
        self._brake.check()
        self._mark_change(turn)
        for signal in turn.signals:
            if signal.severity == "page" and signal.metric == "disagreement":
                self._paged(turn)
        self._tell_run(turn)
        self._view.notify()
        self._tell_decision(turn)
        if turn.champion != first.challenger and self._promoted_at is None:
            self._promoted_at = turn.now
        self._view.progress(turn.served, self._state(turn), self._recent(turn.champion))

    def _mark_change(self, turn: Turn) -> None:
        change = self._scenario.change_at
        if change is not None and turn.served - 50 < change <= turn.served:
            self._view.say("the world", "new products, new words, new questions arrive", "magenta")

    def _paged(self, turn: Turn) -> None:
        if self._change_at is not None and turn.now < self._change_at:
            self._early_pages += 1
        elif self._page is None:
            self._page = turn

    def _tell_run(self, turn: Turn) -> None:
        run = turn.run
        if run is None or (run.run_id, run.state) == self._run:
            return
        self._run = (run.run_id, run.state)
        self._view.say("run", f"{run.run_id} is {run.state}")
        for gate in run.verdict.gates if run.verdict else ():
            style = {"pass": "green", "fail": "red"}.get(gate.outcome, "yellow")
            self._view.say("gate", f"{gate.gate}: {gate.outcome}: {gate.reason}", style)

    def _tell_decision(self, turn: Turn) -> None:
        decision = turn.decision
        if decision is not None and decision.at > self._decided:
            self._decided = decision.at
            self._view.say("decision", f"{decision.action} ({decision.rule}): {decision.reason}")

    def _tell_end(self, turn: Turn | None) -> None:
        if turn is None or not turn.firing:
            self._view.say("the end", "no alert fires any more", "green")
            return
        names = ", ".join(map(named, turn.firing))
        self._view.say("the end", f"the stream ends while {names} still fires", "yellow")

    def _waiting(self, run: Run) -> None:
        self._brake.check()
        self._view.wait(f"run {run.run_id} is {run.state}")

    def _state(self, turn: Turn) -> str:
        run = turn.run
        if run is not None and run.state in {"building", "training", "evaluating", "gated"}:
            return f"run {run.run_id} is {run.state}; {turn.champion[:12]} serves on"
        return f"student {turn.champion[:12]} serves"

    def _recent(self, champion: str) -> float | None:
        with self._engine.begin() as connection:
            points = evaluation.estimates(connection, model=champion, limit=1)
        return points[-1].recent.estimate if points and points[-1].recent else None


def _print(console: Console, found: Figures) -> None:
    table = Table(title="what it came to", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    for title, words in sums.as_rows(found):
        table.add_row(title, words)
    console.print(table)
