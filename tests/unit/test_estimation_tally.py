"""What a closed window says of its tickets, labelled or not."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.estimation.scores import DEEPEST, Belief
from monitor.estimation.tally import Drawn, Tally, tally
from monitor.sampling import Stratum
from schemas.windows import Moments, WindowSummary

PRIOR = 0.1
UNIFORM = (Stratum(None, 0.05),)
ACTIVE = (Stratum(0.02, 0.04), Stratum(0.5, 0.2))


def window(counts: dict[int, int], segment: str = "*", key: str = "1/m1") -> WindowSummary:
    return WindowSummary(segment=segment, start=600.0, length=600.0, strata={key: counts})


def told(loss: float | None, stratum: int = 0, *, segments: Sequence[str] = ("*",)) -> Drawn:
    return Drawn(1, "m1", stratum, tuple(segments), uniform=True, loss=loss)


def say(
    summary: WindowSummary,
    drawn: Sequence[Drawn],
    strata: tuple[Stratum, ...] = UNIFORM,
    belief: Belief | None = None,
) -> Tally:
    (found,) = tally(summary, drawn, lambda *_: strata, prior=PRIOR, belief=lambda _: belief)
    return found


def test_a_ticket_that_nobody_asked_about_says_what_was_expected_of_it() -> None:
    found = say(window({0: 200}), [])
    assert found.scores.values == ((PRIOR, 200),)
    assert found.scores.uniform
    assert (found.scores.at, found.scores.labels) == (1200.0, 0)


def test_a_label_corrects_what_was_expected_by_the_odds_of_asking() -> None:
    found = say(window({0: 200}), [told(1.0), told(0.0)])
    right, wrong = PRIOR - PRIOR / 0.05, PRIOR + 0.9 / 0.05
    assert found.scores.values == ((right, 1), (PRIOR, 198), (wrong, 1))
    assert found.scores.lowest == pytest.approx(-right)
    assert found.uniform == Moments(2, 1.0, 1.0)


def test_a_label_that_was_lost_leaves_the_ticket_as_if_it_had_not_been_drawn() -> None:
    found = say(window({0: 200}), [told(None)])
    assert found.scores.values == ((PRIOR, 200),)
    assert (found.scores.labels, found.scores.lost) == (0, 1)


def test_a_calibration_counts_once_it_is_trusted() -> None:
    summary = window({0: 90, 1: 10})
    assert say(summary, [], ACTIVE).scores.values == ((PRIOR, 100),)
    trusted = say(summary, [], ACTIVE, Belief(0.0, 1.0)).scores
    assert trusted.values == ((0.02, 90), (0.5, 10))
    assert not trusted.uniform, "two probabilities"


def test_a_segment_counts_its_own_labels_only() -> None:
    mail = window({0: 50}, segment="channel=mail")
    drawn = [told(1.0, segments=("*", "channel=mail")), told(1.0, segments=("*", "channel=chat"))]
    assert say(mail, drawn).scores.labels == 1


def test_students_and_plans_of_one_window_are_kept_apart() -> None:
    both = WindowSummary(
        segment="*",
        start=0.0,
        length=600.0,
        strata={"1/m1": {0: 5}, "2/m1": {0: 7}, "2/m/2": {0: 3}},
    )
    found = tally(both, [], lambda *_: UNIFORM, prior=PRIOR, belief=lambda _: None)
    assert {one.model: one.scores.moments.n for one in found} == {"m1": 12, "m/2": 3}


strata = st.builds(
    Stratum,
    expected=st.one_of(st.none(), st.floats(0.001, 0.999)),
    probability=st.floats(0.02, 1.0),
)
beliefs = st.builds(Belief, base=st.floats(0, 1), trust=st.floats(0, 1))


@given(st.lists(st.tuples(strata, st.floats(0, 1)), min_size=1, max_size=4), beliefs)
def test_the_mean_over_all_draws_is_the_mean_loss_under_any_policy(
    tickets: list[tuple[Stratum, float]], belief: Belief
) -> None:
    """Exactly: each of the 2^n draws with its probability, one ticket a stratum."""
    table = tuple(stratum for stratum, _ in tickets)
    summary = window(dict.fromkeys(range(len(tickets)), 1))
    mean = 0.0
    for draw in product((False, True), repeat=len(tickets)):
        chance = 1.0
        for chosen, (stratum, _) in zip(draw, tickets, strict=True):
            chance *= stratum.probability if chosen else 1 - stratum.probability
        asked = [told(loss, n) for n, (_, loss) in enumerate(tickets) if draw[n]]
        mean += chance * say(summary, asked, table, belief).scores.moments.total
    assert mean == pytest.approx(sum(loss for _, loss in tickets), abs=1e-9)


@given(strata, st.floats(0, 1), beliefs)
def test_no_score_lies_below_what_the_plan_allows(
    stratum: Stratum, loss: float, belief: Belief
) -> None:
    scores = say(window({0: 1}), [told(loss)], (stratum,), belief).scores
    assert scores.usable
    if stratum.expected is not None:
        assert scores.lowest <= DEEPEST + 1e-9
