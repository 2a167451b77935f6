"""The plan on a real journal: calibrated from labels, held to the money, taken up by consumers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random

import msgspec
import pytest
import sqlalchemy as sa
from factories import START, answer, records, ticket

from monitor import status
from monitor.loops.consume import ConsumeLoop, ConsumeSettings
from monitor.loops.planning import replan
from monitor.pipeline import PipelineSettings
from monitor.planning import CALLS, DAY, STUDENTS, SamplingSettings
from monitor.sampling import SamplingPlan
from monitor.sources.memory import MemorySource
from monitor.store import evaluation, planning
from schemas import tables
from schemas.contract import QualityContract
from schemas.events import Event

SETTINGS = SamplingSettings(random_rate=0.4, requested_rate=0.5, daily_usd=5.0)


def consumer(engine: sa.Engine, events: Sequence[Event]) -> ConsumeLoop:
    settings = ConsumeSettings(
        owner="a",
        pipeline=PipelineSettings(),
        salt="test",
        first_plan=SETTINGS.plan(),
        checkpoint_records=100,
    )
    return ConsumeLoop(engine, MemorySource(records(events), batch=100), settings)


def drain(loop: ConsumeLoop, each: Callable[[], object] = lambda: None) -> None:
    empty = 0
    while empty < 2:
        empty = 0 if loop.once(START + DAY / 4).records else empty + 1
        each()
    loop.checkpoint(START + DAY / 4)


def unsure(count: int, seed: int = 1) -> list[Event]:
    """Tickets a second apart that a student answers with a confidence between 0 and 1."""
    random, events = Random(seed), list[Event]()
    for n in range(count):
        events.append(ticket(f"t{n:05}", START + n))
        events.append(answer(f"t{n:05}", START + n + 0.5, confidence=random.random()))
    return events


def tell(engine: sa.Engine, usd: float = 0.0) -> int:
    """Let the teacher answer what waits; the surer the student was, the righter it is."""
    with engine.begin() as connection:
        rows = connection.execute(
            sa.select(
                tables.sample.c.ticket_id, tables.sample.c.body, tables.sample.c.reason
            ).where(tables.sample.c.state == "waiting")
        ).all()
        for ticket_id, body, reason in rows:
            confidence = float(body.split(b'"confidence":')[1].split(b",")[0])
            connection.execute(
                sa.insert(tables.label).values(
                    ticket_id=ticket_id,
                    at=START,
                    labelled_at=START,
                    reason=reason,
                    model="m1",
                    disagreement=float(Random(ticket_id).random() > confidence),
                    body=b"",
                )
            )
        connection.execute(sa.update(tables.sample).values(state="labelled"))
        if usd:
            day = "2026-06-02"
            connection.execute(
                sa.insert(tables.spend).values(
                    day=day, reserved_usd=0.0, settled_usd=usd, calls=len(rows)
                )
            )
    return len(rows)


def look(
    engine: sa.Engine, now: float = START, *, wanted: bool = False, model: str = "m1"
) -> SamplingPlan:
    with engine.begin() as connection:
        replan(connection, SETTINGS, model, wanted=wanted, now=now)
        plan = planning.newest(connection)
    assert plan is not None
    return plan


def test_the_first_plan_is_that_of_the_settings_whoever_comes_first(engine: sa.Engine) -> None:
    plan = look(engine, now=START)
    assert (plan.version, plan.at, plan.random_rate) == (1, START, 0.4)
    drain(consumer(engine, unsure(10)))
    assert look(engine, START + 1) == plan


def test_a_student_is_calibrated_when_it_has_labels_enough_and_then_once_a_day(
    engine: sa.Engine,
) -> None:
    drain(consumer(engine, unsure(500)))
    assert tell(engine) < 300
    assert look(engine).students == {}
    drain(consumer(engine, unsure(1000)))
    tell(engine)
    plan = look(engine, START + 60)
    risk = plan.students["m1"]
    assert (plan.version, plan.reason) == (2, f"calibrated on {risk.labels} labels")
    assert risk.levels[0] < 0.2
    assert risk.levels[-1] > 0.7
    assert look(engine, START + 120).version == 2
    assert look(engine, START + 60 + DAY).version == 3


def test_consumers_take_a_plan_up_at_a_checkpoint_and_leave_what_was_counted(
    engine: sa.Engine,
) -> None:
    drain(consumer(engine, unsure(4000)), each=lambda: (tell(engine), look(engine)))
    with engine.begin() as connection:
        windows = evaluation.windows(connection, after=0.0, until=START + 1e6, segment="*")
        plans = planning.by_versions(connection, [1, 2])
        rows = connection.execute(
            sa.select(tables.sample.c.reason, sa.func.count()).group_by(tables.sample.c.reason)
        )
        drawn = dict(rows.all())
    counted = {
        version: sum(sum(w.strata.get(f"{version}/m1", {}).values()) for w in windows)
        for version in (1, 2)
    }
    assert set(plans) == {1, 2}
    assert min(counted.values()) > 500
    assert sum(counted.values()) == 4000
    both = [w for w in windows if len(w.strata) == 2]
    assert len(both) == 1, "the window in which it changed keeps what was counted before"
    # the uniform draw goes on at half the rate, the other half goes where errors are likely
    uniform = 0.4 * counted[1] + 0.2 * counted[2]
    assert abs(drawn["random"] - uniform) < 5 * (uniform * 0.8) ** 0.5
    assert abs(drawn["risky"] - 0.2 * counted[2]) < 0.25 * 0.2 * counted[2]


def test_estimates_know_the_probability_of_each_sample(engine: sa.Engine) -> None:
    drain(consumer(engine, unsure(3000)), each=lambda: (tell(engine), look(engine)))
    tell(engine)
    with engine.begin() as connection:
        found = planning.outcomes(connection, "m1", limit=5000)
        windows = evaluation.windows(connection, after=0.0, until=START + 1e6, segment="*")
    tickets = sum(sum(counts.values()) for w in windows for counts in w.strata.values())
    assert len({one.probability for one in found}) > 5
    assert sum(1 / one.probability for one in found) == pytest.approx(tickets, rel=0.1)


def test_rates_are_lowered_for_the_next_block_and_no_sample_is_dropped(engine: sa.Engine) -> None:
    loop = consumer(engine, unsure(4000))
    for _ in range(5):
        loop.once(START + 200)
    asked = tell(engine, usd=4.5)  # of five dollars
    plan = look(engine, START + 200)
    assert plan.thinned > 0
    assert "are left" in plan.reason
    drain(loop)
    with engine.begin() as connection:
        states = dict(
            connection.execute(
                sa.select(tables.sample.c.state, sa.func.count()).group_by(tables.sample.c.state)
            ).all()
        )
    assert states["labelled"] == asked
    assert states["waiting"] < 0.3 * 0.4 * 4000
    tomorrow = look(engine, START + DAY)
    assert tomorrow.thinned == 0 or tomorrow.thinned < plan.thinned


def test_what_is_set_aside_for_calls_under_way_is_not_there_to_spend(engine: sa.Engine) -> None:
    drain(consumer(engine, unsure(1000)))
    tell(engine, usd=0.9)
    with engine.begin() as connection:
        connection.execute(sa.update(tables.spend).values(reserved_usd=4.0))
    assert look(engine, START + 1000).thinned > 0


def test_answers_that_were_paid_for_once_lower_no_rate(engine: sa.Engine) -> None:
    drain(consumer(engine, unsure(1000)))
    tell(engine, usd=400.0)
    recorded = msgspec.structs.replace(SETTINGS, daily_usd=math.inf)
    with engine.begin() as connection:
        replan(connection, recorded, "m1", wanted=True, now=START + 1000)
        plan = planning.newest(connection)
    assert (plan.thinned, plan.requested_rate) == (0, 0.5)


def test_a_few_calls_do_not_tell_what_one_costs(engine: sa.Engine) -> None:
    drain(consumer(engine, unsure(1000)))
    tell(engine, usd=4.9)
    with engine.begin() as connection:
        connection.execute(sa.update(tables.spend).values(calls=CALLS - 1))
    assert look(engine, START + 1000).thinned == 0


def test_the_newest_labels_are_learned_from(engine: sa.Engine) -> None:
    drain(consumer(engine, unsure(1200)))
    tell(engine)
    newest = sa.select(tables.label.c.ticket_id).order_by(tables.label.c.ticket_id.desc()).limit(10)
    with engine.begin() as connection:
        last = list(connection.scalars(newest))
        changed = tables.label.c.ticket_id.in_(last)
        connection.execute(sa.update(tables.label).where(changed).values(disagreement=0.5))
        assert [one.loss for one in planning.outcomes(connection, "m1", limit=10)] == [0.5] * 10


def test_the_calibrations_of_a_few_students_are_kept(engine: sa.Engine) -> None:
    drain(consumer(engine, unsure(1000)))
    tell(engine)
    for n in range(2, STUDENTS + 3):
        model = f"m{n}"
        with engine.begin() as connection:
            connection.execute(sa.update(tables.label).values(model=model))
        plan = look(engine, START + n, model=model)
    assert list(plan.students) == [f"m{n}" for n in range(3, STUDENTS + 3)]


def test_money_is_looked_at_every_ten_minutes(engine: sa.Engine) -> None:
    drain(consumer(engine, unsure(1000)))
    look(engine, START + 1000)
    tell(engine, usd=4.9)
    assert look(engine, START + 1100).thinned == 0
    assert look(engine, START + 1700).thinned > 0


def test_a_retraining_that_wants_labels_gets_them_from_the_next_checkpoint_on(
    engine: sa.Engine,
) -> None:
    assert look(engine, wanted=True).requested_rate == 0.5
    drain(consumer(engine, unsure(300)))
    with engine.begin() as connection:
        reasons = set(connection.scalars(sa.select(tables.sample.c.reason)))
    assert reasons == {"random", "requested"}


def test_the_status_says_how_much_is_asked_and_why(engine: sa.Engine) -> None:
    def said() -> str:
        with engine.begin() as connection:
            found = status.gather(
                connection,
                now=0.0,
                lane="default",
                contract=QualityContract(tolerance=0.1),
                stale_after=900.0,
            )
        return dict(status.rows(found))["sampling"]

    assert said() == "no plan yet"
    plan = SamplingPlan(
        random_rate=0.05,
        segment_rates={"channel=mail": 0.2},
        requested_rate=0.5,
        reason="a retraining wants labels",
    )
    with engine.begin() as connection:
        planning.publish(connection, plan, START)
    assert said() == (
        "5.0 % of the tickets, 20.0 % of channel=mail, 50.0 % more for a retraining; "
        "plan 1 since 2026-06-02 08:00:00 UTC: a retraining wants labels"
    )


def test_two_programs_that_publish_at_once_leave_one_version(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        planning.newest_or(connection, SETTINGS.plan(), START)
        planning.newest_or(connection, SETTINGS.plan(wanted=True), START)
        assert planning.newest(connection).version == 1
