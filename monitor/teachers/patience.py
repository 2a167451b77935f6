"""The one place where the teacher is asked again, or left alone for a while.

Our own loop, not stamina's: its hook for Retry-After bypasses its cap, and between two attempts
the circuit may have been opened by another thread.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import msgspec

from monitor.teachers import Question, Teacher, TeacherAnswer
from monitor.teachers.circuit import Circuit, State
from schemas.errors import TeacherUnavailableError

#: However long a server asks to be left alone: then we look for ourselves.
LONGEST_OPEN_SECONDS = 900.0


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How much is tried for one question."""

    #: calls, the first included
    attempts: int = 3
    #: no new attempt begins after this, seconds; one call's own deadline comes on top
    total_seconds: float = 60.0
    #: first wait, seconds; doubled each time, with jitter, up to the cap
    first_wait: float = 0.5
    longest_wait: float = 8.0
    #: a server that asks for a longer wait than this opens the circuit instead
    longest_retry_after: float = 20.0


class PatientTeacher:
    """Wraps a teacher: retries what can help, asks once more after an invalid answer, and stops.

    Threads may share it. What attempts cost that brought no answer is added to the answer's cost.

    Parameters
    ----------
    wait: sleeps; True when the process is stopping, which ends the trying: `Event.wait`.
    jitter: a draw from [0, 1), so that many labellers do not come back as one.
    """

    def __init__(
        self,
        teacher: Teacher,
        patience: Patience | None = None,
        circuit: Circuit | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._teacher = teacher
        self._patience = patience or Patience()
        self._circuit = circuit or Circuit()
        self._clock = clock
        self._wait = wait or threading.Event().wait
        self._jitter = jitter
        self.name = teacher.name
        self.prompt_hash = teacher.prompt_hash

    @property
    def state(self) -> State:
        """Of the circuit."""
        return self._circuit.state

    @property
    def open_since(self) -> float | None:
        """Since when the teacher has been left alone, seconds UTC; None while it is asked."""
        return self._circuit.open_since

    def most_it_can_cost(self, question: Question) -> float:
        """Dollars if every attempt is billed."""
        return self._patience.attempts * self._teacher.most_it_can_cost(question)

    def ask(self, question: Question) -> TeacherAnswer:
        """Ask until there is a valid answer, a second invalid one, or no use in going on.

        Raises
        ------
        TeacherUnavailableError: the last error, or that the circuit is open (`retry_after` says
            how long), in which case the teacher was not called.
        """
        stop = self._clock() + self._patience.total_seconds
        spent = _Spent(self._teacher.most_it_can_cost(question))
        for attempt in range(1, self._patience.attempts + 1):
            last = attempt == self._patience.attempts
            try:
                answer = self._call(question)
            except TeacherUnavailableError as error:
                spent.on(error)
                if last or not self._worth_another(error, attempt, stop):
                    raise spent.told_by(error) from None
                continue
            if answer.abstained != "invalid" or last or spent.invalid or self._clock() >= stop:
                break
            spent.on_invalid(answer)
        return spent.added_to(answer)

    def close(self) -> None:
        """Close the teacher."""
        self._teacher.close()

    def _call(self, question: Question) -> TeacherAnswer:
        remaining = self._circuit.admit()
        if remaining > 0:
            raise TeacherUnavailableError(
                f"the teacher {self.name} is left alone for {remaining:.0f} s after failures",
                retryable=True,
                retry_after=remaining,
                next_step="nothing: it is tried again by itself; see the errors before this one",
            )
        try:
            answer = self._teacher.ask(question)
        except TeacherUnavailableError as error:
            self._note(error)
            raise
        except BaseException:
            # a probe that ends in any other way must not hold the circuit half open for ever
            self._circuit.failed()
            raise
        self._circuit.succeeded()
        return answer

    def _note(self, error: TeacherUnavailableError) -> None:
        asked = min(error.retry_after or 0.0, LONGEST_OPEN_SECONDS)
        too_long = asked > self._patience.longest_retry_after
        self._circuit.failed(at_once=error.lasting or too_long, wait=asked)

    def _worth_another(self, error: TeacherUnavailableError, attempt: int, stop: float) -> bool:
        """Wait and say True, or say False: no help in it, no time for it, or we are stopping."""
        if not error.retryable or self._circuit.state != "closed":
            return False
        seconds = self._pause(error, attempt)
        return self._clock() + seconds < stop and not self._wait(seconds)

    def _pause(self, error: TeacherUnavailableError, attempt: int) -> float:
        patience = self._patience
        backoff = min(patience.longest_wait, patience.first_wait * 2.0 ** (attempt - 1))
        backoff *= 0.5 + 0.5 * self._jitter()
        # On top of the server's wish, which all callers share and would return by as one. It is
        # below its cap here: what is above has opened the circuit.
        return (error.retry_after or 0.0) + backoff


class _Spent:
    """What the attempts before the last one may have cost, in money, tokens and time."""

    def __init__(self, most: float) -> None:
        self._most = most
        self._unanswered_usd = 0.0
        self.invalid: TeacherAnswer | None = None

    def on(self, error: TeacherUnavailableError) -> None:
        self._unanswered_usd += self._most if error.maybe_billed else 0.0

    def on_invalid(self, answer: TeacherAnswer) -> None:
        self.invalid = answer

    def told_by(self, error: TeacherUnavailableError) -> TeacherUnavailableError:
        """The error, with any attempt's bill on it, not the last one's only."""
        error.maybe_billed = self._unanswered_usd > 0 or self.invalid is not None
        return error

    def added_to(self, answer: TeacherAnswer) -> TeacherAnswer:
        before = self.invalid
        return msgspec.structs.replace(
            answer,
            cost_usd=answer.cost_usd + self._unanswered_usd + (before.cost_usd if before else 0.0),
            input_tokens=answer.input_tokens + (before.input_tokens if before else 0),
            output_tokens=answer.output_tokens + (before.output_tokens if before else 0),
            latency_ms=answer.latency_ms + (before.latency_ms if before else 0.0),
        )
