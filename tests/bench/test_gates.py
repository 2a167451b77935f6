"""The figures of `bench_gates` on little data: wide enough for chance, too narrow for a wrong formula."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench import bench_gates as bench

RUNS = 100
#: 99.9 % quantile of a binomial of so many runs at 5 %, as a share
OFTEN = 0.13


def mean(rows: np.ndarray) -> float:
    """Mean rows, where nobody waits for ever."""
    return float(np.minimum(rows, bench.MOST).mean())


def test_the_form_for_many_runs_says_what_the_gates_say() -> None:
    assert bench.disagreements() == 0


@pytest.mark.parametrize("name", bench.AT_LIMIT)
def test_a_student_at_the_limit_rarely_passes_though_every_row_is_looked_at(name: str) -> None:
    ours, peer = bench.ever_passes(name, 1000, RUNS)
    assert ours <= OFTEN < 0.25 < peer


@pytest.mark.parametrize("name", bench.WEIGHTED)
def test_nor_does_it_where_labels_were_drawn_at_several_rates(name: str) -> None:
    assert bench.ever_passes_weighted(bench.WEIGHTED[name], 40) <= 0.2


@pytest.mark.parametrize(
    ("pair", "margin", "low", "high"),
    [
        (bench.BETTER, 0.0, 20, 38),
        (bench.BETTER, 0.02, 4, 10),
        (bench.EQUAL, 0.02, 20, 45),
        (bench.EQUAL, 0.01, 80, 200),
    ],
)
def test_few_tickets_on_which_two_students_differ_tell_them_apart(
    pair: bench.Pair, margin: float, low: float, high: float
) -> None:
    assert low < np.median(bench.differing_labels(pair, margin, RUNS, 6000)) < high


@pytest.mark.parametrize(
    ("title", "share"),
    [
        ("6 % after 8 %", 0.9),
        ("6 % after 6 %, differing on 4 %", 0.75),
        ("4 % after 4 %, differing on 1 %", 0.7),
    ],
)
def test_with_a_small_hold_out_bets_take_fewer_rows_than_exact_bounds_that_share_their_error(
    title: str, share: float
) -> None:
    rows = dict(bench.ways(bench.WORLDS[title], 80, RUNS))
    assert mean(rows["bets"]) < share * mean(rows["exact, shared"])


def test_exact_bounds_that_spend_all_their_error_at_each_look_break_the_promise() -> None:
    rows = dict(bench.ways(bench.WORLDS["at the margin: 7 % after 5 %"], 80, RUNS))
    assert np.isfinite(rows["exact, 5 % a look"]).mean() > OFTEN
    assert np.isfinite(rows["bets"]).mean() <= OFTEN
