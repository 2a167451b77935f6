"""The bounds keep their promise, and are not wider than they must be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import gammaln

from retrain.gates.bounds import (
    difference_lower,
    difference_upper,
    mean_lower,
    mean_upper,
    share_lower,
    share_upper,
)
from retrain.gates.evidence import increase_bounds, loss_bounds

ALPHA = 0.05


@pytest.mark.parametrize("n", [20, 100, 400])
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1, 0.5])
def test_the_upper_bound_of_a_share_misses_at_most_one_time_in_twenty(n: int, rate: float) -> None:
    counts = np.arange(n + 1)
    log_chance = (
        gammaln(n + 1)
        - gammaln(counts + 1)
        - gammaln(n - counts + 1)
        + counts * np.log(rate)
        + (n - counts) * np.log1p(-rate)
    )
    missed = [share_upper(int(k), n, ALPHA) < rate for k in counts]
    assert np.exp(log_chance)[missed].sum() <= ALPHA


def test_the_lower_bound_of_a_share_is_the_upper_one_of_its_complement() -> None:
    assert share_lower(7, 50, ALPHA) == pytest.approx(1.0 - share_upper(43, 50, ALPHA))
    assert share_upper(50, 50, ALPHA) == 1.0


@pytest.mark.parametrize("n", [120, 500])
@pytest.mark.parametrize("difference", [0.01, 0.05])
@pytest.mark.parametrize("better", [0.0, 0.01, 0.1])
def test_the_bound_of_a_paired_difference_misses_at_most_one_time_in_twenty(
    n: int, difference: float, better: float
) -> None:
    """All tables are enumerated, each with its exact probability: no simulation noise."""
    worse = better + difference
    tables = np.arange(int(n * (worse + better) + 60))
    only_a, only_b = (grid.ravel() for grid in np.meshgrid(tables, tables))
    inside = only_a + only_b <= n
    only_a, only_b = only_a[inside], only_b[inside]
    neither = n - only_a - only_b
    with np.errstate(divide="ignore", invalid="ignore"):
        log_chance = (
            gammaln(n + 1)
            - gammaln(only_a + 1)
            - gammaln(only_b + 1)
            - gammaln(neither + 1)
            + only_a * np.log(worse)
            + np.where(only_b > 0, only_b * np.log(better), 0.0)
            + neither * np.log1p(-worse - better)
        )
    chance = np.exp(log_chance)
    # the bound falls as `only_a` falls: search where it begins to miss, one row of tables a time
    missed = 0.0
    for b in np.unique(only_b):
        row = only_b == b
        ordered = np.argsort(only_a[row])
        counts, mass = only_a[row][ordered], chance[row][ordered]
        low, high = 0, len(counts)
        while low < high:
            middle = (low + high) // 2
            if difference_upper(int(counts[middle]), int(b), n, ALPHA) < difference:
                low = middle + 1
            else:
                high = middle
        missed += mass[:low].sum()
    assert missed <= ALPHA


def test_more_rows_narrow_the_bound_of_a_difference() -> None:
    widths = [difference_upper(k, k, 40 * k, ALPHA) for k in (2, 8, 32)]
    assert widths == sorted(widths, reverse=True)
    assert difference_lower(8, 8, 320, ALPHA) == pytest.approx(-widths[1])


def test_a_betting_bound_misses_rarely_on_graded_losses() -> None:
    draw = np.random.default_rng(3)
    missed = 0
    for _ in range(200):
        values = draw.beta(0.5, 4.5, 200)
        missed += mean_upper(values, np.ones(200), ALPHA) < 0.1
    assert missed <= 18  # 99.9 % quantile of a binomial of 200 at 0.05 is 20


def test_a_betting_bound_speaks_of_the_weighted_mean() -> None:
    # half of the traffic was drawn ten times as often, and it is the half that goes wrong
    values = np.tile([0.4] * 10 + [0.0], 200)
    weights = np.tile([0.1] * 10 + [1.0], 200)
    assert mean_lower(values, weights, ALPHA) < 0.2 < mean_upper(values, weights, ALPHA) < 0.26


def test_rows_drawn_at_unequal_rates_are_not_counted_as_if_they_were_equal() -> None:
    losses = np.tile([1.0] + [0.0] * 9, 60)
    even = loss_bounds(losses, np.ones(600), ALPHA)
    weights = np.where(losses == 1.0, 0.25, 1.0)
    uneven = loss_bounds(losses, weights, ALPHA)
    assert even.upper == share_upper(60, 600, ALPHA)
    assert uneven.estimate == pytest.approx(0.25 * 60 / (0.25 * 60 + 540))
    assert uneven.lower < uneven.estimate < uneven.upper < even.upper


def test_pairing_is_worth_more_than_two_separate_bounds() -> None:
    # both are wrong on the same hard tickets
    hard = np.tile([1.0] * 3 + [0.0] * 7, 50)
    one, other = hard.copy(), hard.copy()
    one[3], other[4] = 1.0, 1.0
    paired = increase_bounds(one, other, np.ones(500), ALPHA)
    assert paired.upper < 0.02
    alone = loss_bounds(one, np.ones(500), ALPHA)
    assert alone.upper - alone.estimate > 0.02


def test_graded_increases_have_bounds_around_them() -> None:
    draw = np.random.default_rng(4)
    base = draw.beta(1, 9, 800)
    found = increase_bounds(base * 0.5, base, np.ones(800), ALPHA)
    assert -0.2 < found.lower < found.estimate < found.upper < 0.0


def test_without_rows_anything_is_possible() -> None:
    nothing = np.array([])
    assert loss_bounds(nothing, nothing, ALPHA).upper == 1.0
    assert increase_bounds(nothing, nothing, nothing, ALPHA).upper == 1.0
