"""What only PostgreSQL can do to a journal: several processes, a server that dies, sessions cut."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from factories import START, records, traffic

from monitor.alerts.stages import AlertSettings
from monitor.comparators import COMPARATORS
from monitor.loops.consume import ConsumeLoop, ConsumeSettings
from monitor.loops.evaluate import EvaluateLoop, EvaluateSettings
from monitor.loops.label import LabelLoop, LabelSettings
from monitor.loops.supervisor import Loop, Supervisor
from monitor.loops.teaching import TeachingSettings
from monitor.pipeline import PipelineSettings
from monitor.planning import SamplingSettings
from monitor.sampling import SamplingPlan
from monitor.sources.memory import MemorySource
from monitor.store import evaluation, judging, labelling, reading
from monitor.teachers.scripted import ScriptedTeacher
from schemas import journal, tables
from schemas.contract import QualityContract
from schemas.errors import ConfigError, DependencyDownError, FencedError
from schemas.events import Ticket
from tests.postgres_rig import Server

NOW = START + 1e5
ROOT = Path(__file__).parents[2]
EVENTS = [*traffic(["a"] * 300), *traffic(["a"], START + 2000, model="later")]


def consumer(engine: sa.Engine, owner: str = "a", batch: int = 20) -> ConsumeLoop:
    settings = ConsumeSettings(
        owner=owner,
        pipeline=PipelineSettings(window_seconds=50.0),
        salt="test",
        first_plan=SamplingPlan(random_rate=1.0),
        checkpoint_seconds=0.0,
    )
    return ConsumeLoop(engine, MemorySource(records(EVENTS), batch=batch), settings)


def labeller(engine: sa.Engine, batch: int = 10) -> LabelLoop:
    script = {event.ticket_id: "a" for event in EVENTS if isinstance(event, Ticket)}
    settings = LabelSettings(
        owner="a",
        taxonomy=(),
        concurrency=2,
        batch=batch,
        daily_usd=5.0,
        comparator="label",
        lease_seconds=2.0,
        deadline_seconds=1e9,
    )
    return LabelLoop(engine, ScriptedTeacher(script), COMPARATORS["label"], settings)


def evaluator(engine: sa.Engine, owner: str = "a") -> EvaluateLoop:
    settings = EvaluateSettings(
        owner=owner,
        lane="default",
        alerts=AlertSettings(instance="test", channels=("phone",)),
        teaching=TeachingSettings(salt="test", random_rate=1.0, compare=COMPARATORS["label"]),
        sampling=SamplingSettings(random_rate=1.0),
        stale_seconds=1e9,
        idle_seconds=1e9,
    )
    return EvaluateLoop(engine, QualityContract(tolerance=0.1), settings)


def drain(loop: ConsumeLoop, now: float = NOW) -> None:
    empty = 0
    while empty < 2:
        empty = 0 if loop.once(now, 0.0).records else empty + 1
    loop.checkpoint(now)


def count(engine: sa.Engine, table: sa.Table) -> int:
    with engine.begin() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(table))


def pairs(engine: sa.Engine) -> int:
    with engine.begin() as connection:
        return reading.counters(connection).get("pairs", 0)


@pytest.fixture
def url(postgres: Server) -> Iterator[str]:
    """A journal on PostgreSQL alone."""
    with postgres.database() as url:
        yield url


@pytest.fixture
def second(url: str) -> Iterator[sa.Engine]:
    """The same journal as another process has it."""
    engine = journal.open_journal(url)
    yield engine
    engine.dispose()


# --- values ----------------------------------------------------------------------------------


def test_numbers_and_bytes_come_back_as_they_were_written(engine: sa.Engine) -> None:
    values = [0.1, -1.5e308, 5e-324, 1780387539.0000002, float("-inf"), float("inf")]
    with engine.begin() as connection:
        for number, value in enumerate(values):
            evaluation.set_number(connection, str(number), value)
        found = [evaluation.number(connection, str(n), 0.0) for n in range(len(values))]
        journal.add(connection, tables.plan, {"version": 1, "at": 0.0, "body": bytes(range(256))})
        body = connection.scalar(sa.select(tables.plan.c.body))
    assert found == values
    assert (type(body), body) == (bytes, bytes(range(256)))


# --- opening ---------------------------------------------------------------------------------


def test_processes_that_start_at_once_make_the_tables_once(postgres: Server) -> None:
    script = (
        "import sys\nfrom schemas.journal import ensure_schema, open_journal\n"
        "engine = open_journal(sys.argv[1])\nprint('ready', flush=True)\nsys.stdin.readline()\n"
        "ensure_schema(engine)\n"
    )
    with postgres.bare_database() as url:
        command = [sys.executable, "-c", script, url]
        pipe = subprocess.PIPE
        racers = [
            subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
            for _ in range(4)
        ]
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("\n")
            racer.stdin.flush()
        ends = [racer.communicate(timeout=60) for racer in racers]
        assert [racer.returncode for racer in racers] == [0] * 4, ends
        engine = journal.open_journal(url)
        with engine.connect() as connection:
            context = MigrationContext.configure(connection)
            assert compare_metadata(context, tables.metadata) == []
        engine.dispose()


def test_a_role_that_may_create_nothing_is_told_what_to_do(postgres: Server) -> None:
    with postgres.bare_database() as url:
        owner = journal.open_journal(url)
        with owner.begin() as connection:
            connection.execute(sa.text("DROP ROLE IF EXISTS guest"))
            connection.execute(sa.text("CREATE ROLE guest LOGIN"))
        owner.dispose()
        guest = journal.open_journal(url.replace("//test@", "//guest@"))
        with pytest.raises(ConfigError, match=r"permission denied for schema public") as refused:
            journal.ensure_schema(guest)
        assert "GRANT CREATE" in str(refused.value)
        guest.dispose()


@pytest.mark.parametrize(
    ("prose", "was", "becomes"),
    [
        ("no server", "?host=", "?host=/nowhere"),
        ("no such database", "/test_", "/tset_"),
        ("no such role", "//test@", "//nobody@"),
    ],
)
def test_a_database_that_lets_nobody_in_is_a_dependency_that_is_down(
    url: str, prose: str, was: str, becomes: str
) -> None:
    engine = journal.open_journal(url.replace(was, becomes))
    with pytest.raises(DependencyDownError) as refused:
        journal.ensure_schema(engine)
    assert "check `journal.url`" in str(refused.value), prose


def test_a_server_that_says_nothing_is_not_waited_for_beyond_what_the_url_allows() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        engine = journal.open_journal(
            f"postgresql+psycopg://kim:secret@127.0.0.1:{port}/db?connect_timeout=2"
        )
        with pytest.raises(DependencyDownError, match="timeout") as down:
            journal.ensure_schema(engine)
    assert "secret" not in str(down.value)


# --- one state -------------------------------------------------------------------------------


def test_who_reads_sees_one_state(engine: sa.Engine, second: sa.Engine) -> None:
    with journal.reader(engine).connect() as connection:
        before = evaluation.number(connection, "n", 0.0)
        with second.begin() as other:
            evaluation.set_number(other, "n", 1.0)
        assert evaluation.number(connection, "n", 0.0) == before == 0.0
    with engine.begin() as connection:
        assert evaluation.number(connection, "n", 0.0) == 1.0, "and the next one sees the next"
        evaluation.set_number(connection, "n", 2.0)


def test_an_evaluator_judges_one_state(
    engine: sa.Engine, second: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A consumer that was idle commits after it was seen that no window waits for its labels."""
    late = consumer(second)
    late.once(NOW, 0.0)
    first_unsettled = judging.first_unsettled

    def and_then(connection: sa.Connection, **bounds: float) -> float | None:
        found = first_unsettled(connection, **bounds)
        drain(late)
        return found

    monkeypatch.setattr(evaluation, "watermark", lambda *_: NOW)
    monkeypatch.setattr(judging, "first_unsettled", and_then)
    evaluator(engine).once(NOW)
    assert pairs(engine) == 301
    assert count(engine, tables.judged_window) == 0


# --- several processes -----------------------------------------------------------------------


def test_a_consumer_that_was_replaced_in_the_middle_of_its_checkpoint_is_fenced(
    engine: sa.Engine, second: sa.Engine
) -> None:
    old, new = consumer(engine, "old"), consumer(second, "new")
    for _ in range(3):
        old.once(NOW, 0.0)
    new.once(NOW, 0.0)
    with pytest.raises(FencedError):
        old.once(NOW, 0.0)
    drain(new)
    assert pairs(engine) == 301
    assert count(engine, tables.sample) == 301


def test_two_consumers_of_one_shard_at_once_count_nothing_twice(
    engine: sa.Engine, second: sa.Engine
) -> None:
    def fight(journal_: sa.Engine, owner: str) -> None:
        for round_ in range(30):
            loop = consumer(journal_, f"{owner}{round_}")
            try:
                for _ in range(3):
                    loop.once(NOW, 0.0)
            except FencedError:
                continue

    threads = [threading.Thread(target=fight, args=args) for args in ((engine, "x"), (second, "y"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    drain(consumer(engine, "the last"))
    with engine.begin() as connection:
        counted = reading.counters(connection)
    assert (counted["tickets"], counted["pairs"], counted["duplicates"]) == (301, 301, 0)
    assert count(engine, tables.sample) == 301


def test_of_evaluators_that_start_at_once_one_leads(engine: sa.Engine) -> None:
    led: list[bool] = []
    start = threading.Barrier(4)

    def look(owner: str) -> None:
        loop = evaluator(engine, owner)
        start.wait()
        led.append(loop.once(NOW).led)

    threads = [threading.Thread(target=look, args=(f"e{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(led) == [False, False, False, True]


def test_an_evaluator_whose_lease_passed_on_during_its_turn_writes_nothing(
    engine: sa.Engine, second: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    drain(consumer(engine))
    while labeller(engine).once(NOW).labelled:
        """Go on."""
    check = journal.check_leadership

    def sleep_first(connection: sa.Connection, leadership: journal.Leadership) -> None:
        with second.begin() as other:
            journal.lead(other, "evaluate", "successor", NOW + 100, 15.0)
        check(connection, leadership)

    monkeypatch.setattr("monitor.loops.evaluate.check_leadership", sleep_first)
    with pytest.raises(FencedError):
        evaluator(engine).once(NOW)
    monkeypatch.undo()
    assert count(engine, tables.judged_window) == 0
    assert evaluator(second, "successor").once(NOW + 101).judged == 300


def test_who_froze_with_the_lease_in_hand_is_cut_off(
    url: str, second: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "IDLE_TIMEOUT", 0.3)
    frozen = journal.open_journal(url)
    with frozen.connect() as connection:
        leadership = journal.lead(connection, "evaluate", "frozen", NOW, 15.0)
        connection.commit()
        assert leadership is not None
        journal.check_leadership(connection, leadership)  # and here it freezes, the row locked
        with second.begin() as other:
            assert journal.lead(other, "evaluate", "awake", NOW + 20, 15.0) is not None
        with pytest.raises(sa.exc.DBAPIError, match="idle-in-transaction"):
            connection.execute(sa.select(tables.lease))
    frozen.dispose()


# --- a server that dies ----------------------------------------------------------------------


def test_connections_of_before_a_restart_are_not_used_again(
    engine: sa.Engine, postgres: Server
) -> None:
    with engine.begin() as connection:
        evaluation.set_number(connection, "n", 7.0)
    postgres.kill()
    postgres.start()
    with engine.begin() as connection:
        assert evaluation.number(connection, "n", 0.0) == 7.0


def test_what_is_said_of_a_failure_holds_nothing_that_was_to_be_written(
    engine: sa.Engine, postgres: Server
) -> None:
    with engine.connect() as connection:
        connection.execute(sa.select(tables.number))
        postgres.kill()
        row = {"version": 1, "at": 0.0, "body": b"a message that nobody redacted"}
        with pytest.raises(sa.exc.OperationalError) as failed:
            journal.add(connection, tables.plan, row)
    postgres.start()
    assert "INSERT INTO plan" in str(failed.value)
    assert "redacted" not in str(failed.value)


@pytest.mark.parametrize("statement", [1, 2, 5, 9])
def test_a_server_that_dies_in_the_middle_of_a_checkpoint_costs_nothing(
    engine: sa.Engine, postgres: Server, statement: int
) -> None:
    loop = consumer(engine)
    for _ in range(5):
        loop.once(NOW, 0.0)
    left = statement

    def die(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            postgres.kill()

    sa.event.listen(engine, "before_cursor_execute", die)
    with pytest.raises(sa.exc.OperationalError):
        loop.once(NOW, 0.0)
    with pytest.raises(sa.exc.OperationalError):
        loop.once(NOW, 0.0)  # it is still away: an outage, and no other error
    postgres.start()
    drain(loop)
    with engine.begin() as connection:
        counted = reading.counters(connection)
    assert (counted["tickets"], counted["pairs"], counted["duplicates"]) == (301, 301, 0)
    assert count(engine, tables.sample) == 301


def test_loops_go_on_after_an_outage_and_judge_each_label_once(
    engine: sa.Engine, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.loops.supervisor.BACKOFF", (0.05,))
    stop, judged = threading.Event(), []
    consume, label, evaluate = consumer(engine), labeller(engine), evaluator(engine)

    def judge(now: float) -> bool:
        judged.append(evaluate.once(now).judged)
        return bool(judged[-1])

    loops: dict[str, Callable[[float], bool]] = {
        "consume": lambda now: bool(consume.once(now, 0.01).records),
        "label": lambda now: bool(label.once(now).labelled),
        "evaluate": judge,
    }
    began = time.monotonic()
    supervisor = Supervisor(stop, lambda: NOW + time.monotonic() - began)
    for name, turn in loops.items():
        supervisor.start(Loop(name, turn, 0.01, lambda: None))
    for _ in range(3):
        time.sleep(0.3)
        postgres.kill()
        time.sleep(0.1)
        postgres.start()
    until = time.monotonic() + 60
    while sum(judged) < 300 and time.monotonic() < until:
        time.sleep(0.1)
    stop.set()
    assert supervisor.join(20) == []
    label.close()
    assert supervisor.failure is None
    assert pairs(engine) == 301
    assert sum(judged) == 300
    with engine.begin() as connection:
        assert labelling.sample_states(connection) == {"labelled": 301}
        (point,) = evaluation.newest_estimates(connection, "m1")
    assert (count(engine, tables.label), point.n) == (301, 300)
