"""The retraining loop from request to verdict, with a child that only pretends to train.

Long because one house with its child serves every path from request to verdict.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import factories
import msgspec
import pytest
import sqlalchemy as sa

from monitor import model_page
from monitor.alerts.situation import ChampionChange
from monitor.loops import situation
from monitor.store import evaluation
from retrain import orders, registry, store, supervise
from retrain.app import RetrainApp, build
from retrain.config import RegistrySettings, RetrainSettings, RetrainTable
from retrain.gates import judge
from retrain.launchers.local import LocalLauncher
from retrain.loop import RetrainLoop
from retrain.order import TrainSettings
from retrain.registry import Registry
from retrain.store import Champion
from retrain.supervise import Supervisor, read_order
from schemas import tables
from schemas.accepting import accept, last_acceptance
from schemas.contract import QualityContract
from schemas.decisions import Decision
from schemas.errors import ConflictError, FencedError, NotAllowedError, NotFoundError
from schemas.journal import ensure_schema, lead, open_journal
from schemas.runs import Run
from schemas.signals import Interval
from schemas.teachers import TeacherStanding, TeacherState
from tests.journal_rig import add_labelled

WORKER = Path(__file__).with_name("_fake_worker.py")
ROOT = Path(__file__).parents[2]
NOW = 1_790_000_000.0
HOUR = 3600.0
#: a share that clears the tolerance, and one that does not
GOOD, BAD = "ok;wrong=1;champion=30", "ok;wrong=40;champion=30"
#: exit code of a process that died at a point of the test's choice
DIED = 77


class House:
    """A journal, a registry and the loop of one process in a directory."""

    def __init__(self, home: Path, url: str, base: str, holder: str = "one", **table: Any) -> None:
        self.home = home
        self.engine = open_journal(url)
        ensure_schema(self.engine)
        self.table = RetrainTable(teaching=TrainSettings(base=base), **table)
        self.contract = QualityContract(
            tolerance=0.1, min_new_labels=100, cool_down_seconds=6 * HOUR, cadence_seconds=0.0
        )
        self.registry = Registry(home / "registry", self.table.lane)
        environ = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
        self.launcher = LocalLauncher([sys.executable, str(WORKER)], environ)
        self.loop = RetrainLoop(
            engine=self.engine,
            registry=self.registry,
            supervisor=Supervisor(self.launcher),
            table=self.table,
            contract=self.contract,
            holder=holder,
            judge=judge,
            clock=time.time,
        )
        self.accept(self.contract, NOW - 96 * HOUR)
        self.people_say("within")

    def accept(self, contract: QualityContract, now: float) -> None:
        """Let a person accept a contract, unless it is the accepted one."""
        with self.engine.begin() as connection:
            last = last_acceptance(connection)
            if last is None or last.contract != contract.hash:
                accept(connection, contract, after=last, actor="eva", reason="fine", now=now)

    def people_say(self, state: TeacherState) -> None:
        """Let people have checked the teacher, with this result."""
        standing = TeacherStanding(
            generation="g",
            name="t",
            prompt_hash="",
            since=NOW,
            state=state,
            reason=f"it is {state}",
        )
        body = msgspec.json.encode(standing)
        with self.engine.begin() as connection:
            connection.execute(sa.delete(tables.teacher))
            connection.execute(
                sa.insert(tables.teacher).values(generation="g", since=NOW, body=body)
            )

    def run_until(self, *states: str, now: float = NOW) -> Run:
        """Take turns until the newest run is in one of the states."""
        for _ in range(1000):
            self.loop.once(now)
            run = self.newest_run()
            if run is not None and run.state in states:
                return run
            time.sleep(0.02)
        pytest.fail(f"no run became {states} in 20 s; the newest one: {self.newest_run()}")

    def newest_run(self) -> Run | None:
        with self.engine.begin() as connection:
            table = tables.run
            body = connection.scalar(
                sa.select(table.c.body).order_by(table.c.requested_at.desc()).limit(1)
            )
        return None if body is None else msgspec.json.decode(body, type=Run)

    def served(self) -> list[Champion]:
        with self.engine.begin() as connection:
            return store.champions(connection, "default")

    def rules(self) -> list[tuple[str, str]]:
        with self.engine.begin() as connection:
            table = tables.decision
            query = sa.select(table.c.action, table.c.rule).order_by(table.c.id)
            return [(row.action, row.rule) for row in connection.execute(query)]

    def labels(self, count: int, *, at: float, model: str = "history", loss: float = 0.0) -> None:
        """Add random labels, one a second from `at` on."""
        with self.engine.begin() as connection:
            for index in range(count):
                label(connection, f"{model[:8]}-{at + index}", at + index, model, loss)

    def page(self, model: str, loss: float, at: float = NOW - 3000) -> None:
        """Let the level detector page against a student."""
        found = factories.signal(
            at=at,
            model=model,
            n=100,
            interval=Interval(loss, loss - 0.05, loss + 0.05),
            sentence=f"disagreement {loss:.0%}, limit 10 %",
            contract=self.loop._contract.hash,
        )
        with self.engine.begin() as connection:
            evaluation.add_signal(connection, found)

    def request(self, now: float = NOW) -> Run:
        """Ask for a run as a person."""
        decision = Decision(at=now, lane="default", action="retrain", rule="operator", reason="!")
        return self.loop.request(decision, "anna")

    def close(self) -> None:
        """Leave no child and no connection behind."""
        run = self.newest_run()
        for directory in orders.evaluations(self.registry.runs / run.run_id) if run else []:
            child = self.launcher.adopt(directory)
            while child is not None and self.launcher.poll(child) is None:
                self.launcher.stop(child, kill=True)
                time.sleep(0.01)
        for process in self.launcher._own.values():
            process.kill()
            process.wait()
        self.engine.dispose()


def label(connection: sa.Connection, ticket_id: str, at: float, model: str, loss: float) -> None:
    sample = factories.sample(ticket_id, at, output="shipping", model=model, confidence=0.5)
    answer = factories.label(ticket_id, at, "shipping", disagreement=loss)
    add_labelled(connection, [(sample, answer)])


class Houses(list[House]):
    """The houses that a test opened, all on one journal."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url


@pytest.fixture
def home(url: str) -> Iterator[Houses]:
    """No houses yet; those that a test opens are closed at its end."""
    houses = Houses(url)
    yield houses
    for house in houses:
        house.close()


def open_house(houses: Houses, tmp_path: Path, base: str, **options: Any) -> House:
    houses.append(House(tmp_path, houses.url, base, **options))
    return houses[-1]


def with_champion(houses: Houses, tmp_path: Path, base: str, **options: Any) -> House:
    """Return a house whose first student was promoted long ago, and whose labels are fresh."""
    long_ago = NOW - 48 * HOUR
    first = open_house(houses, tmp_path, GOOD)
    first.labels(1000, at=long_ago - 2000)
    first.request(long_ago)
    first.run_until("promoted", now=long_ago)
    first.loop.close()
    house = open_house(houses, tmp_path, base, **options)
    house.labels(1000, at=NOW - 2000)
    return house


def test_without_a_champion_nothing_happens_by_itself(home: Houses, tmp_path: Path) -> None:
    house = open_house(home, tmp_path, GOOD)
    house.labels(1000, at=NOW - 2000)
    for _ in range(3):
        house.loop.once(NOW)
    assert house.rules() == [("hold", "no_champion")]
    assert house.newest_run() is None


def test_a_first_student_is_asked_for_taught_judged_and_promoted(
    home: Houses, tmp_path: Path
) -> None:
    house = open_house(home, tmp_path, GOOD)
    house.labels(1000, at=NOW - 2000)
    house.request()
    run = house.run_until("promoted", "rejected", "failed")
    assert run.state == "promoted", run
    assert run.verdict is not None
    assert run.verdict.outcome == "pass"
    (champion,) = house.served()
    assert (champion.artefact_id, champion.version) == (run.challenger, 1)
    assert house.registry.pointed() == champion
    assert ("hold", "run_active") in house.rules()
    house.loop.once(NOW)
    assert house.rules()[-1] == ("hold", "cool_down")


def test_a_page_retrains_and_the_better_student_serves(home: Houses, tmp_path: Path) -> None:
    house = with_champion(home, tmp_path, GOOD)
    old = house.served()[-1].artefact_id
    house.page(old, 0.3)
    run = house.run_until("promoted", "rejected", "failed")
    assert (run.state, run.rule, run.champion) == ("promoted", "level", old)
    assert [c.version for c in house.served()] == [1, 2]
    assert house.registry.pointed() == house.served()[-1]
    order = read_order(house.registry.runs / run.run_id)
    assert order.recent_since > NOW - 48 * HOUR - 2000 + 999, "what the champion saw is no news"
    assert order.recent_since <= NOW - 2000


def test_a_worse_student_is_rejected_and_the_lane_cools_down(home: Houses, tmp_path: Path) -> None:
    house = with_champion(home, tmp_path, BAD)
    old = house.served()[-1].artefact_id
    house.page(old, 0.3)
    run = house.run_until("promoted", "rejected", "failed")
    assert run.state == "rejected"
    assert run.failure
    assert house.served()[-1].artefact_id == old
    decision = house.loop.once(NOW + HOUR)
    assert decision is not None
    assert decision.rule == "cool_down"
    later = house.loop.once(NOW + 7 * HOUR)
    assert later is not None
    assert later.rule == "too_few_labels", "the page stands, but nothing is new"
    house.labels(100, at=NOW + 5 * HOUR)
    again = house.loop.once(NOW + 7 * HOUR)
    assert again is not None
    assert (again.action, again.rule) == ("retrain", "level")


def test_what_the_child_says_went_wrong_stands_in_the_run(home: Houses, tmp_path: Path) -> None:
    house = open_house(home, tmp_path, "fail")
    house.labels(200, at=NOW - 2000)
    house.request()
    run = house.run_until("promoted", "rejected", "failed")
    assert (run.state, run.failure) == ("failed", "the loss is not finite")
    assert house.served() == []


def test_an_inconclusive_challenger_waits_for_fresh_labels(home: Houses, tmp_path: Path) -> None:
    house = open_house(home, tmp_path, GOOD)
    house.labels(120, at=NOW - 2000)  # 18 rows are held out: too few for any verdict
    house.request()
    run = house.run_until("gated", "promoted", "rejected", "failed")
    assert run.state == "gated"
    assert run.verdict is not None
    assert run.verdict.outcome == "inconclusive"
    house.labels(99, at=NOW + 10)
    house.loop.once(NOW + 200)
    assert len(orders.evaluations(house.registry.runs / run.run_id)) == 1, "one label too few"
    house.labels(300, at=NOW + 200)
    run = house.run_until("promoted", "rejected", "failed", now=NOW + 600)
    assert run.state == "promoted", run
    assert run.verdict is not None
    assert run.verdict.gates[0].n == 18 + 399
    assert not house.loop.busy, "the child that scored was reaped"


def test_an_inconclusive_challenger_is_rejected_at_the_deadline(
    home: Houses, tmp_path: Path
) -> None:
    house = open_house(home, tmp_path, GOOD, deadline_seconds=HOUR)
    house.labels(120, at=NOW - 2000)
    house.request()
    house.run_until("gated")
    house.loop.once(NOW + HOUR - 1)
    run = house.newest_run()
    assert run is not None
    assert run.state == "gated"
    house.loop.once(NOW + HOUR)
    run = house.newest_run()
    assert run is not None
    assert run.state == "rejected"
    assert "inconclusive at the deadline" in run.failure


def test_a_champion_that_changed_meanwhile_is_what_counts(home: Houses, tmp_path: Path) -> None:
    house = with_champion(home, tmp_path, "slow;wrong=1;champion=30")
    old = house.served()[-1].artefact_id
    house.page(old, 0.3)
    house.run_until("training")
    other = "e" * 64
    champion = msgspec.structs.replace(house.served()[-1], version=2, artefact_id=other)
    with house.engine.begin() as connection:
        store.install_champion(connection, champion)
    run = house.run_until("promoted", "rejected", "failed")
    assert (run.state, run.champion) == ("promoted", other)
    first, second = orders.evaluations(house.registry.runs / run.run_id)
    assert read_order(first).champion == old
    assert (read_order(second).champion, read_order(second).task) == (other, "score")


def test_a_breach_of_probation_rolls_back_once(home: Houses, tmp_path: Path) -> None:
    house = with_champion(home, tmp_path, GOOD)
    old = house.served()[-1].artefact_id
    house.labels(200, at=NOW - 4000, model=old, loss=0.2)
    house.page(old, 0.2)
    run = house.run_until("promoted", "rejected", "failed")
    new = house.served()[-1].artefact_id
    house.page(new, 0.5, at=NOW + 60)
    decision = house.loop.once(NOW + 60)
    assert decision is not None
    assert (decision.action, decision.rule) == ("rollback", "probation_breach")
    assert [c.artefact_id for c in house.served()] == [old, new, old]
    assert house.registry.pointed() == house.served()[-1]
    ended = house.newest_run()
    assert ended is not None
    assert (ended.run_id, ended.state) == (run.run_id, "rolled_back")
    calm = house.loop.once(NOW + 120)
    assert calm is not None
    assert calm.rule == "cool_down", "no flapping"


def test_a_predecessor_that_was_damaged_is_not_gone_back_to(home: Houses, tmp_path: Path) -> None:
    house = with_champion(home, tmp_path, GOOD)
    old = house.served()[-1].artefact_id
    house.labels(200, at=NOW - 4000, model=old, loss=0.2)
    house.page(old, 0.2)
    house.run_until("promoted")
    (house.registry.artefacts / old / "model.safetensors").write_text("damaged")
    house.page(house.served()[-1].artefact_id, 0.5, at=NOW + 60)
    decision = house.loop.once(NOW + 60)
    assert decision is not None
    assert decision.action == "hold"
    assert len(house.served()) == 2


def test_a_champion_that_lasts_its_probation_is_kept(home: Houses, tmp_path: Path) -> None:
    house = open_house(home, tmp_path, GOOD, probation_labels=50)
    house.labels(1000, at=NOW - 2000)
    house.request()
    run = house.run_until("promoted")
    house.labels(50, at=NOW + 1, model=run.challenger)
    house.loop.once(NOW + 100)
    kept = house.newest_run()
    assert kept is not None
    assert kept.state == "kept"
    assert kept.updated_at == run.updated_at, "the cool-down does not start again"


def test_a_student_of_a_barred_dataset_is_rejected(home: Houses, tmp_path: Path) -> None:
    house = with_champion(home, tmp_path, GOOD)
    house.page(house.served()[-1].artefact_id, 0.3)
    run = house.run_until("building", "training", "evaluating")
    # the pretended child names its dataset by the number of its rows
    barred = msgspec.structs.replace(
        run, run_id="earlier", state="rolled_back", dataset="d" * 63 + "0"
    )
    with house.engine.begin() as connection:
        store.insert_run(connection, barred)
    for _ in range(500):
        house.loop.once(NOW)
        with house.engine.begin() as connection:
            live = store.live_run(connection, "default")
        if live is None:
            break
        time.sleep(0.02)
    with house.engine.begin() as connection:
        states = dict(connection.execute(sa.select(tables.run.c.run_id, tables.run.c.state)).all())
    assert states[run.run_id] == "rejected"


def test_one_process_leads_and_the_other_waits(home: Houses, tmp_path: Path) -> None:
    one = open_house(home, tmp_path, GOOD)
    other = open_house(home, tmp_path, GOOD, holder="two")
    assert one.loop.once(NOW) is not None
    assert other.loop.once(NOW + 1) is None
    assert other.loop.once(NOW + 30) is not None, "the lease ran out"


def test_a_leader_that_was_replaced_writes_nothing(home: Houses, tmp_path: Path) -> None:
    house = open_house(home, tmp_path, GOOD)
    house.labels(1000, at=NOW - 2000)
    house.request()
    house.loop.once(NOW)
    with house.engine.begin() as connection:
        assert lead(connection, "retrain/default", "two", NOW + 100, ttl=15.0) is not None
    before = house.newest_run()
    assert before is not None
    with pytest.raises(FencedError):
        house.loop._save(msgspec.structs.replace(before, state="failed"))
    assert house.newest_run() == before


def test_the_cadence_starts_one_run(home: Houses, tmp_path: Path) -> None:
    house = with_champion(home, tmp_path, "hang")
    object.__setattr__(
        house.loop, "_contract", msgspec.structs.replace(house.contract, cadence_seconds=24 * HOUR)
    )
    house.loop.once(NOW)
    run = house.newest_run()
    assert run is not None
    assert run.rule == "cadence"
    with house.engine.begin() as connection:
        claims = connection.execute(sa.select(tables.schedule)).all()
    assert [(c.name, c.claimed_at) for c in claims] == [("cadence/default", NOW)]


def under(house: House, **terms: Any) -> QualityContract:
    """Let the house be held to other terms, which nobody has accepted yet."""
    contract = msgspec.structs.replace(house.contract, **terms)
    object.__setattr__(house.loop, "_contract", contract)
    return contract


@pytest.mark.parametrize(
    ("terms", "accepted_at", "told"),
    [
        pytest.param({"tolerance": 0.12}, None, "is not the one accepted last", id="not accepted"),
        pytest.param(
            {"expires": dt.date(2026, 9, 20)}, NOW - 48 * HOUR, "ended with 2026-09-20", id="ended"
        ),
    ],
)
def test_without_a_contract_in_force_a_challenger_waits_for_a_person(
    home: Houses, tmp_path: Path, terms: dict[str, Any], accepted_at: float | None, told: str
) -> None:
    house = with_champion(home, tmp_path, GOOD)
    old = house.served()[-1].artefact_id
    contract = under(house, **terms)
    if accepted_at is not None:
        house.accept(contract, accepted_at)
    house.page(old, 0.3)
    run = house.run_until("promoted", "held", "rejected", "failed")
    assert run.state == "held"
    assert told in run.failure
    assert run.verdict is not None
    assert (run.verdict.outcome, run.verdict.contract) == ("pass", contract.hash)
    assert [c.artefact_id for c in house.served()] == [old], "the champion serves on"
    house.labels(1000, at=NOW + 1)
    house.loop.once(NOW + 7 * HOUR)
    assert house.rules()[-1] == ("hold", "not_in_force"), "one that waits is enough"
    assert app_of(house).promote(run.challenger, "eva", "I looked at it", NOW).actor == "eva"


def test_once_a_contract_is_accepted_the_next_challenger_is_promoted(
    home: Houses, tmp_path: Path
) -> None:
    house = with_champion(home, tmp_path, GOOD)
    contract = under(house, tolerance=0.12)
    house.page(house.served()[-1].artefact_id, 0.3)
    held = house.run_until("held", "promoted", "rejected", "failed")
    house.accept(contract, NOW + HOUR)
    house.labels(10, at=NOW + 1)
    later = NOW + 7 * HOUR
    house.loop.once(later)
    run = house.run_until("promoted", "rejected", "failed", now=later)
    assert (run.state, run.rule) == ("promoted", "level")
    assert run.run_id != held.run_id
    assert run.verdict is not None
    assert run.verdict.contract == contract.hash


@pytest.mark.parametrize("state", ["no tolerance", "not enough gold", "unsure"])
def test_of_an_unverified_teacher_a_challenger_waits_for_a_person(
    home: Houses, tmp_path: Path, state: TeacherState
) -> None:
    house = with_champion(home, tmp_path, GOOD)
    house.people_say(state)
    old = house.served()[-1].artefact_id
    house.page(old, 0.3)
    run = house.run_until("promoted", "held", "rejected", "failed")
    assert run.state == "held"
    assert "the teacher is not verified" in run.reason
    assert f"it is {state}" in run.failure
    assert [c.artefact_id for c in house.served()] == [old], "the champion serves on"
    house.labels(1000, at=NOW + 1)
    house.loop.once(NOW + 7 * HOUR)
    assert house.rules()[-1] == ("hold", "teacher_unverified"), "one that waits is enough"
    app_of(house).promote(run.challenger, "eva", "I looked at it", NOW + 7 * HOUR)
    assert house.loop.propose(NOW + 8 * HOUR).rule == "within_bounds"


def test_no_run_starts_from_a_teacher_out_of_its_bounds_whoever_asks(
    home: Houses, tmp_path: Path
) -> None:
    house = with_champion(home, tmp_path, GOOD)
    first = house.newest_run()
    house.people_say("out")
    house.page(house.served()[-1].artefact_id, 0.3)
    house.loop.once(NOW)
    assert house.rules()[-1] == ("hold", "teacher_out_of_bounds")
    with pytest.raises(NotAllowedError, match="it is out"):
        app_of(house).request_run("eva", "now", NOW)
    assert house.newest_run() == first


def die_at(number: int, house: House) -> None:
    """Have this process end without a word at the n-th thing that outlives it."""
    passed, dirty = 0, False

    def point() -> None:
        nonlocal passed
        passed += 1
        if passed == number:
            os._exit(DIED)

    def wrap(owner: Any, name: str, *, sql: bool = False) -> None:
        inner = getattr(owner, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            nonlocal dirty
            point()
            dirty = dirty or sql
            return inner(*arguments, **named)

        setattr(owner, name, wrapped)

    def before_commit(_connection: sa.Connection) -> None:
        nonlocal dirty
        if dirty:
            dirty = False
            point()

    for name in ("save_run", "install_champion", "register_artefact"):
        wrap(store, name, sql=True)
    for module in (supervise, registry):
        wrap(module, "replace_bytes")
    wrap(orders, "move_into_place")
    wrap(house.launcher, "start")
    sa.event.listen(house.engine, "commit", before_commit)


def in_file(home: Path) -> str:
    """Name the journal that is copied with its directory."""
    return f"sqlite:///{home}/journal.db"


def killed_at(number: int, home: Path) -> bool:
    """Drive the loop in a process of its own that dies at a point; False: it got to the end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            house = House(home, in_file(home), GOOD, holder="killed")
            die_at(number, house)
            house.run_until("promoted", "rejected", "failed")
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, DIED), "the daemon ended by itself"
    return code == DIED


@pytest.mark.parametrize("new_url", ["sqlite"], indirect=True)
def test_a_daemon_that_dies_at_any_point_is_taken_up_by_the_next(
    home: Houses, tmp_path: Path
) -> None:
    template = tmp_path / "template"
    template.mkdir()
    asked = House(template, in_file(template), GOOD)
    asked.labels(1000, at=NOW - 2000)
    asked.request()
    asked.engine.dispose()  # no connection of this process may be in the children
    number, ends = 0, []
    while True:
        number += 1
        directory = tmp_path / str(number)
        shutil.copytree(template, directory)
        if not killed_at(number, directory):
            break
        home.url = in_file(directory)
        house = open_house(home, directory, GOOD)
        run = house.run_until("promoted", "rejected", "failed", now=NOW + 20)
        ends.append((number, run.state))
        assert run.state == "promoted", f"killed at point {number}: {run}"
        assert [c.artefact_id for c in house.served()] == [run.challenger]
        house.loop.once(NOW + 20)
        assert house.registry.pointed() == house.served()[-1]
        assert house.registry.intact(run.challenger)
        assert not [p for p in house.registry.artefacts.iterdir() if p.name.startswith(".")]
        with house.engine.begin() as connection:
            audits = connection.scalars(sa.select(tables.audit.c.action)).all()
        assert sorted(audits) == ["accept_contract", "promote", "request_run"]
        house.engine.dispose()  # nor in the next one
    print(f"killed at {len(ends)} points, each time promoted once")
    assert len(ends) > 10


def app_of(house: House) -> RetrainApp:
    return RetrainApp(
        engine=house.engine,
        registry=house.registry,
        loop=house.loop,
        table=house.table,
        clock=time.time,
    )


def test_what_a_person_may_ask(home: Houses, tmp_path: Path) -> None:
    house = with_champion(home, tmp_path, GOOD)
    app = app_of(house)
    assert app.dry_run(NOW).rule == "within_bounds"
    run = app.request_run("anna", "new sizes on Monday", NOW)
    assert (run.rule, run.actor) == ("operator", "anna")
    with pytest.raises(ConflictError, match=run.run_id):
        app.request_run("ben", "me too", NOW)
    house.run_until("promoted")
    newest, oldest = app.models()
    assert (newest.serving, oldest.serving) == (2, None)
    with pytest.raises(NotAllowedError, match="serves already"):
        app.promote(newest.artefact_id, "anna", "again", NOW)
    assert "served until" in model_page.line(oldest)
    assert oldest.served_until == house.served()[-1].since
    back = app.rollback("anna", "sizes are wrong", NOW + 1)
    assert back.artefact_id == oldest.artefact_id
    with pytest.raises(NotFoundError, match="go back"):
        app.rollback("anna", "further", NOW + 2)
    again = app.promote(newest.artefact_id[:8], "anna", "it was right after all", NOW + 3)
    assert (again.artefact_id, again.version) == (newest.artefact_id, 4)
    kinds = [(change.version, change.kind) for change in changes_told(house, NOW + 4)]
    assert kinds[-3:] == [(2, "promoted"), (3, "rolled_back"), (4, "promoted")]
    with house.engine.begin() as connection:
        query = sa.select(tables.audit.c.actor, tables.audit.c.action).order_by(tables.audit.c.id)
        audit = [tuple(row) for row in connection.execute(query)]
    assert audit[-4:] == [
        ("anna", "request_run"),
        ("proctord", "promote"),
        ("anna", "rollback"),
        ("anna", "promote"),
    ]


def changes_told(house: House, now: float) -> tuple[ChampionChange, ...]:
    """What the alerts say of who serves."""
    with house.engine.begin() as connection:
        return situation.gather(
            connection, now=now, lane=house.table.lane, contract=house.contract, stale_after=900.0
        ).champion_changes


def test_a_person_sees_the_gates_of_a_challenger_that_waits(home: Houses, tmp_path: Path) -> None:
    house = open_house(home, tmp_path, GOOD)
    house.people_say("unsure")
    house.labels(1000, at=NOW)
    app_of(house).request_run("anna", "the first student", NOW)
    house.run_until("held")
    (model,) = app_of(house).models()
    shown = dict(model_page.rows(*app_of(house).model(model.artefact_id[:10])))
    assert shown["state"] == "held"
    assert re.match(
        r"pass: it disagrees with the teacher on .* the limit is 10.0 %", shown["gate quality"]
    )
    assert shown["contract"] == house.contract.hash
    assert "the teacher is not verified" in shown["because"]
    assert f"proctord promote {model.artefact_id[:12]}" in shown["next"]
    app_of(house).promote(model.artefact_id, "anna", "I looked", NOW + 1)
    shown = dict(model_page.rows(*app_of(house).model(model.artefact_id)))
    assert (shown["state"], shown["next"][:7]) == ("serves", "nothing")


def test_a_request_without_a_label_is_refused(home: Houses, tmp_path: Path) -> None:
    house = open_house(home, tmp_path, GOOD)
    with pytest.raises(NotAllowedError, match="not one labelled ticket") as caught:
        app_of(house).request_run("anna", "please", NOW)
    assert caught.value.exit_code == 1, "nobody else holds anything"
    assert "labels import" in caught.value.next_step


def test_the_program_ticks_until_it_is_stopped(home: Houses, tmp_path: Path) -> None:
    house = open_house(home, tmp_path, GOOD, tick_seconds=0.05)
    house.labels(1000, at=time.time() - 2000)
    app, stop = app_of(house), threading.Event()
    app.request_run("anna", "a first student", time.time())
    app.start(stop)
    for _ in range(400):
        run = house.newest_run()
        if run is not None and run.state == "promoted":
            break
        time.sleep(0.05)
    stop.set()
    app.stop()
    run = house.newest_run()
    assert run is not None
    assert run.state == "promoted", run
    with house.engine.begin() as connection:
        assert connection.scalar(sa.select(tables.lease.c.expires_at)) == 0.0, "it resigned"


def test_the_daemon_loads_no_torch(tmp_path: Path) -> None:
    settings = RetrainSettings(
        contract=QualityContract(tolerance=0.1),
        registry=RegistrySettings(root=tmp_path / "registry"),
    )
    assert isinstance(build(settings, open_journal("sqlite://"), time.time), RetrainApp)
    code = (
        "import sys, threading, time\n"
        "from retrain.app import build\n"
        "from retrain.config import RegistrySettings, RetrainSettings\n"
        "from schemas.contract import QualityContract\n"
        "from schemas.journal import ensure_schema, open_journal\n"
        "engine = open_journal('sqlite://')\n"
        "ensure_schema(engine)\n"
        "settings = RetrainSettings(contract=QualityContract(tolerance=0.1),"
        f" registry=RegistrySettings(root={str(tmp_path / 'other')!r}))\n"
        "app = build(settings, engine, time.time)\n"
        "app.start(threading.Event())\n"
        "time.sleep(0.5)\n"
        "app.stop()\n"
        "assert app.dry_run(time.time()).rule == 'no_champion'\n"
        "heavy = {'torch', 'transformers', 'datasketch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT, timeout=60)
