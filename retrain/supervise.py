"""One order, carried out by as many training children as it takes, each watched.

All that must outlive the daemon stands in the order's directory: `order.json` (with the epoch
that fences older children), `attempts.json`, and what the child writes. So a daemon that starts
again goes on where the last one stopped, with the child that is still at work or with a new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from retrain.durable import replace_bytes
from retrain.launchers import INTERRUPTED, VANISHED, Child, Launcher
from retrain.order import Heartbeat, Phase, WorkOrder, WorkResult

#: Phases in the order in which a child goes through them.
PHASES: Final[tuple[Phase, ...]] = ("building", "training", "evaluating", "done")

T = TypeVar("T")


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long a child may be silent or slow, seconds; how often it may fail."""

    heartbeat: float = 60.0
    step: float = 600.0
    #: between asking it to stop and killing it
    grace: float = 30.0
    #: attempts in a row that got no further than those before them
    attempts: int = 3


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One child's life."""

    epoch: int
    started_at: float
    #: tokens of a batch: halved after the kernel killed a child for its memory
    token_budget: int
    #: index of the phase in `PHASES` and the step in it: how far it got
    reached: tuple[int, int] = (0, 0)
    #: None while it lives
    exit_code: int | None = None
    #: why proctord stopped it, or ""
    stopped: str = ""


class Working(msgspec.Struct, frozen=True, kw_only=True):
    """A child is at work, or being started or stopped."""

    phase: Phase
    attempts: int


class GaveUp(msgspec.Struct, frozen=True, kw_only=True):
    """No further child is started for this order."""

    reason: str
    attempts: int


def sickness(heard_at: float, progress_at: float, now: float, patience: Patience) -> str:
    """Return why a living child must be stopped, or "".

    >>> sickness(heard_at=0.0, progress_at=0.0, now=61.0, patience=Patience())
    'no heartbeat for 61 s'
    """
    if now - heard_at > patience.heartbeat:
        return f"no heartbeat for {now - heard_at:.0f} s"
    if now - progress_at > patience.step:
        return f"no step for {now - progress_at:.0f} s"
    return ""


def hopeless(attempts: Sequence[Attempt], patience: Patience) -> str:
    """Return why another attempt would be in vain, or "".

    Attempts that were asked to stop because the daemon stopped do not count, and those that got
    further than all before them set the count back. A smaller token budget starts afresh.
    """
    futile, best = 0, (0, 0)
    budget = attempts[0].token_budget if attempts else 0
    for attempt in attempts:
        if attempt.token_budget != budget:
            futile, best, budget = 0, (0, 0), attempt.token_budget
        if attempt.reached > best:
            futile, best = 0, attempt.reached
        elif attempt.exit_code != INTERRUPTED or attempt.stopped:
            futile += 1
    if futile < patience.attempts:
        return ""
    last = attempts[-1]
    return (
        f"{futile} attempts got no further than {PHASES[best[0]]}, step {best[1]}; the last one "
        f"ended with {_exit_text(last.exit_code)}{': ' + last.stopped if last.stopped else ''}"
    )


def next_budget(attempts: Sequence[Attempt], budget: int) -> int:
    """Return the token budget of the next attempt: halved once after a kill for memory.

    Assumption: a SIGKILL that proctord did not send came from the kernel's out-of-memory killer.
    """
    if not attempts:
        return budget
    last = attempts[-1]
    killed = last.exit_code == -9 and not last.stopped
    if killed and last.token_budget == budget:
        return max(1, budget // 2)
    return last.token_budget


class Supervisor:
    """Looks after the child of one order at a time; never waits."""

    def __init__(self, launcher: Launcher, patience: Patience | None = None) -> None:
        self._launcher = launcher
        self._patience = patience or Patience()
        self._directory: Path | None = None
        self._child: Child | None = None
        #: the newest beat, when it was first seen, and when the child last took a step: by the
        #: daemon's clock alone, so that two clocks that disagree kill nobody
        self._beat: Heartbeat | None = None
        self._heard_at = self._progress_at = 0.0
        self._stopping_since: float | None = None

    @property
    def busy(self) -> bool:
        """Whether there is a child that has not been seen to end."""
        return self._child is not None

    def turn(self, directory: Path, now: float, deadline: float) -> Working | WorkResult | GaveUp:
        """Take one look at an order and do the next thing for it."""
        self._turn_to(directory, now)
        attempts = read_attempts(directory)
        if self._child is not None:
            code = self._launcher.poll(self._child)
            if code is None:
                return self._watch(directory, attempts, now, deadline)
            self._child = None
            attempts = _end(directory, attempts, code)
        elif attempts and attempts[-1].exit_code is None:
            attempts = _end(directory, attempts, VANISHED)
        result = read_result(directory)
        if result is not None:
            return result
        if now >= deadline:
            return GaveUp(reason="the deadline passed", attempts=len(attempts))
        if vain := hopeless(attempts, self._patience):
            return GaveUp(reason=vain, attempts=len(attempts))
        return self._start(directory, attempts, now)

    def interrupt(self) -> None:
        """Have the child checkpoint and go, because the daemon stops; a later turn goes on."""
        if self._child is not None and self._directory is not None:
            attempts = _with_last(read_attempts(self._directory), exit_code=INTERRUPTED)
            _write_attempts(self._directory, attempts)
            self._stop(kill=False)

    def kill(self) -> bool:
        """End the child and all that it started, as nobody goes on with it; True once it is gone."""
        self._stop(kill=True)
        if self._child is not None and self._launcher.poll(self._child) is not None:
            self._child = None
        return self._child is None

    def _turn_to(self, directory: Path, now: float) -> None:
        if directory == self._directory:
            return
        self._directory = directory
        self._meet(self._launcher.adopt(directory), now)

    def _meet(self, child: Child | None, now: float) -> None:
        self._child, self._beat, self._stopping_since = child, None, None
        self._heard_at = self._progress_at = now

    def _start(self, directory: Path, attempts: list[Attempt], now: float) -> Working:
        # two children in one directory would write over each other's checkpoints: one may be
        # there if this process was frozen while another one led
        stray = self._launcher.adopt(directory)
        if stray is not None:
            self._meet(stray, now)
            return Working(phase="building", attempts=len(attempts))
        order = read_order(directory)
        budget = next_budget(attempts, _first_budget(attempts, order))
        settings = msgspec.structs.replace(order.settings, token_budget=budget)
        order = msgspec.structs.replace(order, epoch=order.epoch + 1, settings=settings)
        # The order first: from here on a child of an older epoch registers nothing, even one
        # that no launcher can see. The attempt before the start: a daemon killed between the two
        # counts one attempt too many, never one too few.
        write_order(directory, order)
        attempt = Attempt(epoch=order.epoch, started_at=now, token_budget=budget)
        _write_attempts(directory, [*attempts, attempt])
        self._meet(self._launcher.start(directory), now)
        return Working(phase="building", attempts=len(attempts) + 1)

    def _watch(
        self, directory: Path, attempts: list[Attempt], now: float, deadline: float
    ) -> Working:
        self._listen(read_beat(directory, read_order(directory).epoch), now)
        if self._stopping_since is not None:
            self._press(now)
        elif ill := self._ill(now, deadline):
            _write_attempts(directory, _with_last(attempts, stopped=ill))
            self._stopping_since = now
            self._stop(kill=False)
        return Working(phase=self._beat.phase if self._beat else "building", attempts=len(attempts))

    def _listen(self, beat: Heartbeat | None, now: float) -> None:
        if beat is None or beat == self._beat:
            return
        if _reached(beat) != _reached(self._beat):
            self._progress_at = now
        self._beat, self._heard_at = beat, now

    def _ill(self, now: float, deadline: float) -> str:
        if now >= deadline:
            return "the deadline passed"
        return sickness(self._heard_at, self._progress_at, now, self._patience)

    def _press(self, now: float) -> None:
        if self._stopping_since is not None and now - self._stopping_since >= self._patience.grace:
            self._stop(kill=True)

    def _stop(self, *, kill: bool) -> None:
        if self._child is not None:
            self._launcher.stop(self._child, kill=kill)


# --- the files of an order's directory -------------------------------------------------------


def read_order(directory: Path) -> WorkOrder:
    """Return `order.json`; the daemon wrote it, so it is there and whole."""
    return msgspec.json.decode((directory / "order.json").read_bytes(), type=WorkOrder)


def write_order(directory: Path, order: WorkOrder) -> None:
    """Replace `order.json` in one step."""
    replace_bytes(directory / "order.json", msgspec.json.encode(order))


def read_attempts(directory: Path) -> list[Attempt]:
    """Return the children that were started for this order, oldest first."""
    return _read(directory / "attempts.json", list[Attempt]) or []


def read_beat(directory: Path, epoch: int) -> Heartbeat | None:
    """Return the newest sign of life of the child of this epoch."""
    beat = _read(directory / "heartbeat.json", Heartbeat)
    return beat if beat is not None and beat.epoch == epoch else None


def read_result(directory: Path) -> WorkResult | None:
    """Return what the child of the order's epoch left behind; None: it did not finish."""
    result = _read(directory / "result.json", WorkResult)
    if result is None or result.epoch != read_order(directory).epoch:
        return None
    return result


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError):
        # not there yet, or a child of another make: for the daemon it says nothing either way
        return None


def _write_attempts(directory: Path, attempts: list[Attempt]) -> None:
    replace_bytes(directory / "attempts.json", msgspec.json.encode(attempts))


def _with_last(attempts: list[Attempt], **change: Any) -> list[Attempt]:
    # an empty file was lost with its disk: the child counts for nothing, and is watched still
    return [*attempts[:-1], *(msgspec.structs.replace(a, **change) for a in attempts[-1:])]


def _end(directory: Path, attempts: list[Attempt], code: int) -> list[Attempt]:
    if not attempts:  # the file was lost with its disk; the child counts as none
        return attempts
    last = attempts[-1]
    reached = _reached(read_beat(directory, last.epoch))
    # one that was interrupted stays so, whatever the next daemon makes of its end
    final = code if last.exit_code is None else last.exit_code
    ended = _with_last(attempts, exit_code=final, reached=reached)
    _write_attempts(directory, ended)
    return ended


def _reached(beat: Heartbeat | None) -> tuple[int, int]:
    return (PHASES.index(beat.phase), beat.step) if beat else (0, 0)


def _first_budget(attempts: list[Attempt], order: WorkOrder) -> int:
    return attempts[0].token_budget if attempts else order.settings.token_budget


def _exit_text(code: int | None) -> str:
    if code is None or code == VANISHED:
        return "an unknown exit code"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
