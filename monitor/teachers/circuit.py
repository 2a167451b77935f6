"""When to leave a failing teacher alone, and when to try it again.

The circuit breaker of M. Nygard, "Release It!" (2007): `closed` lets calls through, `open` none,
`half_open` one that decides. It says nothing about segments and routing: that is the breaker of
`monitor.breaker`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal

State = Literal["closed", "open", "half_open"]


class Circuit:
    """Counts failures in a row; threads may share it.

    Parameters
    ----------
    failures: this many in a row open it.
    open_seconds: how long it stays open before one call may try.
    clock: seconds that only grow; `wall`: seconds UTC, for people.

    >>> circuit = Circuit(failures=2, open_seconds=60.0, clock=lambda: 0.0)
    >>> circuit.failed(), circuit.state, circuit.failed(), circuit.state, circuit.admit()
    (None, 'closed', None, 'open', 60.0)
    """

    def __init__(
        self,
        *,
        failures: int = 5,
        open_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._limit = failures
        self._open_seconds = open_seconds
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._opened_at: float | None = None
        self._open_until = 0.0
        self._probing = False

    @property
    def state(self) -> State:
        """As of now; `half_open` from the end of the wait until a call has decided."""
        with self._lock:
            if self._opened_at is None:
                return "closed"
            return "open" if self._clock() < self._open_until else "half_open"

    @property
    def open_since(self) -> float | None:
        """Since when calls have not been let through freely, seconds UTC; None while closed."""
        return self._opened_at

    def admit(self) -> float:
        """0: call, and tell how it went; else the seconds to wait before asking again."""
        with self._lock:
            if self._opened_at is None:
                return 0.0
            wait = self._open_until - self._clock()
            if wait <= 0 and not self._probing:
                self._probing = True
                return 0.0
            # somebody else's probe is under way: its end is near, but not known
            return max(wait, 1.0)

    def succeeded(self) -> None:
        """A call was answered, whatever the answer is worth."""
        with self._lock:
            self._in_a_row = 0
            self._opened_at = None
            self._probing = False

    def failed(self, *, at_once: bool = False, wait: float = 0.0) -> None:
        """A call was not answered; `at_once` opens whatever the count, `wait` seconds at least."""
        with self._lock:
            self._in_a_row += 1
            if at_once or self._probing or self._in_a_row >= self._limit:
                self._opened_at = self._wall() if self._opened_at is None else self._opened_at
                until = self._clock() + max(self._open_seconds, wait)
                self._open_until = max(self._open_until, until)
            self._probing = False
