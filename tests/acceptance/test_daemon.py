"""`proctord run` as an operator knows it: a process that drains, dies, and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon_rig import FileHouse, pairs


@pytest.fixture
def house(tmp_path: Path) -> Iterator[FileHouse]:
    house = FileHouse(tmp_path)
    yield house
    house.close()


def test_the_daemon_drains_on_sigterm_and_goes_on_where_it_stopped(house: FileHouse) -> None:
    house.write(["a"] * 200)
    daemon = house.start()
    house.until("the first tickets", pairs(200))
    started = time.monotonic()
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(timeout=25) == 0
    assert time.monotonic() - started < 25
    house.write(["a"] * 100)
    house.start()
    status = house.until("the tickets written meanwhile", pairs(300))
    assert status["counters"]["tickets"] == 300, "none was read twice"


def test_kill_9_loses_nothing_and_counts_nothing_twice(house: FileHouse) -> None:
    for round_ in range(3):
        house.write(["a"] * 150)
        daemon = house.start()
        time.sleep(1.5 + 0.7 * round_)  # wherever it is by then
        os.kill(daemon.pid, signal.SIGKILL)
        daemon.wait()
    house.start()
    status = house.until("all tickets", pairs(450))
    assert status["counters"]["tickets"] == 450
    assert status["counters"]["duplicates"] == 0


def test_a_student_that_left_its_bounds_is_told_of_and_bad_input_is_kept(house: FileHouse) -> None:
    house.write(["a"] * 100 + ["a", "b"] * 150)
    with (house.root / "events" / "tickets" / "log.jsonl").open("ab") as file:
        file.write(b'{"ticket_id": 7}\n')
    house.start()
    house.until("a page", lambda status: "QualityOutOfBounds of all traffic" in status["firing"])
    assert "QualityOutOfBounds" in house.ask("alerts").stdout
    assert "[page] QualityOutOfBounds" in (house.root / "daemon.log").read_text()
    listed = house.ask("dlq", "list").stdout
    assert "$.ticket_id" in listed
    assert f"{house.root}/events/tickets/log.jsonl@" in listed, "a path, for people"
    assert '{"ticket_id": 7}' in house.ask("dlq", "show", "1").stdout
    assert house.ask("retrain", "--dry-run").stdout.startswith("hold (no_champion)")


def test_a_second_daemon_is_refused(house: FileHouse) -> None:
    house.write(["a"] * 10)
    house.start()
    house.until("the first daemon", pairs(10))
    second = house.ask("run")
    assert second.returncode == 75
    assert "another proctord" in second.stderr


def test_a_file_that_lost_its_end_is_read_on_once_somebody_accepts_it(house: FileHouse) -> None:
    house.write(["a"] * 50)
    daemon = house.start()
    house.until("the first tickets", pairs(50))
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(timeout=25) == 0
    log = house.root / "events" / "tickets" / "log.jsonl"
    os.truncate(log, sum(len(line) for line in log.read_bytes().splitlines(keepends=True)[:30]))
    assert house.start().wait(timeout=60) == 78
    assert "proctord source accept-gap --reason" in house.log()
    assert f"{log}: events are gone" in house.ask("doctor").stdout
    accepted = house.ask("source", "accept-gap", "--reason", "the disk was full")
    assert accepted.returncode == 0, accepted.stderr
    assert f"{log} goes on from 0" in accepted.stdout
    assert "read anew from its beginning" in accepted.stdout
    again = house.ask("source", "accept-gap", "--reason", "the disk was full")
    assert "nothing is missing" in again.stderr
    house.write(["a"] * 20)
    house.start()
    status = house.until("the tickets written after it", pairs(70))
    assert status["counters"]["duplicates"] == 30, "what was known is not counted twice"
    assert house.ask("audit").stdout.count("the disk was full") == 1
    assert house.ask("source", "accept-gap", "--reason", "x").returncode == 75, "it runs"


def test_a_replay_prints_the_same_bytes_twice(house: FileHouse) -> None:
    house.write(["a"] * 200 + ["a", "b"] * 200)
    events = str(house.root / "events")
    first, second = house.ask("replay", events), house.ask("replay", events)
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    kinds = [json.loads(line) for line in first.stdout.splitlines()]
    assert any(k["kind"] == "signal" and k["severity"] == "page" for k in kinds)
    assert any(k["kind"] == "decision" for k in kinds)
    house.ask("db", "upgrade")
    shown = json.loads(house.ask("contract", "show", "--json").stdout)
    judged_by = {k["contract"] for k in kinds if k["kind"] == "signal"}
    assert judged_by == {shown["contract"]}, "the file's contract"


@pytest.mark.parametrize(
    ("prose", "words", "code", "told"),
    [
        ("settings that are fine", ["check-config"], 0, "is fine"),
        ("a run without a reason", ["retrain"], 2, "--reason"),
        ("a gap without a reason", ["source", "accept-gap"], 2, "--reason"),
        ("no source", ["source", "accept-gap", "--reason", "x"], 69, "create them"),
        ("nothing to go back to", ["rollback", "--reason", "x"], 1, ""),
        ("a letter that is not there", ["dlq", "show", "9"], 1, "dlq list"),
        ("an empty registry", ["models"], 0, ""),
        ("the schema", ["db", "current"], 0, "this proctord"),
    ],
)
def test_a_command_answers_with_its_code_and_the_next_step(
    house: FileHouse, prose: str, words: list[str], code: int, told: str
) -> None:
    house.ask("db", "upgrade")
    done = house.ask(*words)
    assert done.returncode == code, f"{prose}: {done.stdout}{done.stderr}"
    assert told in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_file_is_a_configuration_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "monitor", "status", "-c", str(tmp_path / "none.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert "--config" in done.stderr
