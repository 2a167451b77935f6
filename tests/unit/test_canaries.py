"""Canaries: what they may cost, when they are asked, and what they look like then."""

from __future__ import annotations

import pytest

from monitor.canaries import DAY, FEWEST, MODEL, CanarySettings, affordable, due, questions
from schemas.samples import Sample
from schemas.teachers import TeacherStanding, generation_of


def sample(ticket_id: str) -> Sample:
    return Sample(
        ticket_id=ticket_id,
        at=1.0,
        text="where is <ORDER_1>",
        output="tracking",
        model="m1",
        served_by="student",
        confidence=0.4,
        segments=("*", "channel=mail"),
        reason="risky",
        inclusion_probability=0.1,
        plan=3,
        stratum=2,
        window=600.0,
    )


@pytest.mark.parametrize(
    ("cost", "daily", "expected"),
    [
        (0.0, 0.0, 200),
        (0.001, 5.0, 200),
        (0.01, 5.0, 175),
        (0.0875, 5.0, FEWEST),
        (0.09, 5.0, 0),
        (0.01, 0.0, 0),
    ],
)
def test_as_many_are_kept_as_their_share_of_the_money_pays(
    cost: float, daily: float, expected: int
) -> None:
    assert affordable(CanarySettings(), cost, daily) == expected


def test_they_are_due_a_week_after_they_were_asked() -> None:
    assert not due(CanarySettings(), asked_at=0.0, now=7 * DAY - 1)
    assert due(CanarySettings(), asked_at=0.0, now=7 * DAY)


def test_each_round_has_ids_of_its_own_and_counts_in_no_estimate() -> None:
    kept = [sample("t-1"), sample("t-2")]
    first, second = questions(kept, "g", 1, 50.0), questions(kept, "g", 2, 60.0)
    assert len({one.ticket_id for one in first + second}) == 4
    assert {one.reason for one in first} == {"sentinel"}
    assert {(one.model, one.served_by, one.segments) for one in first} == {
        (MODEL, "teacher", ("*",))
    }
    assert [(one.text, one.output, one.at) for one in first] == [
        ("where is <ORDER_1>", "tracking", 50.0)
    ] * 2
    assert questions(kept, "g", 1, 50.0) == first


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"count": -1}, "count"),
        ({"every_days": 0.0}, "every_days"),
        ({"noise": 0.0}, "noise"),
        ({"budget_share": 1.0}, "budget_share"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, float], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        CanarySettings(**settings)


def test_a_generation_is_named_by_model_prompt_and_silent_changes() -> None:
    names = {
        generation_of(*parts)
        for parts in (("m", "p", 0), ("m", "p", 1), ("m", "q", 0), ("mp", "", 0))
    }
    assert len(names) == 4
    assert generation_of("m", "p", 0) in names


def test_a_teacher_that_nobody_checked_is_not_verified() -> None:
    new = TeacherStanding(generation="g", name="m", prompt_hash="p", since=0.0)
    assert not new.verified
    assert new.reason
