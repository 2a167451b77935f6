from random import Random

import pytest

from monitor.estimation.calibration import MIN_LABELS, Trust
from monitor.estimation.scores import Belief
from monitor.sampling import Stratum

SURE, USUAL, RISKY = (Stratum(g, 0.5) for g in (0.1, 0.2, 0.6))


def told(losses: dict[Stratum, float], times: int = 150, trust: Trust | None = None) -> Trust:
    """Labels of some strata in turn, each with its mean loss."""
    trust = trust or Trust()
    for _ in range(times):
        for stratum, loss in losses.items():
            trust = trust.told(stratum, loss)
    return trust


@pytest.mark.parametrize(
    ("sure", "risky", "base", "trust"),
    [
        (0.1, 0.6, 0.0, 1.0),  # as expected
        (0.05, 0.3, 0.0, 0.5),  # half of it
        (0.0, 0.0, 0.0, 0.0),  # nothing of it
        (0.08, 0.08, 0.08, 0.0),  # all alike: as bad as tickets are on average
        (0.2, 0.4, 0.16, 0.4),  # the worse ones are worse, but less so
        (0.3, 0.8, 0.2, 1.0),  # all worse than expected, by the same
        (0.3, 0.9, 0.25, 1.0),  # never more than all trust
        (0.5, 0.1, 0.3, 0.0),  # the wrong way round
        (0.0, 0.5, 0.0, 30 / 37),  # never less than nothing is expected of a ticket
    ],
)
def test_expectations_are_trusted_as_far_as_they_held(
    sure: float, risky: float, base: float, trust: float
) -> None:
    found = told({SURE: sure, RISKY: risky}).belief
    assert found == pytest.approx((base, trust), abs=2e-3)


def test_where_all_tickets_are_expected_to_be_alike_their_mean_is_believed() -> None:
    assert told({USUAL: 0.07}, 300).belief == pytest.approx((0.07, 0.0))


def test_nothing_is_trusted_before_there_are_enough_labels() -> None:
    assert told({USUAL: 0.2}, MIN_LABELS - 1).belief == Belief(0.0, 0.0)


def test_what_was_not_expected_teaches_nothing() -> None:
    assert told({Stratum(None, 0.5): 1.0}, 500) == Trust()


def test_tickets_that_were_all_asked_about_leave_no_doubt_to_weigh() -> None:
    assert told({Stratum(0.2, 1.0): 1.0}, 500).belief == Belief(0.0, 0.0)


def test_a_calibration_that_no_longer_holds_is_not_believed_for_long() -> None:
    held = told({SURE: 0.1, RISKY: 0.6}, 10_000)
    assert held.belief == pytest.approx((0.0, 1.0), abs=1e-6)
    stale = told({SURE: 0.2, RISKY: 0.2}, 1500, held).belief
    assert stale.trust < 0.25
    assert stale.base == pytest.approx(0.2, abs=0.05)


def test_the_line_makes_the_scores_vary_least() -> None:
    # losses that follow the expectation only in part: half of the tickets err at the mean rate
    random = Random(9)
    strata = [Stratum(g, 0.1) for g in (0.02, 0.1, 0.25)]
    tickets = []
    for _ in range(3000):
        stratum = random.choice(strata)
        risk = stratum.expected if random.random() < 0.5 else 0.12
        tickets.append((stratum, float(random.random() < risk)))
    trust = Trust()
    for stratum, loss in tickets:
        trust = trust.told(stratum, loss)

    def spread(base: float, trust: float) -> float:
        return sum((loss - base - trust * stratum.expected) ** 2 for stratum, loss in tickets)

    base, slope = trust.belief
    assert 0.3 < slope < 0.9
    nearby = [(-0.03, 0.0), (0.03, 0.0), (0.0, -0.2), (0.0, 0.2)]
    assert spread(base, slope) < min(spread(base + up, slope + more) for up, more in nearby)
