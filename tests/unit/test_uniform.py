from __future__ import annotations

import random

import numpy as np
import pytest

from monitor.drift.uniform import uniform
from monitor.sampling import Risk, Sampler, SamplingPlan, draw
from schemas.samples import Pair, Sample
from tests.factories import sample

SALT = "k"
#: half of the tickets are about refunds, where the student errs more and the segment is dear
TICKETS = [(f"t-{n}", "refund" if n % 2 else "fees") for n in range(8_000)]
RISK = Risk(
    at=0.0,
    labels=400,
    intercept=-2.0,
    slope=-1.0,
    unknown=-2.5,
    offsets={"refund": 3.0},
    edges=(-1.0,),
    levels=(0.01, 0.4),
    spread=0.25,
)
UNIFORM = SamplingPlan(random_rate=0.1)
ACTIVE = SamplingPlan(random_rate=0.1, students={"m1": RISK})
SEGMENTS = SamplingPlan(random_rate=0.05, segment_rates={"about=refund": 0.4})
THINNED = SamplingPlan(random_rate=0.025, students={"m1": RISK}, requested_rate=0.5)
PLANS = {"uniform": UNIFORM, "active": ACTIVE, "segments": SEGMENTS, "thinned": THINNED}


def sampled(plan: SamplingPlan, tickets: list[tuple[str, str]] = TICKETS) -> list[Sample]:
    """What a plan draws, by the sampler that production uses."""
    sampler, found = Sampler(plan, SALT), []
    for ticket_id, about in tickets:
        segments = ("*", f"about={about}")
        pair = Pair(
            ticket_id=ticket_id,
            asked_at=0.0,
            answered_at=1.0,
            text=about,
            output=about,
            model="m1",
            served_by="student",
            confidence=None,
            latency_ms=None,
            cost_usd=None,
            segments=segments,
        )
        choice = sampler.choose(ticket_id, "m1", plan.stratum(pair))
        if choice is not None:
            found.append(
                sample(
                    ticket_id,
                    text=about,
                    reason=choice.reason,
                    inclusion_probability=choice.probability,
                )
            )
    return found


def share(samples: list[Sample]) -> float:
    return float(np.mean([one.text == "refund" for one in samples]))


@pytest.mark.parametrize("name", PLANS)
def test_under_each_plan_those_picked_are_spread_as_all_traffic_is(name: str) -> None:
    picked = uniform(sampled(PLANS[name]), SALT, limit=10**6)
    assert len(picked) > 80
    # five standard errors
    assert share(picked) == pytest.approx(0.5, abs=2.5 / np.sqrt(len(picked)))


@pytest.mark.parametrize("name", ["active", "segments"])
def test_all_that_was_drawn_would_not_be(name: str) -> None:
    assert share(sampled(PLANS[name])) > 0.55


def test_a_plan_that_changes_within_a_slice_picks_the_same_share_of_before_and_after() -> None:
    before, after = TICKETS[:4_000], TICKETS[4_000:]
    picked = uniform([*sampled(UNIFORM, before), *sampled(THINNED, after)], SALT, limit=10**6)
    floor = THINNED.floor("m1")
    below = {ticket_id for ticket_id, _ in TICKETS if draw(SALT, "random", ticket_id) < floor}
    assert {one.ticket_id for one in picked} == below


def test_of_too_many_a_uniform_part_is_picked_whatever_their_order() -> None:
    found = sampled(SEGMENTS)
    picked = uniform(found, SALT, limit=200)
    random.Random(1).shuffle(found)
    assert uniform(found, SALT, limit=200) == picked
    assert len(picked) == 200
    assert share(picked) == pytest.approx(0.5, abs=2.5 / np.sqrt(200))


def test_of_nothing_nothing_is_picked() -> None:
    assert uniform([], SALT, limit=10) == []
    assert uniform([sample("t", reason="sentinel")], SALT, limit=10) == []
