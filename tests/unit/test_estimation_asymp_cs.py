"""The band for weighted scores: its formula, and how often it misses while people look on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from monitor.estimation.asymp_cs import asymptotic_sequence, one_look
from monitor.estimation.beta_binomial import confidence_sequence
from schemas.windows import Moments

RUNS = 150
#: labels at which somebody looks
LOOKS = range(100, 3001, 100)


def scores(rate: float, probability: np.ndarray, seed: int) -> list[list[tuple[Moments, int]]]:
    """Moments and labels at each look, of each run: 2,000 tickets hold about 100 labels.

    Errors are where the plan expects them: half of the tickets have three times the others' rate.
    """
    rng = np.random.default_rng(seed)
    rates = np.array([0.5, 1.5]) * rate
    g = np.minimum(rates, 3 * probability / (1 - probability))
    x = np.concatenate([g, g - g / probability, g + (1 - g) / probability])
    found: list[list[tuple[Moments, int]]] = [[] for _ in range(RUNS)]
    counts = np.zeros((RUNS, 6))
    for _ in LOOKS:
        tickets = rng.multinomial(2000, [0.5, 0.5], size=RUNS)
        asked = rng.binomial(tickets, probability)
        wrong = rng.binomial(asked, rates)
        counts += np.concatenate([tickets - asked, asked - wrong, wrong], axis=1)
        sums = np.stack([counts.sum(axis=1), counts @ x, counts @ x**2], axis=1)
        for run, (n, total, squares) in enumerate(sums.tolist()):
            found[run].append((Moments(int(n), total, squares), int(counts[run, 2:].sum())))
    return found


@pytest.mark.parametrize("rate", [0.02, 0.08])
@pytest.mark.parametrize("probability", [(0.05, 0.05), (0.035, 0.065)])
def test_a_band_misses_the_rate_at_any_look_in_few_runs(
    rate: float, probability: tuple[float, float]
) -> None:
    missed = 0
    for run in scores(rate, np.array(probability), seed=4):
        bands = (asymptotic_sequence(seen, labels) for seen, labels in run)
        missed += any(not band.lower <= rate <= band.upper for band in bands)
    assert missed / RUNS <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / RUNS)


def test_one_look_misses_in_one_of_twenty_runs_and_looking_on_in_many() -> None:
    runs = scores(0.08, np.array([0.035, 0.065]), seed=5)
    misses = [
        [not one_look(*seen).lower <= 0.08 <= one_look(*seen).upper for seen in run] for run in runs
    ]
    assert 0.02 <= np.mean([run[-1] for run in misses]) <= 0.08
    assert np.mean([any(run) for run in misses]) > 0.15


def test_the_band_is_the_published_one() -> None:
    """Written out with t tickets and rho^2, for a variance that needs no correction."""
    n, labels, alpha = 1_000_000, 50_000, 0.05
    sums = Moments(n, 80_000.0, 1_600_000.0)
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / (20 * 5000)
    t = n * rho2 + 1
    half = math.sqrt(2 * t / (n**2 * rho2) * math.log(math.sqrt(t) / alpha))
    half *= math.sqrt(1.6 - 0.08**2)
    band = asymptotic_sequence(sums, labels, alpha)
    assert band.upper - band.estimate == pytest.approx(half, rel=1e-3)
    assert band.estimate - band.lower == pytest.approx(half, rel=1e-3)


def test_it_is_tightest_where_it_was_told_to_be() -> None:
    """Compared with the best of all bands at that number of labels."""

    def width(labels: int, tightest_at: int) -> float:
        sums = Moments(20 * labels, 1.6 * labels, 32.0 * labels)
        band = asymptotic_sequence(sums, labels, tightest_at=tightest_at)
        return band.upper - band.lower

    for labels in (500, 5000, 50_000):
        best = min((500, 5000, 50_000), key=lambda at: width(labels, at))
        assert best == labels


def test_a_hundred_labels_without_a_loss_are_not_certain() -> None:
    band = asymptotic_sequence(Moments(100, 0.0, 0.0), 100)
    assert band.lower == band.estimate == 0.0
    assert 0.02 < band.upper < 0.2


def test_it_is_about_as_wide_as_the_exact_one_on_plain_losses() -> None:
    exact, band = confidence_sequence(400, 5000), asymptotic_sequence(Moments(5000, 400, 400), 5000)
    assert band.estimate == exact.estimate
    assert (band.upper - band.lower) / (exact.upper - exact.lower) == pytest.approx(1, abs=0.15)


def test_bounds_stay_between_0_and_1() -> None:
    for total in (-5.0, 0.0, 250.0):
        for bounds in (
            asymptotic_sequence(Moments(200, total, 400.0), 100),
            one_look(Moments(200, total, 400.0), 100),
        ):
            assert 0 <= bounds.lower <= bounds.estimate <= bounds.upper <= 1
