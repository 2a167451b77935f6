from random import Random

import pytest

from monitor.estimation.calibration import MIN_LABELS, Trust
from monitor.sampling import Stratum

USUAL = Stratum(0.2, 0.5)


def told(losses: list[float], stratum: Stratum = USUAL) -> Trust:
    trust = Trust()
    for loss in losses:
        trust = trust.told(stratum, loss)
    return trust


@pytest.mark.parametrize(
    ("loss", "eta"),
    [
        (0.2, 1.0),  # as expected
        (0.1, 0.5),  # half of it
        (0.0, 0.0),  # nothing of it
        (0.9, 1.0),  # more than expected: never more than all trust
    ],
)
def test_expectations_are_trusted_as_far_as_they_held(loss: float, eta: float) -> None:
    assert told([loss] * MIN_LABELS).eta == pytest.approx(eta)


def test_nothing_is_trusted_before_there_are_enough_labels() -> None:
    assert told([0.2] * (MIN_LABELS - 1)).eta == 0.0


def test_what_was_not_expected_teaches_nothing() -> None:
    assert told([1.0] * 500, Stratum(None, 0.5)) == Trust()


def test_tickets_that_were_all_asked_about_leave_no_doubt_to_weigh() -> None:
    assert told([1.0] * 500, Stratum(0.2, 1.0)).eta == 0.0


def test_a_calibration_that_no_longer_holds_is_not_believed_for_long() -> None:
    held = told([0.2] * 20_000)
    assert held.eta == pytest.approx(1.0)
    for _ in range(3000):
        held = held.told(USUAL, 0.0)
    assert held.eta < 0.25


def test_the_coefficient_makes_the_scores_vary_least() -> None:
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

    def spread(eta: float) -> float:
        return sum((loss - eta * stratum.expected) ** 2 for stratum, loss in tickets)

    assert 0.4 < trust.eta < 0.95
    assert spread(trust.eta) < min(spread(trust.eta - 0.1), spread(trust.eta + 0.1))
