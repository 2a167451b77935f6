"""Starting a training child somewhere, and finding it again after the daemon was restarted."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

import msgspec

#: Exit code of a child that was adopted and is gone: only a parent learns the real one.
VANISHED: Final = -1000

#: Exit code of a child that was asked to stop and can be started again.
INTERRUPTED: Final = 75


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """One process, named so that a recycled process id is not taken for it."""

    pid: int
    #: when the process began, in the kernel's ticks since this boot
    started: int


class Launcher(Protocol):
    """Runs at most one child in a run's directory; never waits for it."""

    def start(self, directory: Path) -> Child:
        """Start a child that carries out `directory/order.json`.

        Raises
        ------
        DependencyDownError: it could not be started.
        """

    def adopt(self, directory: Path) -> Child | None:
        """Find the child that works in `directory`, whoever started it; None: there is none."""

    def poll(self, child: Child) -> int | None:
        """Return a child's exit code, negative for a signal; None while it lives."""

    def stop(self, child: Child, *, kill: bool) -> None:
        """Ask a child to checkpoint and go, or end it and all that it started.

        A child that is gone already is left in peace.
        """
