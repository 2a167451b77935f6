"""The loops on a real database: nothing lost, nothing counted twice, no dollar too much.

Long because the four loops are tried in one world, the one feeding the next.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import msgspec
import pytest
import sqlalchemy as sa
from factories import START, records, traffic

from monitor.alerts.stages import AlertSettings
from monitor.comparators import COMPARATORS
from monitor.loops.consume import ConsumeLoop, ConsumeSettings
from monitor.loops.evaluate import EvaluateLoop, EvaluateSettings
from monitor.loops.label import LabelLoop, LabelSettings
from monitor.loops.notify import NotifyLoop
from monitor.loops.slices import JUDGED
from monitor.loops.teaching import TeachingSettings
from monitor.pipeline import PipelineSettings
from monitor.planning import SamplingSettings
from monitor.sampling import SamplingPlan
from monitor.sources import Record
from monitor.sources.memory import MemorySource
from monitor.store import evaluation, health, labelling, notifying, planning, reading
from monitor.teachers import Question, TeacherAnswer
from monitor.teachers.scripted import ScriptedTeacher
from schemas import tables
from schemas.accepting import accept
from schemas.alerts import Notification
from schemas.contract import QualityContract
from schemas.errors import DeliveryError, FencedError, TeacherUnavailableError
from schemas.events import Event, Ticket
from schemas.samples import Sample


def consumer(
    engine: sa.Engine,
    log: Sequence[Record],
    owner: str = "a",
    rate: float = 0.5,
    batch: int = 100,
    window_seconds: float = 600.0,
) -> ConsumeLoop:
    settings = ConsumeSettings(
        owner=owner,
        pipeline=PipelineSettings(window_seconds=window_seconds),
        salt="test",
        first_plan=SamplingPlan(random_rate=rate),
    )
    return ConsumeLoop(engine, MemorySource(log, batch=batch), settings)


def drain(loop: ConsumeLoop, now: float = START + 1e5) -> None:
    empty = 0
    while empty < 2:
        empty = 0 if loop.once(now).records else empty + 1
    loop.checkpoint(now)


def contents(engine: sa.Engine) -> dict[str, list[tuple]]:
    """Everything that consuming leaves behind, but who wrote it when."""
    kept = {
        "window": ("segment", "start", "shard", "body"),
        "sample": ("ticket_id", "reason", "model", "body"),
        "pending": ("shard", "ticket_id", "body"),
        "source_position": ("partition", "next_offset"),
        "dead_letter": ("partition", "offset", "value", "message"),
        "shard": ("shard", "watermark", "counters"),
    }
    with engine.begin() as connection:
        return {
            name: sorted(
                map(
                    repr,
                    connection.execute(
                        sa.select(*(sa.column(c) for c in columns)).select_from(sa.table(name))
                    ),
                )
            )
            for name, columns in kept.items()
        }


# --- consume ---------------------------------------------------------------------------------


@pytest.mark.parametrize("killed_after", [1, 2, 3, 5, 8])
def test_a_consumer_that_dies_anywhere_leaves_what_an_undisturbed_one_does(
    engine: sa.Engine, new_journal: Callable[[], sa.Engine], killed_after: int
) -> None:
    log = records(traffic(["a"] * 400))
    undisturbed = new_journal()
    drain(consumer(undisturbed, log))

    for lives in range(4):  # each life checkpoints now and then, and dies between checkpoints
        loop = consumer(engine, log, owner=f"life-{lives}")
        for turn in range(killed_after):
            loop.once(START + 1e5)
            if turn % 3 == 1:
                loop.checkpoint(START + 1e5)
    drain(consumer(engine, log, owner="the last"))
    assert contents(engine) == contents(undisturbed)


def test_what_cannot_be_written_is_written_at_the_next_turn(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = records(traffic(["a"] * 100))
    loop = consumer(engine, log)
    loop.once(START)
    loop.once(START)

    def refuse(*_: object) -> None:
        raise sa.exc.OperationalError("INSERT", {}, Exception("database is locked"))

    with monkeypatch.context() as patched:
        patched.setattr("monitor.store.consuming.write_checkpoint", refuse)
        with pytest.raises(sa.exc.OperationalError):
            loop.checkpoint(START + 10)
    drain(loop)
    with engine.begin() as connection:
        assert reading.counters(connection)["pairs"] == 100


def test_a_consumer_that_was_replaced_can_write_no_more(engine: sa.Engine) -> None:
    log = records(traffic(["a"] * 100))
    frozen = consumer(engine, log, owner="frozen")
    frozen.once(START)
    frozen.once(START)
    drain(consumer(engine, log, owner="successor"))
    before = contents(engine)
    with pytest.raises(FencedError):
        frozen.checkpoint(START + 1e5)
    assert contents(engine) == before


def test_a_message_that_is_no_event_goes_to_the_dead_letters_as_it_came(engine: sa.Engine) -> None:
    log = records(traffic(["a"] * 3))
    bad = b'{"ticket_id": "t", "at": "2026-06-02T08:00:00Z", "text": 7}\xff'
    spoiled = log[2]._replace(value=bad, key=b"k", headers=(("trace", b"\x00\x01"),))
    drain(consumer(engine, [*log[:2], spoiled, *log[3:]]))
    with engine.begin() as connection:
        (letter,) = reading.dead_letters(connection)
        counted = reading.counters(connection)
    assert letter.value == bad
    assert letter.key == b"k"
    assert letter.headers == [("trace", b"\x00\x01")]
    assert (letter.partition, letter.offset) == (spoiled.partition, spoiled.offset)
    assert letter.place == spoiled.partition
    assert counted["dead_letters"] == 1
    assert counted["pairs"] == 2, "the loop went on"


def test_an_idle_shard_can_be_told_from_one_that_reads(engine: sa.Engine) -> None:
    loop = consumer(engine, records(traffic(["a"] * 10)))
    drain(loop, START + 100)
    loop.checkpoint(START + 500)
    with engine.begin() as connection:
        assert connection.scalar(sa.select(tables.shard.c.updated_at)) == START + 100


def test_a_shard_that_was_not_waited_for_is_counted_in_slices_that_were_not_judged_yet(
    engine: sa.Engine,
) -> None:
    loop = consumer(engine, records(traffic(["a"] * 300)), window_seconds=50.0)
    loop.once(START)  # takes over, and reads nothing yet
    with engine.begin() as connection:
        evaluation.set_number(connection, JUDGED, START + 150)
    loop.checkpoint(START)  # an idle shard hears of it
    drain(loop)
    with engine.begin() as connection:
        windows = evaluation.windows(connection, after=0.0, until=START + 1e6, segment="*")
        counted = {w.start - START: sum(w.strata.get("1/m1", {}).values()) for w in windows}
        samples = set(connection.scalars(sa.select(tables.sample.c.window - START)))
    assert counted == {0: 0, 50: 0, 100: 0, 150: 0, 200: 250, 250: 50}
    assert samples == {200, 250}
    assert sum(w.pairs for w in windows) == 300


# --- label -----------------------------------------------------------------------------------


class PricedTeacher:
    """Costs what it is told, and remembers how often it was asked."""

    name = "priced"
    prompt_hash = "0"

    def __init__(self, usd: float, error: TeacherUnavailableError | None = None) -> None:
        self.usd = usd
        self.error = error
        self.asked = 0
        self._lock = threading.Lock()

    def most_it_can_cost(self, question: Question) -> float:  # noqa: ARG002 - all cost the same
        return self.usd

    def ask(self, question: Question) -> TeacherAnswer:  # noqa: ARG002 - one answer to all
        with self._lock:
            self.asked += 1
        if self.error is not None:
            raise self.error
        return TeacherAnswer(output="a", latency_ms=1.0, cost_usd=self.usd)

    def close(self) -> None:
        """Nothing to close."""


def labeller(
    engine: sa.Engine,
    teacher: object,
    owner: str = "a",
    stopping: Callable[[], bool] = lambda: False,
    **more: float,
) -> LabelLoop:
    settings = LabelSettings(
        owner=owner,
        taxonomy=(),
        concurrency=2,
        batch=20,
        comparator="label",
        **{"daily_usd": 5.0, **more},
    )
    return LabelLoop(engine, teacher, COMPARATORS["label"], settings, stopping=stopping)


def queue(engine: sa.Engine, count: int, at: float = START) -> None:
    samples = [
        Sample(
            ticket_id=f"t{n:04}",
            at=at,
            text="hello",
            output="a",
            model="m1",
            served_by="student",
            confidence=0.9,
            segments=("*",),
            reason="random",
            inclusion_probability=0.5,
        )
        for n in range(count)
    ]
    with engine.begin() as connection:
        labelling.add_samples(connection, samples, at)


def spent(engine: sa.Engine, at: float = START) -> labelling.Spend:
    with engine.begin() as connection:
        return labelling.spend_on(connection, labelling.day_of(at))


def states(engine: sa.Engine) -> dict[str, int]:
    with engine.begin() as connection:
        return labelling.sample_states(connection)


def test_twenty_labellers_at_the_cap_do_not_spend_a_cent_too_much(engine: sa.Engine) -> None:
    queue(engine, 200)
    teacher = PricedTeacher(usd=0.25)
    loops = [labeller(engine, teacher, owner=f"l{n}", daily_usd=10.0) for n in range(20)]

    def work(loop: LabelLoop) -> None:
        while loop.once(START).labelled:
            pass

    threads = [threading.Thread(target=work, args=(loop,)) for loop in loops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert teacher.asked == 40
    assert spent(engine).settled_usd == pytest.approx(10.0)
    assert spent(engine).reserved_usd == pytest.approx(0.0)
    assert states(engine) == {"labelled": 40, "waiting": 160}, "the rest waits for tomorrow"
    assert labeller(engine, teacher, owner="tomorrow").once(START + 86400).labelled > 0


def test_a_labeller_that_died_leaves_its_samples_to_others_and_its_money_spent(
    engine: sa.Engine,
) -> None:
    queue(engine, 5)
    with engine.begin() as connection:
        labelling.claim(
            connection,
            owner="dead",
            now=START,
            limit=5,
            lease=300.0,
            daily_usd=5.0,
            most_it_can_cost=lambda _: 0.1,
        )
    loop = labeller(engine, PricedTeacher(usd=0.1))
    assert loop.once(START + 299).labelled == 0, "the claim still holds"
    assert loop.once(START + 301).labelled == 5
    assert spent(engine).settled_usd == pytest.approx(1.0), "nobody knows if the dead one asked"


def test_an_answer_that_comes_after_the_claim_expired_is_not_written_twice(
    engine: sa.Engine,
) -> None:
    queue(engine, 1)

    class Slow(PricedTeacher):
        def ask(self, question: Question) -> TeacherAnswer:
            if self.asked == 0:
                self.asked += 1
                labeller(engine, PricedTeacher(usd=0.1), owner="quick").once(START + 301)
            return super().ask(question)

    assert labeller(engine, Slow(usd=0.1), owner="slow").once(START).labelled == 0
    with engine.begin() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(tables.label)) == 1
    assert spent(engine).settled_usd == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("prose", "maybe_billed", "cost"),
    [("refused before it began", False, 0.0), ("timed out on its way", True, 0.2)],
)
def test_an_outage_gives_the_samples_back(
    engine: sa.Engine,
    prose: str,
    maybe_billed: bool,  # noqa: FBT001 - pytest passes it by name
    cost: float,
) -> None:
    queue(engine, 2)
    error = TeacherUnavailableError("down", retryable=True, maybe_billed=maybe_billed)
    loop = labeller(engine, PricedTeacher(usd=0.1, error=error))
    assert loop.once(START).unanswered == 2
    assert states(engine) == {"waiting": 2}, prose
    assert spent(engine).settled_usd == pytest.approx(cost)
    assert spent(engine).reserved_usd == pytest.approx(0.0)
    assert loop.once(START + 1).unanswered == 0, "not at once again"
    with engine.begin() as connection:
        (said,) = health.reports(connection, "teacher")
    assert said.body["failures"] == 2


def test_a_sample_is_lost_by_age_alone(engine: sa.Engine) -> None:
    queue(engine, 1, at=START)
    error = TeacherUnavailableError("down", retryable=True)
    loop = labeller(engine, PricedTeacher(usd=0.0, error=error))
    for minutes in range(0, 26 * 60, 65):
        loop.once(START + minutes * 60)
    assert states(engine) == {"lost": 1}


def test_a_stop_waits_for_what_was_asked_and_gives_back_what_was_not(engine: sa.Engine) -> None:
    queue(engine, 10)
    stop, asked, answer = threading.Event(), threading.Barrier(3), threading.Event()

    class Slow(PricedTeacher):
        def ask(self, question: Question) -> TeacherAnswer:
            asked.wait()
            answer.wait()
            return super().ask(question)

    loop = labeller(engine, Slow(usd=0.01), stopping=stop.is_set)
    turns: list[int] = []
    thread = threading.Thread(target=lambda: turns.append(loop.once(START).labelled))
    thread.start()
    asked.wait(10)  # both of its threads wait for the teacher
    stop.set()
    while states(engine) != {"claimed": 2, "waiting": 8}:
        assert thread.is_alive()
        time.sleep(0.02)
    assert spent(engine).reserved_usd == pytest.approx(0.02), "nothing is kept for the others"
    answer.set()
    thread.join(10)
    assert turns == [2]
    assert states(engine) == {"labelled": 2, "waiting": 8}
    loop.close()


def test_an_abstention_is_kept_and_judges_nobody(engine: sa.Engine) -> None:
    queue(engine, 1)
    assert labeller(engine, ScriptedTeacher({})).once(START).labelled == 1
    assert states(engine) == {"abstained": 1}
    evaluator(engine).once(START + 1)
    with engine.begin() as connection:
        assert evaluation.estimates(connection) == []


# --- evaluate and notify ---------------------------------------------------------------------


def evaluator(engine: sa.Engine, owner: str = "a", tolerance: float = 0.1) -> EvaluateLoop:
    alerts = AlertSettings(instance="test", channels=("phone",))
    settings = EvaluateSettings(
        owner=owner,
        lane="default",
        alerts=alerts,
        teaching=TeachingSettings(salt="test", random_rate=1.0, compare=COMPARATORS["label"]),
        sampling=SamplingSettings(random_rate=1.0),
        stale_seconds=1e9,
    )
    return EvaluateLoop(engine, QualityContract(tolerance=tolerance), settings)


def judged_world(
    engine: sa.Engine, outputs: Sequence[str], each: Callable[[float], None] = lambda _: None
) -> list[Event]:
    """Consume and label traffic of which the teacher says "a" to everything.

    It stands in windows of 50 tickets; one pair that comes much later closes them all.
    """
    events = [*traffic(outputs), *traffic(["a"], START + len(outputs) + 1000, model="later")]
    drain(consumer(engine, records(events), rate=1.0, window_seconds=50.0))
    script = {e.ticket_id: "a" for e in events if isinstance(e, Ticket)}
    loop = labeller(engine, ScriptedTeacher(script))
    now = START + len(outputs)
    while loop.once(now).labelled:
        each(now)
    return events


def test_each_label_is_judged_once(engine: sa.Engine) -> None:
    evaluate = evaluator(engine)
    counts: list[int] = []
    judged_world(engine, ["a"] * 150, lambda now: counts.append(evaluate.once(now).judged))
    counts.append(evaluate.once(START + 1e5).judged)
    assert sum(counts) == 150
    assert counts[-1] == 0
    with engine.begin() as connection:
        (point,) = evaluation.newest_estimates(connection, "m1")
    assert point.n == 150


def test_an_evaluator_that_starts_anew_goes_on_where_the_last_one_stopped(
    engine: sa.Engine, new_journal: Callable[[], sa.Engine]
) -> None:
    outputs = ["a"] * 120 + ["a", "b", "b"] * 60
    undisturbed = new_journal()
    steady = evaluator(undisturbed)
    judged_world(undisturbed, outputs, steady.once)
    judged_world(engine, outputs, lambda now: evaluator(engine).once(now))
    states = sa.select(tables.detector_state.c.detector, tables.detector_state.c.body)
    with engine.begin() as one, undisturbed.begin() as two:
        assert sorted(one.execute(states)) == sorted(two.execute(states))
        assert evaluation.signals(one) == evaluation.signals(two)
        assert any(signal.severity == "page" for signal in evaluation.signals(one))


def test_a_second_evaluator_waits_for_its_turn(engine: sa.Engine) -> None:
    assert evaluator(engine, owner="first").once(START).led
    assert not evaluator(engine, owner="second").once(START + 1).led
    assert evaluator(engine, owner="second").once(START + 60).led


class Phone:
    kind = "phone"
    name = "phone"

    def __init__(self, fail: int = 0) -> None:
        self.fail = fail
        self.heard: list[Notification] = []

    def send(self, notification: Notification) -> None:
        if self.fail > 0:
            self.fail -= 1
            raise DeliveryError("503", retryable=True)
        self.heard.append(notification)

    def close(self) -> None:
        """Nothing to close."""


def paged(engine: sa.Engine) -> float:
    """A world in which the student left its bounds; returns the time now."""
    judged_world(engine, ["a", "b"] * 100)
    now = START + 500
    with engine.begin() as connection:
        contract = QualityContract(tolerance=0.1)
        accept(connection, contract, after=None, actor="kim", reason="agreed", now=START - 1e6)
    evaluator(engine).once(now)
    return now


def test_a_student_that_left_its_bounds_is_told_of_once(engine: sa.Engine) -> None:
    now = paged(engine)
    phone = Phone()
    loop = NotifyLoop(engine, {"phone": phone}, "a")
    assert loop.once(now) == 1
    evaluator(engine).once(now + 20)
    assert loop.once(now + 20) == 0
    (heard,) = phone.heard
    assert heard.condition.name == "QualityOutOfBounds"
    assert "limit 10.0 %" in heard.condition.summary
    with engine.begin() as connection:
        assert [a.condition.name for a in notifying.firing(connection)] == ["QualityOutOfBounds"]


def test_more_labels_are_wanted_while_the_student_is_out_of_bounds(engine: sa.Engine) -> None:
    def requested_rate() -> float:
        with engine.begin() as connection:
            plan = planning.newest(connection)
        assert plan is not None
        return plan.requested_rate

    evaluator(engine).once(START)
    assert requested_rate() == 0.0
    paged(engine)
    assert requested_rate() == 0.25


def test_a_notification_that_fails_is_tried_again_later(engine: sa.Engine) -> None:
    now = paged(engine)
    phone = Phone(fail=1)
    loop = NotifyLoop(engine, {"phone": phone}, "a")
    assert loop.once(now) == 0
    assert loop.once(now + 1) == 0, "not before the wait is over"
    assert loop.once(now + 60) == 1


def test_a_crash_between_sending_and_noting_it_repeats_the_same_key(engine: sa.Engine) -> None:
    now = paged(engine)
    phone = Phone()
    loop = NotifyLoop(engine, {"phone": phone}, "a")
    with engine.begin() as connection:
        (due,) = notifying.due(connection, now, ["phone"], 10)
    phone.send(due.notification)  # and the process dies here
    assert loop.once(now) == 1
    first, second = phone.heard
    assert first.idempotency_key == second.idempotency_key


def test_two_that_could_send_page_once(engine: sa.Engine) -> None:
    now = paged(engine)
    first, second = Phone(), Phone(fail=9)

    class Slow(Phone):
        """While it sends, the other process looks too."""

        def send(self, notification: Notification) -> None:
            assert NotifyLoop(engine, {"phone": second}, "b").once(now) == 0
            first.send(notification)

    assert NotifyLoop(engine, {"phone": Slow()}, "a").once(now) == 1
    assert (len(first.heard), second.fail) == (1, 9), "the second did not even try"


def alert_names(engine: sa.Engine) -> set[str]:
    with engine.begin() as connection:
        return {alert.condition.name for alert in notifying.firing(connection)}


def test_a_channel_that_fails_and_is_removed_is_no_trouble_any_more(engine: sa.Engine) -> None:
    now = paged(engine)
    with engine.begin() as connection:
        (due,) = notifying.due(connection, now, ["phone"], 10)
        notifying.mark_failed(connection, due.row_id, next_attempt_at=None, error="410")
    evaluator(engine).once(now + 20)
    assert "NotificationsFailing" in alert_names(engine)
    assert NotifyLoop(engine, {}, "a").once(now + 40) == 0
    evaluator(engine).once(now + 60)
    assert "NotificationsFailing" not in alert_names(engine)


def test_labels_that_training_asked_for_judge_nobody(engine: sa.Engine) -> None:
    events = [*traffic(["b"]), *traffic(["a"], START + 5000, model="later")]
    drain(consumer(engine, records(events[:2]), rate=1.0))
    with engine.begin() as connection:
        body = connection.scalar(sa.select(tables.sample.c.body))
        chosen = msgspec.structs.replace(msgspec.json.decode(body, type=Sample), reason="requested")
        connection.execute(
            sa.update(tables.sample).values(reason="requested", body=msgspec.json.encode(chosen))
        )
    drain(consumer(engine, records(events), rate=1.0))
    labeller(engine, ScriptedTeacher({"m1-000000": "a", "later-000000": "a"})).once(START)
    assert evaluator(engine).once(START + 5000).judged == 0
    with engine.begin() as connection:
        assert evaluation.estimates(connection)[-1].n == 0
        assert evaluation.signals(connection) == []
