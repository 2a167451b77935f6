"""Retrying what can help, asking once more, and leaving a failing teacher alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from monitor.teachers import Question, TeacherAnswer
from monitor.teachers.circuit import Circuit
from monitor.teachers.patience import Patience, PatientTeacher
from schemas.errors import TeacherUnavailableError

QUESTION = Question(ticket_id="t1", text="where is my parcel")
GOOD = TeacherAnswer(
    output="parcel", latency_ms=10.0, input_tokens=5, output_tokens=2, cost_usd=0.001
)
BAD = TeacherAnswer(
    output=None,
    abstained="invalid",
    latency_ms=20.0,
    input_tokens=7,
    output_tokens=3,
    cost_usd=0.002,
)
MOST = 0.01


def down(
    *,
    retryable: bool = True,
    retry_after: float | None = None,
    maybe_billed: bool = False,
    lasting: bool = False,
) -> TeacherUnavailableError:
    return TeacherUnavailableError(
        "down",
        retryable=retryable,
        retry_after=retry_after,
        maybe_billed=maybe_billed,
        lasting=lasting,
    )


class Told:
    """A teacher that does what a list says; the last entry stays."""

    name = "told"
    prompt_hash = "0" * 16

    def __init__(self, *steps: TeacherAnswer | Exception) -> None:
        self.steps = list(steps)
        self.calls = 0
        self.closed = False

    def most_it_can_cost(self, question: Question) -> float:
        del question
        return MOST

    def ask(self, question: Question) -> TeacherAnswer:
        del question
        self.calls += 1
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, Exception):
            raise step
        return step

    def close(self) -> None:
        self.closed = True


def state(of: PatientTeacher | Circuit) -> str:
    """A function, since the type checker believes that a property stays as it was compared."""
    return of.state


class Time:
    """A clock that moves only while somebody waits, and remembers how long they did."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []
        self.stopping = False

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        return self.stopping


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def patient(time: Time) -> Callable[..., PatientTeacher]:
    def build(teacher: Told, **settings: float) -> PatientTeacher:
        circuit = Circuit(failures=5, open_seconds=60.0, clock=time, wall=lambda: 5.0)
        patience = Patience(
            attempts=int(settings.get("attempts", 3)),
            total_seconds=settings.get("total_seconds", 60.0),
        )
        return PatientTeacher(
            teacher, patience, circuit, clock=time, wait=time.wait, jitter=lambda: 1.0
        )

    return build


Build = Callable[..., PatientTeacher]


@pytest.mark.parametrize(
    ("steps", "calls", "waits", "why"),
    [
        ([GOOD], 1, [], "a good answer is not asked for twice"),
        ([down(), GOOD], 2, [0.5], "a failure that may pass is tried again"),
        ([down(), down(), GOOD], 3, [0.5, 1.0], "each wait is twice the last"),
        ([down(retry_after=3.0), GOOD], 2, [3.5], "the server's wish comes first"),
        ([BAD, GOOD], 2, [], "an invalid answer is asked for once more, at once"),
        ([down(), BAD, GOOD], 3, [0.5], "also after a failure"),
    ],
)
def test_it_tries_until_there_is_an_answer(
    steps: list[TeacherAnswer | Exception],
    calls: int,
    waits: list[float],
    why: str,
    patient: Build,
    time: Time,
) -> None:
    teacher = Told(*steps)
    assert patient(teacher).ask(QUESTION).output == "parcel", why
    assert (teacher.calls, time.waits) == (calls, waits), why


@pytest.mark.parametrize(
    ("error", "calls", "why"),
    [
        (down(), 3, "three attempts and no more"),
        (down(retryable=False), 1, "what cannot help is not tried"),
        (down(retryable=False, lasting=True), 1, "a refused key least of all"),
        (down(retry_after=9999.0), 1, "nobody waits three hours in a thread"),
    ],
)
def test_it_gives_up(error: TeacherUnavailableError, calls: int, why: str, patient: Build) -> None:
    teacher = Told(error)
    with pytest.raises(TeacherUnavailableError, match="down"):
        patient(teacher).ask(QUESTION)
    assert teacher.calls == calls, why


def test_no_attempt_begins_after_the_total_time(patient: Build, time: Time) -> None:
    teacher = Told(down(retry_after=15.0))
    with pytest.raises(TeacherUnavailableError):
        patient(teacher, attempts=10, total_seconds=40.0).ask(QUESTION)
    assert teacher.calls == 3
    assert time.now - 1000.0 < 40.0


def test_a_process_that_stops_ends_the_trying(patient: Build, time: Time) -> None:
    teacher = Told(down())
    time.stopping = True
    with pytest.raises(TeacherUnavailableError):
        patient(teacher).ask(QUESTION)
    assert teacher.calls == 1


def test_twice_invalid_is_an_abstention_that_costs_both_calls(patient: Build) -> None:
    teacher = Told(BAD)
    answer = patient(teacher).ask(QUESTION)
    assert (answer.output, answer.abstained, teacher.calls) == (None, "invalid", 2)
    assert answer.cost_usd == pytest.approx(0.004)
    assert (answer.input_tokens, answer.output_tokens, answer.latency_ms) == (14, 6, 40.0)


@pytest.mark.parametrize("abstained", ["refused", "truncated"])
def test_a_refused_or_truncated_answer_is_not_asked_for_again(
    abstained: str, patient: Build
) -> None:
    teacher = Told(TeacherAnswer(output=None, abstained=abstained, latency_ms=1.0))
    assert patient(teacher).ask(QUESTION).abstained == abstained
    assert teacher.calls == 1


def test_a_call_that_timed_out_is_booked_at_the_most_it_can_have_cost(patient: Build) -> None:
    answer = patient(Told(down(maybe_billed=True), down(), GOOD)).ask(QUESTION)
    assert answer.cost_usd == pytest.approx(GOOD.cost_usd + MOST)


def test_a_bill_of_any_attempt_stands_on_the_last_error(patient: Build) -> None:
    for steps in ([down(maybe_billed=True), down()], [BAD, down(retryable=False)]):
        with pytest.raises(TeacherUnavailableError) as caught:
            patient(Told(*steps)).ask(QUESTION)
        assert caught.value.maybe_billed
    with pytest.raises(TeacherUnavailableError) as caught:
        patient(Told(down())).ask(QUESTION)
    assert not caught.value.maybe_billed


def test_what_is_reserved_covers_every_attempt(patient: Build) -> None:
    teacher = Told(down(maybe_billed=True), BAD, GOOD)
    wrapped = patient(teacher)
    reserved = wrapped.most_it_can_cost(QUESTION)
    assert wrapped.ask(QUESTION).cost_usd <= reserved == pytest.approx(3 * MOST)


def test_five_failures_in_a_row_open_the_circuit_and_nobody_calls(
    patient: Build, time: Time
) -> None:
    teacher = Told(down())
    wrapped = patient(teacher)
    for _ in range(2):
        with pytest.raises(TeacherUnavailableError, match="down"):
            wrapped.ask(QUESTION)
    assert (state(wrapped), wrapped.open_since, teacher.calls) == ("open", 5.0, 5)

    time.now += 20.0
    with pytest.raises(TeacherUnavailableError, match="left alone") as caught:
        wrapped.ask(QUESTION)
    assert teacher.calls == 5
    assert caught.value.retryable
    assert caught.value.retry_after == pytest.approx(40.0)


def test_after_the_wait_one_call_decides(patient: Build, time: Time) -> None:
    teacher = Told(down(retryable=False, lasting=True), down(), GOOD)
    wrapped = patient(teacher)
    with pytest.raises(TeacherUnavailableError):
        wrapped.ask(QUESTION)
    assert state(wrapped) == "open", "a refused key opens it at once"

    time.now += 60.0
    assert state(wrapped) == "half_open"
    with pytest.raises(TeacherUnavailableError):
        wrapped.ask(QUESTION)
    assert (state(wrapped), teacher.calls) == ("open", 2), "the probe failed: no second attempt"

    time.now += 60.0
    assert wrapped.ask(QUESTION).output == "parcel"
    assert (state(wrapped), wrapped.open_since) == ("closed", None)


@pytest.mark.parametrize(
    ("asked", "open_for", "why"),
    [
        (300.0, 300.0, "longer than anybody waits: the circuit waits instead"),
        (30.0, 60.0, "never shorter than an open circuit stays open"),
        (9999.0, 900.0, "never longer than fifteen minutes"),
    ],
)
def test_a_long_retry_after_opens_the_circuit(
    asked: float, open_for: float, why: str, patient: Build, time: Time
) -> None:
    wrapped = patient(Told(down(retry_after=asked)))
    with pytest.raises(TeacherUnavailableError):
        wrapped.ask(QUESTION)
    time.now += open_for - 1.0
    assert state(wrapped) == "open", why
    time.now += 1.0
    assert state(wrapped) == "half_open", why


def test_while_one_call_probes_the_others_are_refused(time: Time) -> None:
    circuit = Circuit(failures=1, open_seconds=60.0, clock=time)
    circuit.failed()
    time.now += 61.0
    assert circuit.admit() == 0.0
    assert circuit.admit() > 0.0
    circuit.succeeded()
    assert circuit.admit() == 0.0


def test_an_answer_between_failures_starts_the_count_again(time: Time) -> None:
    circuit = Circuit(failures=2, open_seconds=60.0, clock=time)
    circuit.failed()
    circuit.succeeded()
    circuit.failed()
    assert state(circuit) == "closed"
    circuit.failed()
    assert state(circuit) == "open"


def test_a_probe_that_ends_in_a_bug_does_not_block_the_circuit_for_ever(
    patient: Build, time: Time
) -> None:
    wrapped = patient(Told(down(retryable=False, lasting=True), ZeroDivisionError(), GOOD))
    with pytest.raises(TeacherUnavailableError):
        wrapped.ask(QUESTION)
    time.now += 60.0
    with pytest.raises(ZeroDivisionError):
        wrapped.ask(QUESTION)
    time.now += 60.0
    assert wrapped.ask(QUESTION).output == "parcel"


def test_invalid_answers_do_not_open_the_circuit(
    patient: Build,
) -> None:
    wrapped = patient(Told(BAD))
    for _ in range(10):
        assert wrapped.ask(QUESTION).abstained == "invalid"
    assert state(wrapped) == "closed", "a teacher that answers nonsense is not down"


def test_it_stands_for_the_teacher_and_closes_it(patient: Build) -> None:
    teacher = Told(GOOD)
    wrapped = patient(teacher)
    assert (wrapped.name, wrapped.prompt_hash) == (teacher.name, teacher.prompt_hash)
    wrapped.close()
    assert teacher.closed
