"""What was taken in lately is counted by our clock, whatever times the events state."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from factories import START

from monitor import status
from monitor.alerts import rules
from monitor.loops import situation
from monitor.store import intake
from monitor.store.intake import Taken
from schemas import tables
from schemas.contract import QualityContract

HOUR = 3600.0


@pytest.fixture(autouse=True)
def _owned(connection: sa.Connection) -> None:
    """One shard has an owner, which has read nothing yet."""
    connection.execute(
        sa.insert(tables.shard).values(
            shard=0, owner="a", epoch=1, watermark=0.0, counters={}, memory=b"", updated_at=0.0
        )
    )


def read(
    connection: sa.Connection, tickets: int, dead: int, at: float = START, **more: int
) -> None:
    """Say that a consumer has read so much in all, of events that are a month old."""
    connection.execute(
        sa.update(tables.shard).values(
            counters={
                "tickets": tickets,
                "answers": tickets,
                "feedback": 1,
                "dead_letters": dead,
                **more,
            },
            watermark=at - 30 * 24 * HOUR,
            updated_at=at,
        )
    )


def alerts(connection: sa.Connection, now: float) -> list[str]:
    facts = situation.gather(
        connection,
        now=now,
        lane="default",
        contract=QualityContract(tolerance=0.1),
        stale_after=900.0,
    )
    return [c.name for c in rules.conditions(facts) if c.name == "DeadLettersHigh"]


def test_before_anything_is_kept_all_that_was_ever_taken_in_counts(
    connection: sa.Connection,
) -> None:
    read(connection, 10, 3)
    assert intake.taken(connection, START) == Taken(21, 3)
    intake.note(connection, START)
    assert intake.taken(connection, START) == Taken(21, 3), "a first turn that came late"


def test_what_is_older_than_an_hour_no_longer_counts(connection: sa.Connection) -> None:
    for minute in range(181):
        read(connection, 10 * minute, minute, START + 60 * minute)
        intake.note(connection, START + 60 * minute)
    # an hour, to the minute
    assert intake.taken(connection, START + 3 * HOUR) == Taken(2 * 610, 61)


def test_turns_of_a_second_keep_no_more_than_turns_of_a_minute(connection: sa.Connection) -> None:
    for second in range(0, 7200, 20):
        intake.note(connection, START + second)
    marks = intake._marks(connection)
    assert marks is not None
    assert len(marks) <= 62


def test_after_a_gap_it_counts_anew(connection: sa.Connection) -> None:
    intake.note(connection, START)
    read(connection, 5000, 900)
    assert intake.taken(connection, START + 9 * HOUR) == Taken(0, 0)
    intake.note(connection, START + 9 * HOUR)
    read(connection, 5040, 901)
    assert intake.taken(connection, START + 9 * HOUR + 30) == Taken(80, 1)


@pytest.mark.parametrize(("dead", "expected"), [(30, []), (400, ["DeadLettersHigh"])])
def test_dead_letters_of_an_old_backlog_are_a_share_of_that_backlog(
    connection: sa.Connection, dead: int, expected: list[str]
) -> None:
    intake.note(connection, START - 60)
    read(connection, 1000, dead)
    assert alerts(connection, START) == expected


def test_status_says_how_many_clocks_are_wrong_lately(connection: sa.Connection) -> None:
    read(connection, 1000, 0, clock_skew=1000)
    intake.note(connection, START - 2 * HOUR)
    for minutes in range(60, -1, -10):
        intake.note(connection, START - 60.0 * minutes)
    read(connection, 1200, 0, clock_skew=1350, too_old=4)
    page = status.gather(
        connection,
        now=START,
        lane="default",
        contract=QualityContract(tolerance=0.1),
        stale_after=900.0,
    )
    words = dict(status.rows(page))["events"]
    assert words.endswith("350 of 400 are from the future and 4 of 400 are too old")
