"""The supervisor with real child processes that hang, die, are deaf, or do their work."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from retrain.launchers import INTERRUPTED
from retrain.launchers.local import LocalLauncher
from retrain.order import LabelledRow, TrainSettings, WorkOrder, WorkResult
from retrain.supervise import (
    Attempt,
    GaveUp,
    Patience,
    Supervisor,
    Working,
    hopeless,
    next_budget,
    read_attempts,
    read_order,
    write_order,
)

WORKER = Path(__file__).with_name("_fake_worker.py")
ROOT = Path(__file__).parents[2]
NEVER = 1e12

Turn = Working | WorkResult | GaveUp


@pytest.fixture
def launcher() -> LocalLauncher:
    environ = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    return LocalLauncher([sys.executable, str(WORKER)], environ)


@pytest.fixture
def order(tmp_path: Path, launcher: LocalLauncher) -> Iterator[Callable[[str], Path]]:
    directory = tmp_path / "run"

    def make(base: str) -> Path:
        directory.mkdir()
        row = LabelledRow(
            ticket_id="t1",
            at=0.0,
            text="my shoes are late",
            output="shipping",
            probabilities=(),
            reason="random",
            inclusion_probability=0.1,
        )
        (directory / "labels.jsonl").write_bytes(msgspec.json.encode(row) + b"\n")
        write_order(
            directory,
            WorkOrder(
                task="train",
                run_id="r1",
                lane="default",
                epoch=0,
                seed=0,
                threads=1,
                artefacts=str(tmp_path / "artefacts"),
                champion="",
                recent_since=0.0,
                settings=TrainSettings(base=base, token_budget=2048),
            ),
        )
        return directory

    yield make
    child = launcher.adopt(directory) if directory.exists() else None
    if child is not None:
        launcher.stop(child, kill=True)
        until(lambda: launcher.poll(child), "the end of a child that a test left")


def until(condition: Callable[[], object], what: str) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.02)
    pytest.fail(f"waited 20 s for: {what}")


def carry_out(
    supervisor: Supervisor, directory: Path, *, deadline: float = NEVER, speed: float = 0.0
) -> WorkResult | GaveUp:
    """Take turns until it is over; each turn the daemon's clock gains `speed` seconds."""
    for turn in range(1000):
        outcome = supervisor.turn(directory, 1000.0 + turn * speed, deadline)
        if not isinstance(outcome, Working):
            return outcome
        time.sleep(0.02)
    pytest.fail("the order did not end in 20 s")


def training(supervisor: Supervisor, directory: Path) -> None:
    def look() -> bool:
        outcome = supervisor.turn(directory, 1000.0, NEVER)
        return isinstance(outcome, Working) and outcome.phase == "training"

    until(look, "the first step")


def test_a_child_does_its_work(
    order: Callable[[str], Path], launcher: LocalLauncher, tmp_path: Path
) -> None:
    directory = order("ok")
    outcome = carry_out(Supervisor(launcher), directory)
    assert isinstance(outcome, WorkResult)
    assert outcome.ok
    assert [p.name for p in (tmp_path / "artefacts").iterdir()] == [outcome.artefact_id]
    assert len(read_attempts(directory)) == 1


def test_a_failure_that_the_child_explains_is_not_tried_again(
    order: Callable[[str], Path], launcher: LocalLauncher
) -> None:
    directory = order("fail")
    outcome = carry_out(Supervisor(launcher), directory)
    assert isinstance(outcome, WorkResult)
    assert outcome.failure == "the loss is not finite"
    assert len(read_attempts(directory)) == 1


def test_a_child_that_crashes_is_started_until_it_is_hopeless(
    order: Callable[[str], Path], launcher: LocalLauncher
) -> None:
    directory = order("crash")
    outcome = carry_out(Supervisor(launcher), directory)
    assert isinstance(outcome, GaveUp)
    assert "exit code 9" in outcome.reason
    assert [a.exit_code for a in read_attempts(directory)] == [9, 9, 9]


@pytest.mark.parametrize(("base", "why"), [("silent", "no heartbeat for"), ("hang", "no step for")])
def test_a_child_that_stalls_is_stopped(
    base: str, why: str, order: Callable[[str], Path], launcher: LocalLauncher
) -> None:
    directory = order(base)
    # a hanging child beats, but on a busy machine not at each turn of this fast clock
    patience = Patience(attempts=1) if base == "silent" else Patience(attempts=2, heartbeat=NEVER)
    outcome = carry_out(Supervisor(launcher, patience), directory, speed=20.0)
    assert isinstance(outcome, GaveUp)
    assert why in outcome.reason


def test_a_deaf_child_is_killed_after_the_grace(
    order: Callable[[str], Path], launcher: LocalLauncher
) -> None:
    directory = order("deaf")
    supervisor = Supervisor(launcher)
    training(supervisor, directory)
    assert isinstance(supervisor.turn(directory, 1000.0, deadline=1000.0), Working)
    assert isinstance(supervisor.turn(directory, 1029.0, deadline=1000.0), Working)
    assert read_attempts(directory)[0].exit_code is None, "the grace is not over"
    until(
        lambda: isinstance(supervisor.turn(directory, 1031.0, deadline=1000.0), GaveUp),
        "the child's end",
    )
    assert read_attempts(directory)[0].exit_code == -9


def test_a_child_that_ran_out_of_memory_gets_half_the_budget(
    order: Callable[[str], Path], launcher: LocalLauncher
) -> None:
    directory = order("oom")
    outcome = carry_out(Supervisor(launcher), directory)
    assert isinstance(outcome, WorkResult)
    assert [a.token_budget for a in read_attempts(directory)] == [2048, 1024]
    assert read_order(directory).settings.token_budget == 1024


def test_a_new_daemon_adopts_the_child_and_leaves_its_epoch(
    order: Callable[[str], Path], launcher: LocalLauncher
) -> None:
    directory = order("slow")
    training(Supervisor(launcher), directory)
    epoch = read_order(directory).epoch
    outcome = carry_out(Supervisor(launcher), directory)
    assert isinstance(outcome, WorkResult)
    assert read_order(directory).epoch == epoch
    assert len(read_attempts(directory)) == 1


def test_a_child_of_an_older_epoch_registers_nothing(
    order: Callable[[str], Path], launcher: LocalLauncher, tmp_path: Path
) -> None:
    directory = order("slow")
    supervisor = Supervisor(launcher)
    training(supervisor, directory)
    newer = msgspec.structs.replace(read_order(directory), epoch=99)
    write_order(directory, newer)
    # the child's command line is gone a little before its exit status can be read
    until(lambda: launcher.adopt(directory) is None, "the child's end")
    outcome = carry_out(supervisor, directory, deadline=0.0)
    assert isinstance(outcome, GaveUp)
    assert not list((tmp_path / "artefacts").glob("[0-9a-f]*"))


def test_an_interrupted_child_goes_on_later_and_is_not_held_against_it(
    order: Callable[[str], Path], launcher: LocalLauncher
) -> None:
    directory = order("slow")
    supervisor = Supervisor(launcher, Patience(attempts=1))
    training(supervisor, directory)
    supervisor.interrupt()
    until(lambda: launcher.adopt(directory) is None, "the child's end")
    outcome = carry_out(supervisor, directory)
    assert isinstance(outcome, WorkResult)
    assert [a.exit_code for a in read_attempts(directory)] == [INTERRUPTED, 0]


def attempt(
    reached: tuple[int, int], exit_code: int = 1, budget: int = 2048, stopped: str = ""
) -> Attempt:
    return Attempt(
        epoch=1,
        started_at=0.0,
        token_budget=budget,
        reached=reached,
        exit_code=exit_code,
        stopped=stopped,
    )


@pytest.mark.parametrize(
    ("prose", "attempts", "expected"),
    [
        ("no attempt yet", [], False),
        ("two that got nowhere", [attempt((0, 0))] * 2, False),
        ("three that got nowhere", [attempt((0, 0))] * 3, True),
        ("each got further", [attempt((1, n)) for n in (5, 9, 12, 20)], False),
        ("stuck at the same step", [attempt((1, 7)) for _ in range(4)], True),
        ("the daemon was restarted thrice", [attempt((0, 0), INTERRUPTED)] * 3, False),
        ("it stalled thrice", [attempt((0, 0), INTERRUPTED, stopped="no step")] * 3, True),
        (
            "a smaller budget starts afresh",
            [attempt((0, 0))] * 2 + [attempt((0, 0), budget=1024)] * 2,
            False,
        ),
    ],
)
def test_when_another_attempt_is_in_vain(
    prose: str, attempts: list[Attempt], *, expected: bool
) -> None:
    assert bool(hopeless(attempts, Patience())) is expected, prose


def test_the_budget_is_halved_once_and_only_for_a_kill_that_was_not_ours() -> None:
    assert next_budget([], 2048) == 2048
    assert next_budget([attempt((1, 1), -9)], 2048) == 1024
    assert next_budget([attempt((1, 1), -9, stopped="no step")], 2048) == 2048
    assert next_budget([attempt((1, 1), -9, budget=1024)], 2048) == 1024
