"""Ctrl-C and SIGTERM end the demo between two steps, so that it clears up after itself."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StoppedError(Exception):
    """Somebody asked the demo to end."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        #: what a shell expects of a program that a signal ended
        self.exit_code = 128 + number


class Brake:
    """Remembers that a signal came until the story is at a point where it can end."""

    def __init__(self) -> None:
        self._number = 0

    def pull(self, number: int, _frame: FrameType | None) -> None:
        """Handle a signal. A second one changes nothing: the end is seconds away already."""
        self._number = number

    def check(self) -> None:
        """Raise StoppedError when a signal came: no turn is at work that it could break."""
        if self._number:
            raise StoppedError(self._number)


@contextmanager
def braking() -> Iterator[Brake]:
    """Let SIGINT and SIGTERM pull a brake within the block."""
    brake = Brake()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, brake.pull) for number in numbers}
    try:
        yield brake
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
