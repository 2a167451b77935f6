"""What every launcher must do, with a child that is a few lines of Python."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from retrain.launchers import VANISHED, Child, Launcher
from retrain.launchers.local import LocalLauncher

CHILDREN = {
    "exits": "import sys; sys.exit(3)",
    "waits": "import time; print('up', flush=True); time.sleep(60)",
    "obeys": (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
        "print('up', flush=True)\ntime.sleep(60)"
    ),
    "is deaf": (
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('up', flush=True)\ntime.sleep(60)"
    ),
    "has children": (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(p.pid, flush=True)\ntime.sleep(60)"
    ),
    "leaves children": (
        "import subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(p.pid, flush=True)"
    ),
    "tells": "import os; print(sorted(os.environ), os.getpriority(os.PRIO_PROCESS, 0), os.getcwd())",
}

Make = Callable[[str], Launcher]


def local(child: str) -> Launcher:
    environ = dict(os.environ) | {"PROCTORD_TEACHER__KEY": "canary", "OPENAI_API_KEY": "canary"}
    return LocalLauncher([sys.executable, "-c", CHILDREN[child]], environ)


@pytest.fixture(params=[local], ids=["local"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    made: list[Launcher] = []

    def build(child: str) -> Launcher:
        made.append(request.param(child))
        return made[-1]

    yield build
    found = request.param("waits").adopt(tmp_path)
    for launcher in made if found else []:
        launcher.stop(found, kill=True)
        until(partial(launcher.poll, found), "the end of a child that a test left")


def until(condition: Callable[[], object], what: str) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail(f"waited 10 s for: {what}")


def log(directory: Path) -> str:
    return (directory / "worker.log").read_text()


def alive(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def wait_for(launcher: Launcher, child: Child) -> int:
    codes: list[int] = []

    def look() -> bool:
        code = launcher.poll(child)
        if code is not None:
            codes.append(code)
        return bool(codes)

    until(look, "the child's end")
    return codes[0]


def test_a_child_that_ends_tells_its_exit_code(make: Make, tmp_path: Path) -> None:
    launcher = make("exits")
    assert wait_for(launcher, launcher.start(tmp_path)) == 3


def test_a_child_that_works_has_no_exit_code(make: Make, tmp_path: Path) -> None:
    launcher = make("waits")
    child = launcher.start(tmp_path)
    assert launcher.poll(child) is None


def test_an_obedient_child_stops_when_asked(make: Make, tmp_path: Path) -> None:
    launcher = make("obeys")
    child = launcher.start(tmp_path)
    until(lambda: "up" in log(tmp_path), "the child's first line")
    launcher.stop(child, kill=False)
    assert wait_for(launcher, child) == 75


def test_a_deaf_child_is_killed(make: Make, tmp_path: Path) -> None:
    launcher = make("is deaf")
    child = launcher.start(tmp_path)
    until(lambda: "up" in log(tmp_path), "the child's first line")
    launcher.stop(child, kill=False)
    assert launcher.poll(child) is None
    launcher.stop(child, kill=True)
    assert wait_for(launcher, child) == -9


@pytest.mark.parametrize("how", ["has children", "leaves children"])
def test_nothing_that_a_child_started_survives_it(how: str, make: Make, tmp_path: Path) -> None:
    launcher = make(how)
    child = launcher.start(tmp_path)
    until(lambda: log(tmp_path).strip(), "the grandchild's id")
    grandchild = int(log(tmp_path))
    if how == "has children":
        launcher.stop(child, kill=True)
    wait_for(launcher, child)
    until(lambda: not alive(grandchild), "the grandchild's end")


def test_another_launcher_adopts_the_child_by_its_directory(make: Make, tmp_path: Path) -> None:
    parent = make("waits")
    child = parent.start(tmp_path)
    successor = make("waits")
    # on a busy machine the kernel may still be setting up what /proc shows of it
    until(lambda: successor.adopt(tmp_path) == child, "the child in /proc")
    assert successor.poll(child) is None
    successor.stop(child, kill=True)
    until(lambda: successor.poll(child) == VANISHED, "the adopted child's end")
    assert wait_for(parent, child) == -9


def test_nobody_is_adopted_from_another_directory(make: Make, tmp_path: Path) -> None:
    make("waits").start(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert make("waits").adopt(elsewhere) is None


def test_a_process_with_a_recycled_id_is_left_in_peace(make: Make) -> None:
    launcher = make("waits")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as bystander:
        stale = Child(pid=bystander.pid, started=1)
        launcher.stop(stale, kill=True)
        assert launcher.poll(stale) == VANISHED
        assert bystander.poll() is None
        bystander.kill()


def test_a_child_has_a_low_priority_and_no_secrets(make: Make, tmp_path: Path) -> None:
    launcher = make("tells")
    wait_for(launcher, launcher.start(tmp_path))
    said = log(tmp_path)
    assert str(tmp_path) in said
    assert "KEY" not in said
    assert "PATH" in said
    assert "OFFLINE" in said
