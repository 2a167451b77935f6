"""The figures of `bench_gold` on little data: wide enough for chance, too narrow for a wrong formula."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from monitor.gold import DISAGREED, gold_probability
from tests.bench import bench_gold as bench

RUNS = 30
SHARES = bench.mix(0.02)
POOR = bench.Mix(0.17, 0.09, 0.04)
#: at which some 900 tickets are shown to people
RATE = 900 / (bench.LABELS * (1 + (DISAGREED - 1) * (SHARES.teacher + SHARES.student)))


@cache
def row(who: str, *, active: bool = False, poor: bool = False) -> bench.Row:
    return bench.measure(POOR if poor else SHARES, RATE, RUNS, who=who, active=active)


ROWS = [
    {"who": "student"},
    {"who": "student", "active": True},
    {"who": "teacher"},
    {"who": "teacher", "active": True},
    {"who": "student", "poor": True},
]


@pytest.mark.parametrize("which", ROWS, ids=str)
def test_the_estimate_is_unbiased_and_its_interval_as_wide_as_it_errs(which: dict) -> None:
    found = row(**which)
    assert abs(found.bias) < 4 * found.bias_error
    # 1.96 standard deviations of the runs themselves: of 30 runs known to a half
    assert 0.65 < found.half_width / (1.96 * found.bias_error * RUNS**0.5) < 1.6
    assert found.coverage >= 0.85


def test_a_student_is_known_to_a_point_by_900_answers() -> None:
    """T8: people's answers alone take 3,146."""
    found = row("student")
    assert 0.0088 < found.half_width < 0.01
    assert 880 < found.answers < 915
    assert bench.alone(bench.STUDENT_ERROR) == pytest.approx(3146, abs=1)


@pytest.mark.parametrize(("error", "answers"), [(0.01, 398), (0.02, 767), (0.05, 1712)])
def test_the_better_the_teacher_the_fewer_people_it_takes(error: float, answers: int) -> None:
    needed = bench.answers_needed(bench.mix(error))
    assert needed == pytest.approx(answers, rel=0.01)
    assert needed < 0.95 * bench.answers_needed(bench.mix(error), factor=1.0)
    assert needed < 1.04 * bench.best_split(bench.mix(error))


def test_the_bench_shows_tickets_to_people_as_the_product_does() -> None:
    assert gold_probability(0.05, 1.0) == 0.05 * DISAGREED
    assert gold_probability(0.05, 0.0) == 0.05


def test_a_teacher_that_is_taken_at_its_word_biases_the_estimate() -> None:
    found = bench.measure(SHARES, RATE, 10, estimate=bench.taken_at_its_word)
    assert found.bias == pytest.approx(-0.0068, abs=0.002)


@pytest.mark.parametrize(("shares", "times"), [(SHARES, 1.58), (POOR, 1.555)], ids=["good", "poor"])
def test_the_band_for_any_number_of_looks_costs_a_good_half_of_the_width(
    shares: bench.Mix, times: float
) -> None:
    rng = np.random.default_rng(1)
    sample = bench.draw(rng, shares, bench.LABELS, active=False)
    shown, rho = bench.check(rng, sample, RATE)
    band = bench.bounds(
        bench._rows(sample, shown, rho), list(sample.student[shown]), bench._labels(sample)
    )
    assert band is not None
    alone = 1.96 * bench.line(sample, shown, rho, sample.student).variance ** 0.5
    assert (band.upper - band.lower) / 2 == pytest.approx(times * alone, rel=0.03)
    assert band.lower < shares.student_error < band.upper


def test_canaries_that_waver_say_nothing_and_those_that_changed_say_it_soon() -> None:
    assert bench.canaries(40, changed=0.0).found <= 0.05
    assert bench.canaries(20, changed=0.20) == bench.Weeks(1.0, 1.0, 1.0)
    faint = bench.canaries(20, changed=0.05)
    assert faint.found == 1.0
    assert 2 <= faint.median <= 5
