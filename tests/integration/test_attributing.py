"""The causes of a finding, from the rows of a real journal."""

from __future__ import annotations

from typing import Any

import factories
import msgspec
import pytest
import sqlalchemy as sa

from monitor.estimation.quality import JudgedWindow
from monitor.loops.attributing import explain_anew, explained
from monitor.sampling import SamplingPlan
from monitor.store import attributing, evaluation, judging, planning
from schemas import tables
from schemas.samples import Label, Sample
from schemas.windows import Moments, WindowSummary
from tests.journal_rig import add_labelled

#: a day of calm, then an hour in which deliveries are answered worse
LENGTH, CALM, WORSE = 600.0, 144, 6
BEGAN, ENDED = CALM * LENGTH, (CALM + WORSE) * LENGTH
CLASSES = ("refund", "delivery")
FOUND = factories.signal(at=ENDED, n=300, sentence="disagreement 30.0 %")


@pytest.fixture(autouse=True)
def _planned(connection: sa.Connection) -> None:
    """All samples were drawn under one plan."""
    planning.publish(connection, SamplingPlan(random_rate=0.1), 0.0)


def answered(
    ticket_id: str, at: float, output: str, says: str, **facts: Any
) -> tuple[Sample, Label]:
    sample = factories.sample(
        ticket_id,
        at,
        text=facts.get("text", "where is it"),
        output=output,
        segments=("*", facts.get("segment", "channel=mail")),
        reason=facts.get("reason", "random"),
        inclusion_probability=0.1,
        plan=1,
        window=at // LENGTH * LENGTH,
    )
    label = factories.label(ticket_id, at, says, disagreement=float(output != says))
    return sample, label


def drawn(number: int) -> list[tuple[Sample, Label]]:
    """Ten labels of a window, of which now and then one is wrong; later all deliveries are."""
    worse = number >= CALM
    found = []
    for n in range(10):
        output = CLASSES[n % 2]
        wrong = output == "delivery" if worse else n == 0 and number % 2 == 0
        found.append(
            answered(
                f"{number}-{n}",
                number * LENGTH + n,
                output,
                "size" if wrong else output,
                text=f"the locker is full {n}" if worse else f"where is parcel {n}",
                segment="channel=mail" if n < 6 else "channel=app",
            )
        )
    return found


def canaries(at: float, changed: int) -> list[tuple[Sample, Label]]:
    return [
        answered(
            f"canary-{at}-{n}", at, "refund", "size" if n < changed else "refund", reason="sentinel"
        )
        for n in range(100)
    ]


def fill(connection: sa.Connection, *, canaries_changed: int | None = 0) -> None:
    found = canaries(BEGAN - 5000.0, 0)
    if canaries_changed is not None:
        found += canaries(BEGAN + 100.0, canaries_changed)
    for number in range(CALM + WORSE):
        start, worse = number * LENGTH, number >= CALM
        found += drawn(number)
        add_window(connection, start, {3: 100, 9: 500} if worse else {3: 500, 9: 100})
        judging.add(connection, [judged(start, wrong=5 if worse else 1 - number % 2)])
    add_labelled(connection, found)


def add_window(connection: sa.Connection, start: float, words: dict[int, int]) -> None:
    every = WindowSummary(
        segment="*",
        start=start,
        length=LENGTH,
        pairs=100,
        models={"m1": 100},
        classes={"refund": 50, "delivery": 50},
        words=words,
        confidence_bins={40: 100},
        text_length_bins={30: 100},
        latency_bins={20: 100},
    )
    mail = WindowSummary(
        segment="channel=mail",
        start=start,
        length=LENGTH,
        pairs=60,
        models={"m1": 60},
        classes={"refund": 30, "delivery": 30},
    )
    for window in (every, mail):
        connection.execute(
            sa.insert(tables.window).values(
                segment=window.segment, start=start, shard=0, body=msgspec.json.encode(window)
            )
        )


def judged(start: float, wrong: int) -> JudgedWindow:
    return JudgedWindow(
        segment="*",
        model="m1",
        start=start,
        end=start + LENGTH,
        tickets=100,
        labels=10,
        lost=0,
        total=10.0 * wrong,
        squares=100.0 * wrong,
        uniform=Moments(10, float(wrong), float(wrong)),
    )


def test_a_finding_says_where_it_comes_from_and_what_changed(connection: sa.Connection) -> None:
    fill(connection)
    told = explained(connection, FOUND)
    assert told.causes.startswith(
        "45.0 points more than before (5.0 % -> 50.0 %, 95 % intervals 3.9 to 6.3 and 36.8 to "
        "63.2 %, one look, 1,440 and 60 labels), "
        "all of it comes from within `delivery`"
    )
    assert "changed: inputs (" in told.causes
    assert "teacher (0 of 100 old questions answered otherwise" in told.causes
    assert msgspec.structs.replace(told, causes="") == FOUND
    assert told.words == f"disagreement 30.0 %. Why, as far as is known: {told.causes}"


def test_canaries_that_are_answered_otherwise_accuse_the_teacher(
    connection: sa.Connection,
) -> None:
    fill(connection, canaries_changed=40)
    assert "changed: teacher (40 of 100 old questions" in explained(connection, FOUND).causes


def test_a_page_is_explained_anew_once_the_canaries_have_answered(
    connection: sa.Connection,
) -> None:
    fill(connection, canaries_changed=None)
    page = explained(connection, FOUND)
    warning = msgspec.structs.replace(page, severity="warn")
    for one in (page, warning):
        evaluation.add_signal(connection, one)
    assert "teacher (no old question was asked again)" in page.causes
    add_labelled(connection, canaries(ENDED + 60.0, 40))
    explain_anew(connection, "m1", ENDED + 60.0)
    restated, untouched = evaluation.signals(connection, model="m1")
    assert "changed: teacher (40 of 100 old questions" in restated.causes
    assert msgspec.structs.replace(restated, causes=page.causes) == page
    assert untouched == warning


def test_a_segment_is_judged_by_its_own_tickets_and_by_every_canary(
    connection: sa.Connection,
) -> None:
    fill(connection)
    found = attributing.period(connection, since=BEGAN, until=ENDED, segment="channel=mail")
    assert len(found.losses()) == 6 * WORSE
    assert len(found.sentinels()) == 100
    assert [window.pairs for window in found.traffic()] == [60] * WORSE
    # nobody counted its words: then nobody knows whether they moved
    assert all(window.words == {} for window in found.traffic())


def test_a_ticket_stands_for_as_many_as_its_stratum_says(connection: sa.Connection) -> None:
    planning.publish(
        connection, SamplingPlan(random_rate=0.1, segment_rates={"channel=mail": 0.4}), 1.0
    )
    fill(connection)
    found = attributing.period(connection, since=BEGAN, until=ENDED, segment="*")
    assert {one.weight for one in found.losses()} == {10.0}


def test_a_journal_of_many_segments_is_read_without_them(
    connection: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(connection)
    monkeypatch.setattr(attributing, "MOST_WINDOWS", 5)
    found = attributing.period(connection, since=BEGAN, until=ENDED, segment="*")
    assert {window.segment for window in found.windows} == {"*"}


def test_a_finding_of_a_student_that_was_never_judged_stays_as_it_is(
    connection: sa.Connection,
) -> None:
    assert explained(connection, FOUND) == FOUND
