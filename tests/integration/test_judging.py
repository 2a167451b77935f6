"""Closed windows on a real database: judged once, in order, as a whole, by the contract in force."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import sqlalchemy as sa
from factories import START, answer, records, ticket

from monitor import quality_page
from monitor.alerts.stages import AlertSettings
from monitor.comparators import COMPARATORS
from monitor.loops.consume import ConsumeLoop, ConsumeSettings
from monitor.loops.evaluate import EvaluateLoop, EvaluateSettings
from monitor.loops.label import LabelLoop, LabelSettings
from monitor.loops.teaching import TeachingSettings
from monitor.pipeline import PipelineSettings
from monitor.sampling import SamplingPlan
from monitor.sources.memory import MemorySource
from monitor.store import evaluation
from monitor.teachers.scripted import ScriptedTeacher
from schemas import tables
from schemas.contract import QualityContract
from schemas.events import Event

WINDOW = 50.0
NOW = START + 5000.0


def consume(engine: sa.Engine, outputs: Sequence[str], channels: Sequence[str] = ("mail",)) -> None:
    """A ticket a second on alternating channels, and one much later that closes all windows."""
    events: list[Event] = []
    for n, output in enumerate([*outputs, "a"]):
        at = START + n if n < len(outputs) else START + n + 1000
        name = f"t-{n:05}"
        where = {"channel": channels[n % len(channels)]}
        events += [ticket(name, at, text=f"number {n}", attributes=where), answer(name, at, output)]
    settings = ConsumeSettings(
        owner="a",
        pipeline=PipelineSettings(
            window_seconds=WINDOW, lateness_seconds=0.0, segment_by=("channel",)
        ),
        salt="test",
        first_plan=SamplingPlan(random_rate=1.0),
    )
    loop = ConsumeLoop(engine, MemorySource(records(events)), settings)
    loop.once(NOW)  # the first turn takes the shards over
    while loop.once(NOW).records:
        pass
    loop.checkpoint(NOW)


def label(engine: sa.Engine, count: int, teacher: ScriptedTeacher | None = None) -> None:
    """The oldest waiting samples get their label: the teacher says "a" to everything."""
    says = teacher or ScriptedTeacher({f"t-{n:05}": "a" for n in range(2000)})
    settings = LabelSettings(
        owner="a",
        taxonomy=("a", "b"),
        concurrency=1,
        batch=count,
        daily_usd=1e9,
        comparator="label",
    )
    loop = LabelLoop(engine, says, COMPARATORS["label"], settings)
    loop.once(NOW)
    loop.close()


def evaluator(engine: sa.Engine, contract: QualityContract | None = None) -> EvaluateLoop:
    settings = EvaluateSettings(
        owner="a",
        lane="default",
        alerts=AlertSettings(instance="test", channels=("phone",)),
        teaching=TeachingSettings(salt="test", random_rate=1.0, compare=COMPARATORS["label"]),
        stale_seconds=1e9,
    )
    return EvaluateLoop(engine, contract or QualityContract(tolerance=0.1), settings)


def judged(engine: sa.Engine, segment: str = "*") -> list[tuple[float, int, int, int]]:
    """(start in windows, tickets, labels, lost) of each window that was judged."""
    table = tables.judged_window
    with engine.begin() as connection:
        rows = connection.execute(
            sa.select(table.c.start, table.c.tickets, table.c.labels, table.c.lost)
            .where(table.c.segment == segment)
            .order_by(table.c.start)
        )
        return [((row[0] - START) / WINDOW, *row[1:]) for row in rows]


def pages(engine: sa.Engine) -> set[str]:
    with engine.begin() as connection:
        return {s.segment for s in evaluation.signals(connection) if s.severity == "page"}


def test_a_window_waits_for_its_labels_and_holds_back_those_after_it(engine: sa.Engine) -> None:
    consume(engine, ["a"] * 150)
    label(engine, 40)
    assert evaluator(engine).once(NOW + 1).judged == 0
    label(engine, 40)
    assert evaluator(engine).once(NOW + 2).judged == 50
    assert judged(engine) == [(0, 50, 50, 0)]
    label(engine, 1000)
    assert evaluator(engine).once(NOW + 3).judged == 100
    assert judged(engine) == [(0, 50, 50, 0), (1, 50, 50, 0), (2, 50, 50, 0)]


def test_labels_are_waited_for_a_while_and_not_for_ever(engine: sa.Engine) -> None:
    consume(engine, ["a"] * 100)
    label(engine, 70)
    assert evaluator(engine).once(NOW + 3599).judged == 50
    assert evaluator(engine).once(NOW + 3601).judged == 20
    assert judged(engine)[1] == (1, 50, 20, 30)
    label(engine, 1000)
    assert evaluator(engine).once(NOW + 3602).judged == 0, "what comes later is not counted"
    assert judged(engine)[1] == (1, 50, 20, 30)


def test_a_window_that_lost_many_labels_is_no_evidence(engine: sa.Engine) -> None:
    consume(engine, ["b"] * 200)
    label(engine, 30)
    evaluator(engine).once(NOW + 3601)
    assert judged(engine)[0] == (0, 50, 30, 20)
    assert pages(engine) == set(), "30 errors of 30 would page"


def test_abstentions_count_as_lost(engine: sa.Engine) -> None:
    consume(engine, ["a"] * 50)
    label(engine, 1000, ScriptedTeacher({f"t-{n:05}": "a" for n in range(45)}))
    evaluator(engine).once(NOW + 1)
    assert judged(engine) == [(0, 50, 45, 5)]


def test_each_segment_is_held_to_its_own_tolerance(engine: sa.Engine) -> None:
    # every fifth ticket is wrong, all of them in mail: 40 % there, 20 % in all
    outputs = ["b" if n % 10 in {0, 4} else "a" for n in range(1000)]
    consume(engine, outputs, channels=("mail", "chat"))
    label(engine, 2000)
    strict = QualityContract(tolerance=0.3, segments={"channel=mail": 0.2})
    evaluator(engine, strict).once(NOW + 1)
    assert pages(engine) == {"channel=mail"}
    with engine.begin() as connection:
        found = {e.segment: e for e in evaluation.newest_estimates(connection, "m1")}
        (page,) = [s for s in evaluation.signals(connection) if s.severity == "page"]
        (shown,) = quality_page.gather(connection, champion="m1")
    assert (found["channel=mail"].tolerance, found["channel=chat"].tolerance) == (0.2, 0.3)
    assert found["channel=mail"].lifetime is not None
    assert found["channel=mail"].lifetime.estimate == pytest.approx(0.4)
    assert page.contract == strict.hash
    assert "limit 20.0 %" in page.sentence
    assert [one.segment for one in shown.segments] == ["*", "channel=mail", "channel=chat"]
    assert shown.standing == {"channel=mail": "stands out", "channel=chat": "does not stand out"}


def test_another_contract_begins_the_evidence_anew(engine: sa.Engine) -> None:
    consume(engine, ["a", "b"] * 100)
    label(engine, 2000)
    evaluator(engine, QualityContract(tolerance=0.1)).once(NOW + 1)
    assert "*" in pages(engine)
    looser = QualityContract(tolerance=0.6)
    evaluator(engine, looser).once(NOW + 2)
    with engine.begin() as connection:
        plan = connection.scalar(
            sa.select(tables.plan.c.body).order_by(tables.plan.c.version.desc()).limit(1)
        )
    assert plan is not None
    assert b'"requested_rate":0.0' in plan, "under the new contract nothing is wrong"
