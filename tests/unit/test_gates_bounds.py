"""The bounds keep their promise at every look, and are not wider than they must be."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.special import gammaln

from retrain.gates.bounds import REFUSING, log_money, mean_bounds, rows_needed

ALPHA = 0.05


def expected_money(values: list[float], chances: list[float], highest: float, n: int) -> float:
    """Return the expectation of the money after n bets against the true mean, without chance."""
    mean = float(np.dot(values, chances))
    rows = np.array([values, np.ones(len(values))])
    total = 0.0
    for counts in itertools.product(range(n + 1), repeat=len(values)):
        if sum(counts) != n:
            continue
        ways = gammaln(n + 1) - gammaln(np.array(counts) + 1).sum()
        log_chance = ways + np.dot(counts, np.log(chances))
        total += math.exp(log_chance + log_money(rows, np.array(counts), mean, highest))
    return total


@pytest.mark.parametrize("n", [1, 7, 20])
@pytest.mark.parametrize(
    ("values", "chances", "highest"),
    [
        ([0.0, 1.0], [0.9, 0.1], 1.0),
        ([-1.0, 0.0], [0.02, 0.98], 0.0),
        ([-1.0, 0.0, 1.0], [0.1, 0.86, 0.04], 1.0),
        ([0.0, 0.3, 0.7], [0.5, 0.3, 0.2], 1.0),
    ],
)
def test_a_gambler_gains_nothing_on_average_from_what_is_true(
    values: list[float], chances: list[float], highest: float, n: int
) -> None:
    """By Ville's inequality this is the promise: 1/alpha is ever reached with probability alpha."""
    assert expected_money(values, chances, highest, n) == pytest.approx(1.0)


def test_a_mean_is_ruled_out_when_the_money_says_so() -> None:
    rows, counts = np.array([[0.0, 1.0], [1.0, 1.0]]), np.array([180, 20])
    found = mean_bounds(np.repeat(rows[0], counts), np.ones(200), ALPHA)
    assert log_money(rows, counts, found.upper, 1.0) == pytest.approx(-math.log(ALPHA))
    below = log_money(rows * [[-1.0], [1.0]], counts, -found.lower, 0.0)
    assert below == pytest.approx(-math.log(REFUSING * ALPHA))


def test_the_order_of_rows_does_not_count() -> None:
    draw = np.random.default_rng(4)
    values, weights = draw.random(300), draw.choice([0.5, 1.0], 300)
    order = draw.permutation(300)
    one = mean_bounds(values, weights, ALPHA)
    other = mean_bounds(values[order], weights[order], ALPHA)
    assert (one.lower, one.upper) == pytest.approx((other.lower, other.upper))


def test_a_bound_speaks_of_the_weighted_mean() -> None:
    # half of the traffic was drawn ten times as often, and it is the half that goes wrong
    values = np.tile([0.4] * 10 + [0.0], 200)
    weights = np.tile([0.1] * 10 + [1.0], 200)
    found = mean_bounds(values, weights, ALPHA)
    assert found.estimate == pytest.approx(0.2)
    assert 0.17 < found.lower < 0.2 < found.upper < 0.24


def test_pairing_is_worth_more_than_two_separate_bounds() -> None:
    # both are wrong on the same hard tickets
    hard = np.tile([1.0] * 3 + [0.0] * 7, 50)
    one, other = hard.copy(), hard.copy()
    one[3], other[4] = 1.0, 1.0
    assert mean_bounds(one - other, np.ones(500), ALPHA, lowest=-1.0).upper < 0.02
    alone = mean_bounds(one, np.ones(500), ALPHA)
    assert alone.upper - alone.estimate > 0.02


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_more_rows_narrow_the_bounds_around_the_estimate(scale: float) -> None:
    spans = []
    for n in (30, 100, 1000):
        values = scale * np.tile([1.0] + [0.0] * 9, n)
        found = mean_bounds(values, np.ones(len(values)), ALPHA)
        assert 0.0 <= found.lower < found.estimate < found.upper <= 1.0
        spans.append(found.upper - found.lower)
    assert spans == sorted(spans, reverse=True)
    assert spans[-1] < 0.04 * scale**0.5


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
def test_rows_that_are_all_alike_have_bounds_on_one_side_of_them(value: float) -> None:
    found = mean_bounds(np.full(200, value), np.ones(200), ALPHA, lowest=-1.0)
    assert -1.0 <= found.lower <= value <= found.upper <= 1.0
    assert found.upper - found.lower < 0.1


def test_without_rows_anything_is_possible() -> None:
    found = mean_bounds(np.array([]), np.array([]), ALPHA, lowest=-1.0)
    assert (found.lower, found.estimate, found.upper) == (-1.0, 0.0, 1.0)


@pytest.mark.parametrize(("loss", "limit"), [(0.0, 0.1), (0.02, 0.1), (0.03, 0.05)])
def test_the_rows_that_are_said_to_be_needed_are_about_enough(loss: float, limit: float) -> None:
    needed = rows_needed(loss, limit, ALPHA)
    assert needed is not None
    for n, within in ((needed, True), (needed // 2, False)):
        values = (np.arange(n) < round(loss * n)) * 1.0
        assert (mean_bounds(values, np.ones(n), ALPHA).upper <= limit) == within


def test_nobody_is_told_to_wait_for_labels_that_will_not_help() -> None:
    assert rows_needed(0.1, 0.1, ALPHA) is None
    assert rows_needed(0.2, 0.1, ALPHA) is None
