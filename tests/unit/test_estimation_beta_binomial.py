"""The intervals: against their definition, and by simulation under continuous peeking."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import bdtr, bdtrc

from monitor.estimation.beta_binomial import clopper_pearson, confidence_sequence
from schemas.signals import Interval

Bounds = Callable[[float, int, float], Interval]

#: moments at which somebody looks, between the first label and the 2,000th
LOOKS = np.unique(np.geomspace(1, 2000, 40).astype(int))
STREAMS = 400


def share_that_ever_misses(bounds: Bounds, losses: np.ndarray, rate: float, alpha: float) -> float:
    """Return the share of streams whose bounds exclude the rate at one look at least."""
    remembered = cache(bounds)
    totals = np.cumsum(losses, axis=1)
    missed = np.zeros(len(losses), dtype=bool)
    for n in LOOKS:
        for stream in np.flatnonzero(~missed):
            seen = remembered(round(float(totals[stream, n - 1]), 6), int(n), alpha)
            missed[stream] = not seen.lower <= rate <= seen.upper
    return float(missed.mean())


@pytest.mark.parametrize("rate", [0.03, 0.1, 0.5])
def test_the_sequence_covers_the_rate_however_often_one_looks(rate: float) -> None:
    losses = np.random.default_rng(7).random((STREAMS, 2000)) < rate
    missed = share_that_ever_misses(confidence_sequence, losses, rate, 0.1)
    assert missed <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / STREAMS)


def test_one_look_bounds_do_not_survive_peeking_so_that_the_test_above_can_fail() -> None:
    losses = np.random.default_rng(7).random((STREAMS, 2000)) < 0.1
    assert share_that_ever_misses(clopper_pearson, losses, 0.1, 0.1) > 0.25


def test_the_sequence_covers_the_mean_of_graded_losses() -> None:
    losses = np.random.default_rng(8).beta(0.3, 2.7, size=(40, 2000))
    assert share_that_ever_misses(confidence_sequence, losses, 0.1, 0.1) <= 0.1 + 0.14


@pytest.mark.parametrize(("total", "n"), [(3, 40), (18, 100), (12.5, 60)])
def test_an_edge_is_where_the_mixture_likelihood_ratio_reaches_one_over_alpha(
    total: float, n: int
) -> None:
    seen = confidence_sequence(total, n, 0.05)
    for rate in (seen.lower, seen.upper):
        p = np.linspace(0, 1, 20_001)
        ratio = (p / rate) ** total * ((1 - p) / (1 - rate)) ** (n - total)
        mixture = np.trapezoid(ratio * 9 * (1 - p) ** 8, p)  # Beta(1, 9)
        assert mixture == pytest.approx(20, rel=1e-6)


@pytest.mark.parametrize(("total", "n"), [(1, 10), (18, 100)])
def test_a_one_look_bound_leaves_half_of_alpha_on_each_side(total: int, n: int) -> None:
    seen = clopper_pearson(total, n, 0.05)
    assert bdtrc(total - 1, n, seen.lower) == pytest.approx(0.025)
    assert bdtr(total, n, seen.upper) == pytest.approx(0.025)


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.floats(0, n), st.just(n))))
def test_bounds_lie_in_order_around_the_mean(seen: tuple[float, int]) -> None:
    total, n = seen
    for bounds in (confidence_sequence(total, n), clopper_pearson(total, n)):
        assert 0 <= bounds.lower <= bounds.estimate <= bounds.upper <= 1
        assert bounds.estimate == total / n


@pytest.mark.parametrize("bounds", [confidence_sequence, clopper_pearson])
def test_no_loss_and_nothing_but_losses_reach_the_ends(bounds: Bounds) -> None:
    assert bounds(0, 50, 0.05).lower == 0
    assert bounds(50, 50, 0.05).upper == 1


def test_looking_often_costs_width() -> None:
    often, once = confidence_sequence(80, 1000), clopper_pearson(80, 1000)
    assert often.lower < once.lower
    assert once.upper < often.upper


@pytest.mark.parametrize("bounds", [confidence_sequence, clopper_pearson])
@pytest.mark.parametrize(("total", "n"), [(0, 0), (5, 4), (-1, 4), (math.nan, 4)])
def test_counts_that_cannot_be_are_refused(bounds: Bounds, total: float, n: int) -> None:
    with pytest.raises(ValueError, match="losses"):
        bounds(total, n, 0.05)
