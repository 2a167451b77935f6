"""The figures of `bench_labels` on little data: wide enough for chance, too narrow for a wrong formula."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench import bench_labels as bench

RUNS = 20


def test_the_form_for_many_tickets_expects_and_asks_as_the_shipped_code_does() -> None:
    assert bench.disagreements() == []


@pytest.fixture(scope="module")
def fresh() -> dict[str, bench.Found]:
    return bench.measure(bench.sure, "fresh", RUNS)


def test_a_confidence_that_tells_right_from_wrong_saves_a_third_of_the_labels(
    fresh: dict[str, bench.Found],
) -> None:
    """T6: 1,830 labels for +-1 point at 8 %, where the mean of uniform labels needs 2,830."""
    assert 1700 < fresh["shipped"].median < 1950
    assert 2600 < fresh["uniform"].median < 3000


def test_expecting_something_is_what_saves_half_of_them(fresh: dict[str, bench.Found]) -> None:
    assert fresh["weights only"].median > fresh["shipped"].median + 200


def test_a_calibration_that_holds_in_half_of_the_tickets_still_costs_nothing() -> None:
    half = bench.measure(bench.sure, "half", RUNS)
    assert half["shipped"].median < half["uniform"].median
    assert half["confidence as stated"].median > half["shipped"].median + 100
    # the floor is what bounds the harm
    assert half["without a floor"].median > half["uniform"].median + 500


def test_where_the_confidence_means_nothing_any_more_the_mean_is_expected_of_all() -> None:
    """2,820 uniform labels become 3,200, the price of the draw; 3,380 if g could only shrink."""
    none = bench.measure(bench.sure, "none", RUNS)
    assert none["shipped"].median < none["without trust"].median - 140
    assert none["shipped"].median < 1.18 * none["uniform"].median


def test_intervals_hold_the_truth_as_often_as_they_say(fresh: dict[str, bench.Found]) -> None:
    """0.95, less three standard errors of so many runs."""
    every = [found.covered for found in fresh.values()]
    assert np.concatenate(every).mean() > 0.95 - 3 * (0.05 / (RUNS * len(every))) ** 0.5
