"""Ask the teacher about sampled tickets, within the budget, and write down what it said."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final, NamedTuple

import msgspec
import sqlalchemy as sa

from monitor.comparators import Comparator
from monitor.store import health, labelling
from monitor.teachers import Question, Teacher, TeacherAnswer
from schemas.errors import TeacherUnavailableError
from schemas.samples import Label, Sample

#: answers wait this long to be written; a crash asks, and pays, for those again
GROUP_SECONDS: Final = 0.5


class LabelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How this labeller works."""

    #: this process, as the journal knows it
    owner: str
    #: labels to choose from; empty: answers are free text
    taxonomy: tuple[str, ...]
    #: questions under way at once, and claimed in one turn
    concurrency: int
    batch: int
    daily_usd: float
    #: name of the comparator, for the record
    comparator: str
    #: seconds after which an unanswered claim may be taken by another labeller
    lease_seconds: float = 300.0
    #: age in seconds at which an unanswered sample is given up
    deadline_seconds: float = 86400.0


class LabelTurn(NamedTuple):
    """What one turn came to."""

    labelled: int
    unanswered: int
    budget_spent: bool


class _Outcome(NamedTuple):
    claimed: labelling.Claim
    answer: TeacherAnswer | None
    error: TeacherUnavailableError | None


class LabelLoop:
    """Claims samples, asks the teacher about several at once, settles each answer by itself.

    Parameters
    ----------
    stopping: True once the process has to end: what was claimed and not asked is given back.
    """

    def __init__(
        self,
        engine: sa.Engine,
        teacher: Teacher,
        comparator: Comparator,
        settings: LabelSettings,
        *,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._stopping = stopping
        self._engine = engine
        self._teacher = teacher
        self._compare = comparator
        self._settings = settings
        self._pool = ThreadPoolExecutor(settings.concurrency, thread_name_prefix="teacher")
        #: (time, outcome) of the last calls: what the teacher's health is judged by
        self._calls: deque[tuple[float, str]] = deque(maxlen=10_000)
        self._last_error = ""

    def once(self, now: float) -> LabelTurn:
        """Ask about the oldest waiting samples, as far as the budget reaches."""
        got = self._claim(now)
        jobs = {self._pool.submit(self._ask, claimed): claimed for claimed in got.claims}
        labelled = sum(self._settle(outcomes, now) for outcomes in self._in_groups(jobs))
        if jobs or got.budget_spent:
            self._report(now)
        return LabelTurn(labelled, len(jobs) - labelled, got.budget_spent)

    def close(self) -> None:
        """Wait for the questions under way and let the threads go."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._teacher.close()

    def _claim(self, now: float) -> labelling.Claims:
        settings = self._settings
        with self._engine.begin() as connection:
            return labelling.claim(
                connection,
                owner=settings.owner,
                now=now,
                limit=settings.batch,
                lease=settings.lease_seconds,
                daily_usd=settings.daily_usd,
                most_it_can_cost=lambda s: self._teacher.most_it_can_cost(self._question(s)),
            )

    def _question(self, sample: Sample) -> Question:
        return Question(
            ticket_id=sample.ticket_id, text=sample.text, taxonomy=self._settings.taxonomy
        )

    def _ask(self, claimed: labelling.Claim) -> _Outcome:
        try:
            return _Outcome(claimed, self._teacher.ask(self._question(claimed.sample)), None)
        except TeacherUnavailableError as error:
            return _Outcome(claimed, None, error)

    def _in_groups(
        self, jobs: Mapping[Future[_Outcome], labelling.Claim]
    ) -> Iterator[list[_Outcome]]:
        """Yield outcomes, those of half a second together: a transaction costs too.

        Once the process is stopping, what nobody asked yet comes without answer and error.
        """
        waiting = set(jobs)
        while waiting:
            done, waiting = wait(waiting, timeout=GROUP_SECONDS)
            unasked = {job for job in waiting if job.cancel()} if self._stopping() else set()
            waiting -= unasked
            yield [job.result() for job in jobs if job in done]
            yield [_Outcome(claimed, None, None) for job, claimed in jobs.items() if job in unasked]

    def _settle(self, outcomes: list[_Outcome], now: float) -> int:
        """Write what came of some questions, in one transaction; return how many labels."""
        if not outcomes:
            return 0
        answered = []
        with self._engine.begin() as connection:
            mine = labelling.still_mine(
                connection, self._settings.owner, [outcome.claimed for outcome in outcomes]
            )
            for claimed, answer, error in outcomes:
                self._remember(answer, error, now)
                if claimed.sample.ticket_id not in mine:
                    continue
                if answer is not None:
                    answered.append((claimed, self._label(claimed.sample, answer, now)))
                elif error is not None:
                    self._give_back(connection, claimed, error, now)
                else:
                    labelling.release(
                        connection, claimed=claimed, not_before=now, billed_usd=0.0, lost=False
                    )
            labelling.write_labels(connection, answered)
        return len(answered)

    def _remember(
        self, answer: TeacherAnswer | None, error: TeacherUnavailableError | None, now: float
    ) -> None:
        if error is not None:
            self._calls.append((now, "failed"))
            self._last_error = error.what[:300]
        elif answer is not None:
            self._calls.append((now, "abstained" if answer.output is None else "answered"))

    def _label(self, sample: Sample, answer: TeacherAnswer, now: float) -> Label:
        loss = None if answer.output is None else self._compare(sample.output, answer.output)
        return Label(
            ticket_id=sample.ticket_id,
            at=now,
            teacher=self._teacher.name,
            prompt_hash=self._teacher.prompt_hash,
            output=answer.output,
            abstained=answer.abstained,
            probabilities=answer.probabilities,
            disagreement=loss,
            comparator=self._settings.comparator,
            latency_ms=answer.latency_ms,
            input_tokens=answer.input_tokens,
            output_tokens=answer.output_tokens,
            cost_usd=answer.cost_usd,
        )

    def _give_back(
        self,
        connection: sa.Connection,
        claimed: labelling.Claim,
        error: TeacherUnavailableError,
        now: float,
    ) -> None:
        # an outage is not the ticket's fault: it waits, and is lost by age alone
        wait = min(3600.0, 5.0 * 2 ** min(claimed.attempts, 10))
        labelling.release(
            connection,
            claimed=claimed,
            not_before=now + max(wait, error.retry_after or 0.0),
            billed_usd=claimed.reserved_usd if error.maybe_billed else 0.0,
            lost=now - claimed.sample.at > self._settings.deadline_seconds,
        )

    def _report(self, now: float) -> None:
        recent = [outcome for at, outcome in self._calls if at > now - 3600.0]
        body = {
            "teacher": self._teacher.name,
            "calls": len(recent),
            "failures": recent.count("failed"),
            "abstentions": recent.count("abstained"),
            "last_error": self._last_error,
            "open_since": getattr(self._teacher, "open_since", None),
        }
        with self._engine.begin() as connection:
            health.report(connection, "teacher", self._settings.owner, body, now)
