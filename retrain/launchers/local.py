"""The training child as a process of this machine (Linux: it is found again through /proc).

The child leads a session of its own, so that it outlives the daemon, that a signal to the
daemon's terminal does not reach it, and that it can be ended together with what it started.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from retrain.launchers import VANISHED, Child
from schemas.errors import DependencyDownError

#: The child gets these variables and no others: a teacher's key is none of them.
ALLOWED = frozenset(
    {
        "CUDA_VISIBLE_DEVICES",
        "HOME",
        "LANG",
        "LC_ALL",
        "LD_LIBRARY_PATH",
        "PATH",
        "PYTHONPATH",
        "TMPDIR",
        "TZ",
        "VIRTUAL_ENV",
    }
)
#: Models come from the disk: a child that meets no network cannot wait for one.
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}

NICENESS = 10
#: The kernel's choice when memory runs out, in [-1000, 1000]: the child before the daemon.
OOM_SCORE = 500


class LocalLauncher:
    """Starts `command DIRECTORY` with a low priority and little environment.

    Parameters
    ----------
    command: program and arguments; the run's directory is added as the last one.
    environ: the daemon's environment, of which the child gets the allowed part.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self._command = tuple(command)
        self._environ = {k: v for k, v in environ.items() if k in ALLOWED} | OFFLINE
        self._own: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, directory: Path) -> Child:
        """Start a child; its output is added to `directory/worker.log`."""
        where = directory.resolve()
        try:
            with (where / "worker.log").open("ab") as log:
                process = subprocess.Popen(  # noqa: S603 - the command is the operator's
                    [*self._command, str(where)],
                    cwd=where,
                    env=self._environ,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise DependencyDownError(
                f"the training child does not start: {error}",
                next_step="check `retrain.python`: an interpreter with the `train` extra",
            ) from error
        _yield_to_others(process.pid)
        self._own[process.pid] = process
        return Child(pid=process.pid, started=_started(process.pid) or 0)

    def adopt(self, directory: Path) -> Child | None:
        """Look through /proc for a session leader whose last argument is the directory.

        No file with a process id is needed, so none can be missing after a crash between the
        start and its writing, or name a process that was given the same id later.
        """
        wanted = os.fsencode(directory.resolve())
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and _last_argument(entry) == wanted:
                pid = int(entry.name)
                started = _started(pid)
                if started is not None and _leads_session(pid):
                    return Child(pid=pid, started=started)
        return None

    def poll(self, child: Child) -> int | None:
        """Return the exit code, reap the child, and end what it left behind in its group."""
        process = self._own.get(child.pid)
        if process is None:
            return None if _started(child.pid) == child.started else VANISHED
        # looked at without reaping: while the dead leader stands, its group's id is not reused
        if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        _signal_group(child.pid, signal.SIGKILL)
        del self._own[child.pid]
        return process.wait()

    def stop(self, child: Child, *, kill: bool) -> None:
        """Send SIGTERM to the child, or SIGKILL to its whole group."""
        if _started(child.pid) != child.started:
            return
        if kill:
            _signal_group(child.pid, signal.SIGKILL)
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGTERM)


def _yield_to_others(pid: int) -> None:
    # a child that is gone already needs no priority
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, NICENESS)
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(OOM_SCORE))


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def _last_argument(entry: Path) -> bytes:
    try:
        arguments = (entry / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return b""  # gone, or another user's
    return arguments[-1]


def _started(pid: int) -> int | None:
    """Return when a process began; None when it is gone, or dead and not yet reaped."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # the name in parentheses may hold anything, a parenthesis included
    fields = text.rpartition(")")[2].split()
    state, started = fields[0], int(fields[19])
    return None if state in "ZX" else started


def _leads_session(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except OSError:
        return False
