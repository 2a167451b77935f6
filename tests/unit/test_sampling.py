from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.estimation.scores import DEEPEST, Belief, expectation, score
from monitor.sampling import Choice, Risk, Sampler, SamplingPlan, log_odds
from schemas.samples import Pair

IDS = [f"t-{number}" for number in range(4000)]
RISK = Risk(
    at=0.0,
    labels=400,
    intercept=-2.0,
    slope=-1.0,
    unknown=-2.5,
    offsets={"refund": 1.0},
    edges=(-3.5, -2.0),
    levels=(0.01, 0.08, 0.3),
    spread=0.25,
)


def sampler(salt: str = "k", **rates: float) -> Sampler:
    return Sampler(SamplingPlan(**({"random_rate": 0.05} | rates)), salt)


def chosen(of: Sampler, reason: str, model: str = "m1", stratum: int = 0) -> set[str]:
    choices = {ticket_id: of.choose(ticket_id, model, stratum) for ticket_id in IDS}
    return {ticket_id for ticket_id, choice in choices.items() if choice and choice[0] == reason}


def pair(**changes: object) -> Pair:
    fields = {
        "ticket_id": "t",
        "asked_at": 0.0,
        "answered_at": 1.0,
        "text": "",
        "output": "size",
        "model": "m1",
        "served_by": "student",
        "confidence": 0.9,
        "latency_ms": None,
        "cost_usd": None,
        "segments": ("*",),
    }
    return Pair(**{**fields, **changes})


# --- the draw ------------------------------------------------------------------------------


def test_a_replay_chooses_the_same_tickets() -> None:
    assert chosen(sampler(), "random") == chosen(sampler(), "random")


def test_the_choice_of_today_is_the_choice_of_ever() -> None:
    # a change of the hash would ask about other tickets in a replay of last month
    assert sorted(ticket_id for ticket_id in IDS[:100] if sampler().choose(ticket_id, "m", 0)) == [
        "t-11",
        "t-22",
        "t-23",
        "t-40",
        "t-52",
        "t-56",
    ]


def test_the_uniform_rate_is_the_rate_within_five_standard_errors() -> None:
    assert abs(len(chosen(sampler(), "random")) - 200) < 5 * (4000 * 0.05 * 0.95) ** 0.5


def test_a_lower_rate_chooses_a_subset() -> None:
    assert chosen(sampler(random_rate=0.02), "random") < chosen(sampler(), "random")


def test_another_salt_chooses_independently() -> None:
    other = chosen(sampler("other"), "random")
    # 5 % of 5 % of 4000 is 10
    assert 1 < len(other & chosen(sampler(), "random")) < 25


def test_the_requested_draw_leaves_the_uniform_one_as_it_was() -> None:
    both = sampler(requested_rate=0.5)
    assert chosen(both, "random") == chosen(sampler(), "random")
    assert not chosen(both, "random") & chosen(both, "requested")


def test_the_requested_draw_has_the_probability_that_it_states() -> None:
    both = sampler(random_rate=0.2, requested_rate=0.25)
    probabilities = {
        choice[1] for t in IDS if (choice := both.choose(t, "m", 0)) and choice[0] != "random"
    }
    assert sorted(probabilities) == pytest.approx([0.8 * 0.25])
    assert abs(len(chosen(both, "requested")) - 800) < 5 * (4000 * 0.2 * 0.8) ** 0.5


def test_the_weights_of_a_reason_estimate_the_whole_traffic() -> None:
    plan = SamplingPlan(random_rate=0.2, requested_rate=0.25, students={"m1": RISK})
    every = Sampler(plan, "k")
    for reason in ("random", "risky", "requested"):
        weights = [1 / c[1] for t in IDS if (c := every.choose(t, "m1", 2)) and c[0] == reason]
        assert sum(weights) == pytest.approx(len(IDS), rel=0.15), reason


@pytest.mark.parametrize("salt", ["", "x" * 200, "gr\u00fc\u00df\U0001f511"])
def test_any_text_is_a_salt(salt: str) -> None:
    assert sampler(salt, random_rate=1.0).choose("t-1", "m", 0) == Choice("random", 1.0)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_rate_that_is_no_probability_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="requested_rate"):
        SamplingPlan(random_rate=0.05, requested_rate=rate)


def test_a_segment_that_is_asked_less_of_than_all_traffic_is_refused() -> None:
    with pytest.raises(ValueError, match="channel=mail"):
        SamplingPlan(random_rate=0.05, segment_rates={"channel=mail": 0.01})


def test_nothing_and_everything_are_rates() -> None:
    assert not chosen(sampler(random_rate=0.0), "random")
    assert chosen(sampler(random_rate=1.0), "random") == set(IDS)


# --- strata --------------------------------------------------------------------------------


def test_tickets_are_asked_about_in_proportion_to_how_unsure_their_outcome_is() -> None:
    plan = SamplingPlan(random_rate=0.1, students={"m1": RISK})
    found = plan.strata("m1")
    assert [s.expected for s in found] == [0.01, 0.08, 0.3]
    assert [round(s.probability, 4) for s in found] == [0.0699, 0.1043, 0.1417]


def test_no_ticket_is_drawn_with_less_than_half_of_the_rate() -> None:
    certain = msgspec.structs.replace(RISK, levels=(0.0, 0.5, 1.0))
    plan = SamplingPlan(random_rate=0.1, students={"m1": certain})
    assert min(s.probability for s in plan.strata("m1")) == plan.floor("m1") == 0.05


def test_a_probability_is_at_most_one() -> None:
    plan = SamplingPlan(random_rate=0.9, students={"m1": RISK})
    assert plan.strata("m1")[-1].probability == 1.0


def test_below_the_floor_a_ticket_is_drawn_at_random_and_above_it_as_risky() -> None:
    active = Sampler(SamplingPlan(random_rate=0.1, students={"m1": RISK}), "k")
    low, high = (chosen(active, "risky", stratum=stratum) for stratum in (0, 2))
    assert low < high
    assert chosen(active, "random", stratum=2) == chosen(active, "random", stratum=0)
    assert chosen(active, "random") == chosen(sampler(random_rate=0.05), "random")
    assert chosen(active, "random") | low <= chosen(sampler(random_rate=0.0699001), "random")


def test_a_student_of_which_nothing_is_known_is_sampled_uniformly() -> None:
    plan = SamplingPlan(random_rate=0.1, students={"m1": RISK})
    assert plan.floor("m2") == 0.1
    assert plan.strata("m2") == ((None, 0.1),)
    assert plan.stratum(pair(model="m2")) == 0


def test_a_calibration_that_tells_no_tickets_apart_leaves_all_draws_uniform() -> None:
    flat = msgspec.structs.replace(RISK, edges=(), levels=(0.1,), spread=0.3)
    assert SamplingPlan(random_rate=0.1, students={"m1": flat}).floor("m1") == 0.1


def test_of_a_valued_segment_more_is_asked_but_the_uniform_draw_stays_uniform() -> None:
    plan = SamplingPlan(random_rate=0.05, segment_rates={"channel=mail": 0.2, "language=de": 0.1})
    segments = [
        ("*",),
        ("*", "channel=mail"),
        ("*", "language=de"),
        ("*", "channel=mail", "language=de"),
    ]
    strata = [plan.stratum(pair(segments=names)) for names in segments]
    assert [plan.strata("m1")[s].probability for s in strata] == [0.05, 0.2, 0.1, 0.2]
    one = Sampler(plan, "k")
    assert chosen(one, "random", stratum=strata[1]) == chosen(sampler(), "random")
    assert len(chosen(one, "risky", stratum=strata[1])) > 500


def test_each_pair_lies_in_the_stratum_of_its_level_and_its_rate() -> None:
    plan = SamplingPlan(
        random_rate=0.05, segment_rates={"channel=mail": 0.1}, students={"m1": RISK}
    )
    found = plan.strata("m1")
    sure = plan.stratum(pair(confidence=0.99))
    unsure = plan.stratum(pair(confidence=0.3, segments=("*", "channel=mail")))
    assert (found[sure].expected, found[unsure].expected) == (0.01, 0.3)
    assert found[unsure].probability == pytest.approx(
        2 * found[plan.stratum(pair(confidence=0.3))].probability
    )


def test_the_class_and_a_missing_confidence_count() -> None:
    assert RISK.level(0.9, "size") < RISK.level(0.9, "refund")
    assert RISK.level(None, "size") == 1
    assert RISK.level(None, "refund") == 2


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_a_surer_student_is_never_in_a_riskier_level(confidences: list[float]) -> None:
    levels = [RISK.level(c, "size") for c in sorted(confidences)]
    assert all(riskier >= surer for riskier, surer in pairwise(levels))


@pytest.mark.parametrize("confidence", [0.0, 1.0, 1e-300])
def test_certainty_is_finite(confidence: float) -> None:
    assert abs(log_odds(confidence)) < 14


def test_a_plan_survives_the_journal() -> None:
    plan = SamplingPlan(version=3, random_rate=0.05, students={"m1": RISK})
    assert plan.strata("m1")  # what is computed from a plan is no part of it
    again = msgspec.json.decode(msgspec.json.encode(plan), type=SamplingPlan)
    assert again == plan
    assert again.strata("m1") == plan.strata("m1")


# --- what the estimates rest on --------------------------------------------------------------

probabilities = st.floats(0.001, 1.0)
shares = st.floats(0.0, 1.0)
beliefs = st.builds(Belief, base=shares, trust=shares)


@given(shares, probabilities, beliefs, shares)
def test_the_mean_score_of_a_ticket_over_the_draw_is_its_loss(
    risk: float, probability: float, belief: Belief, loss: float
) -> None:
    g = expectation(risk, probability, belief)
    mean = probability * score(g, probability, loss) + (1 - probability) * score(
        g, probability, None
    )
    assert mean == pytest.approx(loss, abs=1e-9)


@given(shares, probabilities, beliefs, shares)
def test_no_score_lies_further_below_zero_than_stated(
    risk: float, probability: float, belief: Belief, loss: float
) -> None:
    g = expectation(risk, probability, belief)
    assert score(g, probability, loss) >= -DEEPEST * (1 + 1e-9)


def test_the_mean_score_is_the_mean_loss_under_any_plan() -> None:
    plan = SamplingPlan(random_rate=0.2, segment_rates={"channel=mail": 0.5}, students={"m1": RISK})
    strata, active = plan.strata("m1"), Sampler(plan, "k")
    total = variance = truth = 0.0
    for n, ticket_id in enumerate(IDS):
        segments = ("*", "channel=mail") if n % 5 == 0 else ("*",)
        stratum = plan.stratum(pair(confidence=(n % 97) / 97, segments=segments))
        loss = float(n % 11 == 0)  # the calibration knows nothing of it
        choice = active.choose(ticket_id, "m1", stratum)
        told = loss if choice and choice.reason in {"random", "risky"} else None
        expected, probability = strata[stratum]
        assert expected is not None
        g = expectation(expected, probability, Belief(0.02, 0.7))
        truth += loss
        total += score(g, probability, told)
        variance += (1 / probability - 1) * (loss - g) ** 2
    assert abs(total - truth) < 4 * variance**0.5
