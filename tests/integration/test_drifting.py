"""Drift on a real journal: what was learned, what is told, and that it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import numpy as np
import sqlalchemy as sa

from monitor import status
from monitor.drift import DriftSettings
from monitor.loops import drifting, situation
from monitor.loops.situation import Serving
from monitor.store import drifting as store
from monitor.store import evaluation, labelling
from schemas import tables
from schemas.contract import QualityContract
from schemas.samples import Sample
from schemas.signals import Signal
from schemas.windows import WindowSummary

HOUR = 3600.0
SETTINGS = DriftSettings(reference=60)
CLASSES = {"refund": 0.3, "delivery": 0.04, "account": 0.36, "fees": 0.3}
MOVED = {**CLASSES, "delivery": 0.2}
#: hours of traffic, and the first of those in which customers ask about deliveries
HOURS, SINCE = 100, 80
#: start of the last window
LAST = (HOURS - 0.5) * HOUR


def windows(hours: range, shares: Mapping[str, float], model: str) -> list[WindowSummary]:
    """Two windows an hour."""
    rng = np.random.default_rng(7)
    found = []
    for half in range(2 * hours.start, 2 * hours.stop):
        weights = np.array(list(shares.values()))
        counts = rng.multinomial(200, weights / weights.sum()).tolist()
        found.append(
            WindowSummary(
                segment="*",
                start=half * HOUR / 2,
                length=HOUR / 2,
                pairs=200,
                models={model: 200},
                classes=dict(zip(shares, counts, strict=True)),
            )
        )
    return found


def add(connection: sa.Connection, found: list[WindowSummary]) -> None:
    rows = [
        {"segment": w.segment, "start": w.start, "shard": 0, "body": msgspec.json.encode(w)}
        for w in found
    ]
    connection.execute(sa.insert(tables.window), rows)


def add_texts(connection: sa.Connection, hours: range, text: str) -> None:
    labelling.add_samples(
        connection,
        [
            Sample(
                ticket_id=f"{hour}-{n}",
                at=hour * HOUR + n,
                text=text,
                output="delivery",
                model="m1",
                served_by="student",
                confidence=0.9,
                segments=("*",),
                reason="random",
                inclusion_probability=0.05,
            )
            for hour in hours
            for n in range(20)
        ],
        0.0,
    )


def fill(engine: sa.Engine, model_now: str = "m1") -> None:
    with engine.begin() as connection:
        add(connection, windows(range(SINCE), CLASSES, "m1"))
        add(connection, windows(range(SINCE, HOURS), MOVED, model_now))
        add_texts(connection, range(SINCE), "where is my order")
        add_texts(connection, range(SINCE, HOURS), "the parcel locker is full")


def turn(
    engine: sa.Engine,
    until: float,
    *,
    champion: Serving = Serving("m1", 0.0),  # noqa: B008 -- a tuple
    settings: DriftSettings = SETTINGS,
) -> list[Signal]:
    with engine.begin() as connection:
        told = drifting.watch(
            connection, until=until, champion=champion, settings=settings, contract="c1", now=until
        )
        for signal in told:  # as the evaluator does
            evaluation.add_signal(connection, signal)
        return told


def turns(engine: sa.Engine, *until: float, settings: DriftSettings = SETTINGS) -> list[Signal]:
    """Look at these windows, each as an evaluator that was away catches up with it."""
    return [
        signal
        for end in until
        for _ in range(HOURS // drifting.MOST_SLICES + 1)
        for signal in turn(engine, end, settings=settings)
    ]


def test_a_drift_is_told_with_its_shares_and_the_new_words(engine: sa.Engine) -> None:
    fill(engine)
    (told,) = turns(engine, 0.0, LAST)
    assert (told.detector, told.metric, told.segment) == ("drift", "classes", "*")
    assert (told.model, told.severity, told.contract) == ("m1", "warn", "c1")
    assert SINCE * HOUR < told.at <= (SINCE + 7) * HOUR
    assert "`delivery` 4." in told.sentence
    assert "new words: full, locker, parcel, the" in told.sentence


def test_an_evaluator_that_looks_at_every_window_tells_the_same(
    engine: sa.Engine, new_journal: Callable[[], sa.Engine]
) -> None:
    fill(engine)
    other = new_journal()
    fill(other)
    every_window = (half * HOUR / 2 for half in range(2 * HOURS))
    assert turns(other, *every_window) == turns(engine, 0.0, LAST) != []


def test_it_learns_from_the_windows_that_are_there_when_it_begins(engine: sa.Engine) -> None:
    fill(engine)
    assert turns(engine, (SINCE - 1) * HOUR) == []
    with engine.begin() as connection:
        report = store.report(connection)
    assert report is not None
    assert "classes" not in report.learning


def test_other_settings_begin_anew_from_the_same_past(engine: sa.Engine) -> None:
    fill(engine)
    turns(engine, 0.0, (SINCE - 3) * HOUR)
    tighter = msgspec.structs.replace(SETTINGS, slack=0.1)
    (told,) = turns(engine, (SINCE - 2) * HOUR, LAST, settings=tighter)
    assert told.metric == "classes"


def test_within_a_slice_nothing_is_read_or_written(engine: sa.Engine) -> None:
    fill(engine)
    turn(engine, 10 * HOUR)
    with engine.begin() as connection:
        written = connection.execute(sa.select(tables.detector_state.c.updated_at)).scalars().all()
    assert turn(engine, 10.5 * HOUR) == []
    with engine.begin() as connection:
        assert written == [10 * HOUR]
        query = sa.select(tables.detector_state.c.updated_at)
        assert connection.execute(query).scalars().all() == written


def test_what_a_new_student_answers_is_no_drift(engine: sa.Engine) -> None:
    fill(engine, model_now="m2")
    champion = Serving("m2", SINCE * HOUR)
    turns(engine, 0.0, (SINCE - 1) * HOUR)
    assert turn(engine, LAST, champion=champion) == []


def test_the_alert_stands_while_the_drift_does(engine: sa.Engine) -> None:
    fill(engine)
    turns(engine, 0.0, (SINCE + 10) * HOUR)
    assert [signal.metric for signal in drifts(engine)] == ["classes"]
    with engine.begin() as connection:
        add(connection, windows(range(HOURS, HOURS + 20), CLASSES, "m1"))
    turns(engine, LAST + 20 * HOUR)
    assert drifts(engine) == ()


def drifts(engine: sa.Engine) -> tuple[Signal, ...]:
    contract = QualityContract(tolerance=0.1)
    with engine.begin() as connection:
        facts = situation.gather(
            connection, now=0.0, lane="default", contract=contract, stale_after=900.0
        )
    return facts.drifts


def test_the_status_says_what_is_watched_and_what_is_still_learned(engine: sa.Engine) -> None:
    fill(engine)
    contract = QualityContract(tolerance=0.1)

    def said() -> str:
        with engine.begin() as connection:
            found = status.gather(
                connection, now=0.0, lane="default", contract=contract, stale_after=900.0
            )
        return dict(status.rows(found))["inputs"]

    assert said() == "no window closed yet"
    turns(engine, 0.0, 20 * HOUR)
    assert said().startswith("still learning classes, segments: 1 d of traffic missing; too little")
    turns(engine, 0.0, LAST)
    assert said().startswith("classes drifted; too little of confidence, latency_ms, text_length")
