import pytest

from monitor.sampling import SamplingPlan, choose

IDS = [f"t-{number}" for number in range(20_000)]


def plan(**rates: float) -> SamplingPlan:
    return SamplingPlan(salt="k", **({"random_rate": 0.05} | rates))


def chosen(of: SamplingPlan, reason: str) -> set[str]:
    choices = {ticket_id: choose(of, ticket_id) for ticket_id in IDS}
    return {ticket_id for ticket_id, choice in choices.items() if choice and choice[0] == reason}


def test_a_replay_chooses_the_same_tickets() -> None:
    assert chosen(plan(), "random") == chosen(plan(), "random")


def test_the_choice_of_today_is_the_choice_of_ever() -> None:
    # a change of the hash would ask about other tickets in a replay of last month
    assert sorted(ticket_id for ticket_id in IDS[:100] if choose(plan(), ticket_id)) == [
        "t-11",
        "t-22",
        "t-23",
        "t-40",
        "t-52",
        "t-56",
    ]


def test_the_uniform_rate_is_the_rate_within_five_standard_errors() -> None:
    assert abs(len(chosen(plan(), "random")) - 1000) < 5 * (20_000 * 0.05 * 0.95) ** 0.5


def test_a_lower_rate_chooses_a_subset() -> None:
    assert chosen(plan(random_rate=0.02), "random") < chosen(plan(), "random")


def test_another_salt_chooses_independently() -> None:
    other = {t for t in IDS if choose(SamplingPlan(salt="other", random_rate=0.05), t)}
    # 5 % of 5 % of 20 000 is 50
    assert 15 < len(other & chosen(plan(), "random")) < 100


def test_the_requested_draw_leaves_the_uniform_one_as_it_was() -> None:
    both = plan(requested_rate=0.5)
    assert chosen(both, "random") == chosen(plan(), "random")
    assert not chosen(both, "random") & chosen(both, "requested")


def test_the_requested_draw_has_the_probability_that_it_states() -> None:
    both = plan(random_rate=0.2, requested_rate=0.25)
    probabilities = {
        choice[1] for t in IDS if (choice := choose(both, t)) and choice[0] != "random"
    }
    assert sorted(probabilities) == pytest.approx([0.8 * 0.25])
    assert abs(len(chosen(both, "requested")) - 4000) < 5 * (20_000 * 0.2 * 0.8) ** 0.5


def test_the_weights_of_a_reason_estimate_the_whole_traffic() -> None:
    both = plan(random_rate=0.2, requested_rate=0.25)
    for reason in ("random", "requested"):
        weights = [1 / c[1] for t in IDS if (c := choose(both, t)) and c[0] == reason]
        assert sum(weights) == pytest.approx(len(IDS), rel=0.06)


@pytest.mark.parametrize("salt", ["", "x" * 200, "gr\u00fc\u00df\U0001f511"])
def test_any_text_is_a_salt(salt: str) -> None:
    assert choose(SamplingPlan(salt=salt, random_rate=1.0), "t-1") == ("random", 1.0)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_rate_that_is_no_probability_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="requested_rate"):
        plan(requested_rate=rate)


def test_nothing_and_everything_are_rates() -> None:
    assert not any(choose(plan(random_rate=0.0), t) for t in IDS[:500])
    assert all(choose(plan(random_rate=1.0), t) for t in IDS[:500])
