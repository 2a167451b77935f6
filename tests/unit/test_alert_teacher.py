"""Alerts about the teacher's answers: who is told what, and when."""

from __future__ import annotations

from typing import Any

import factories
import msgspec
import pytest

from monitor.alerts.about_teacher import DAY, PATIENCE
from monitor.alerts.rules import conditions
from monitor.alerts.situation import Canaries, Situation
from schemas.alerts import Condition
from schemas.runs import Run
from schemas.teachers import TeacherStanding

NOW = 1_000_000_000.0
OLD = NOW - PATIENCE
STANDING = TeacherStanding(
    generation="g2",
    name="big\x1b[2J",
    prompt_hash="p",
    since=OLD,
    tolerance=0.1,
    state="within",
    answered=300,
    reason="the teacher is wrong in 5.0 %",
)
HELD = Run(
    run_id="r1",
    lane="default",
    state="held",
    rule="level",
    reason="it drifted",
    actor="proctord",
    requested_at=NOW - 60,
    updated_at=NOW - 30,
    challenger="c" * 64,
)


def told(standing: TeacherStanding | None, **facts: Any) -> list[Condition]:
    situation = Situation(
        now=NOW, lane="default", champion="m1", champion_since=1.0, standing=standing, **facts
    )
    return conditions(situation)


def of(**facts: Any) -> TeacherStanding:
    return msgspec.structs.replace(STANDING, **facts)


TABLE: list[tuple[str, TeacherStanding | None, dict[str, Any], list[tuple[str, str]]]] = [
    ("a verified teacher", STANDING, {}, []),
    ("no teacher yet", None, {}, []),
    ("the audit alarm has paged", of(state="out"), {}, [("TeacherOutOfBounds", "page")]),
    ("people had no time yet", of(state="not enough gold", since=OLD + 1), {}, []),
    ("a week without people", of(state="not enough gold"), {}, [("TeacherUnverified", "warn")]),
    ("more errors, no proof", of(state="unsure"), {}, [("TeacherUnverified", "warn")]),
    ("nobody wants it verified", of(state="no tolerance", tolerance=None), {}, []),
    (
        "a challenger waits, wanted or not",
        of(state="no tolerance", tolerance=None),
        {"last_run": HELD},
        [("TeacherUnverified", "warn")],
    ),
    (
        "a challenger waits for a teacher unknown",
        None,
        {"last_run": HELD},
        [("TeacherUnverified", "warn")],
    ),
    ("it was let through by hand", None, {"last_run": HELD, "champion_now": "c" * 64}, []),
    (
        "it was announced today",
        of(change="named", follows="g1", since=NOW - DAY),
        {},
        [("TeacherChanged", "info")],
    ),
    ("it was announced the day before", of(change="named", since=NOW - DAY - 1), {}, []),
    (
        "it changed in silence, long ago, and few have checked",
        of(change="silent", answered=99),
        {},
        [("TeacherChanged", "warn")],
    ),
    ("it changed in silence and people have checked", of(change="silent", answered=100), {}, []),
]


@pytest.mark.parametrize(
    ("prose", "standing", "facts", "expected"), TABLE, ids=[row[0] for row in TABLE]
)
def test_people_are_told_of_the_teacher(
    prose: str,
    standing: TeacherStanding | None,
    facts: dict[str, Any],
    expected: list[tuple[str, str]],
) -> None:
    known = dict(facts)
    champion = known.pop("champion_now", "m1")
    found = conditions(
        Situation(
            now=NOW,
            lane="default",
            champion=champion,
            champion_since=1.0,
            standing=standing,
            **known,
        )
    )
    assert [(one.name, one.severity) for one in found] == expected, prose


def test_a_challenger_that_waits_while_customers_need_it_wakes_somebody() -> None:
    page = factories.signal(at=NOW)
    found = told(of(state="not enough gold"), last_run=HELD, signals=(page,))
    (unverified,) = [one for one in found if one.name == "TeacherUnverified"]
    assert unverified.severity == "page"
    assert "Challenger cccccccccccc of run r1" in unverified.summary
    assert "gold list" in unverified.you_do


def test_a_change_says_how_many_canaries_show_it() -> None:
    (change,) = told(of(change="silent", answered=0), canaries=Canaries(answers=200, changed=40))
    assert "under the same name and prompt" in change.summary
    assert "40 of 200 tickets" in change.summary
    assert not change.momentary


def test_an_announced_change_is_news() -> None:
    (change,) = told(of(change="named", follows="g1", since=NOW))
    assert change.momentary
    assert "from generation g1" in change.summary


def test_a_name_from_outside_cannot_reach_the_terminal() -> None:
    (alert,) = told(of(state="out"))
    assert "\x1b" not in alert.summary
    assert alert.labels == {"generation": "g2"}
