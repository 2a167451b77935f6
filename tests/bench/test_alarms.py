"""The figures of `bench_alarms` on little data: wide enough for chance, too narrow for a wrong formula."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench import bench_alarms as bench
from tests.bench.engines import (
    ALPHA,
    DELTA,
    WARNED,
    change_on_labels,
    disagreements,
    level_on_labels,
)
from tests.bench.peers import STEP, latched, of_river
from tests.bench.streams import active_plan, base_world, concept, covariate, draw, uniform_plan

SIZE = bench.SIZES["small"]._replace(ticket_runs=40)
RUNS = 100


def delay(first: np.ndarray, at: int) -> float:
    """Median labels from the step to the alarm."""
    return bench.median(latched(first, at) - at + 1)


def stepped(before: float, after: float, at: int, labels: int) -> np.ndarray:
    return draw(np.repeat([before, after], [at, labels]), RUNS, seed=3)


def test_the_forms_for_many_runs_find_what_the_shipped_detectors_find() -> None:
    assert disagreements() == []


@pytest.mark.parametrize("tolerance", [0.04, 0.1])
def test_false_pages_at_the_tolerance_stay_below_their_probability_and_use_it(
    tolerance: float,
) -> None:
    """At 20 % ever, so that a hundred runs show it: at the 1 % that ships they would show none."""
    pages = level_on_labels(draw(np.full(20_000, tolerance), RUNS, seed=1), tolerance, 1 / 0.2)
    assert 0.04 <= np.isfinite(pages).mean() <= 0.2


@pytest.mark.parametrize(
    ("before", "after", "at", "low", "high"),
    [(0.08, 0.16, STEP, 560, 900), (0.08, 0.24, STEP, 130, 210), (0.08, 0.24, 20_000, 150, 260)],
)
def test_level_pages_as_fast_as_it_did(
    before: float, after: float, at: int, low: float, high: float
) -> None:
    assert low < delay(level_on_labels(stepped(before, after, at, 3000), 0.1), at) < high


@pytest.mark.parametrize(("after", "low", "high"), [(0.16, 230, 380), (0.24, 75, 125)])
def test_change_warns_as_fast_as_it_did(after: float, low: float, high: float) -> None:
    assert low < delay(change_on_labels(stepped(0.08, after, STEP, 2000), 0.0), STEP) < high


def test_change_warns_falsely_less_often_than_it_says() -> None:
    """At a tenth of the threshold: 20,000 labels hold as many false warnings as 200,000 do."""
    calm = draw(np.full(20_000, 0.08), RUNS, seed=5)
    warned = np.isfinite(change_on_labels(calm, 0.0, WARNED / 10)).mean()
    assert 0.02 <= warned <= 0.1
    assert not np.isfinite(change_on_labels(calm, 0.2, WARNED / 10)).any()


def test_labels_go_further_where_the_confidence_says_who_is_wrong() -> None:
    """T2 and T4: 450 and 210 labels after a covariate step, 650 and 280 after new errors."""
    base = base_world(0.08)
    bands = {
        "level": ((covariate(base, 0.16), 380, 620), (concept(base, 0.16), 500, 840)),
        "change, slack 0": ((covariate(base, 0.16), 150, 270), (concept(base, 0.16), 210, 370)),
    }
    for name, cases in bands.items():
        build, needed = bench.FORMS[name]
        for world, low, high in cases:
            measured = bench.ticket_delay(build, needed, active_plan(base), world, SIZE)
            assert low < bench.median(measured) < high, name
    build, needed = bench.FORMS["level"]
    world = concept(base, 0.16)
    alike = bench.ticket_delay(build, needed, uniform_plan(0.1), world, SIZE)
    assert 560 < bench.median(alike) < 900


def test_another_sampling_policy_alarms_those_who_know_no_weights() -> None:
    """T5: from uniform to active at a constant rate."""
    from river.drift import ADWIN

    base = base_world(0.08)
    plans = (uniform_plan(0.1), active_plan(base))
    for build, needed in bench.FORMS.values():
        courses = [bench.Course(base, plan, 500) for plan in plans]
        assert bench.ticket_null(build, needed, courses, SIZE) <= 0.05
    rates = np.repeat([0.08, plans[1].rate_among_labels(base)], 8000)
    assert np.isfinite(of_river(ADWIN)(draw(rates, 20, 7), 0.1, 0)).mean() > 0.4


def test_of_100_segments_none_pages_falsely_and_the_bad_one_soon() -> None:
    figures = bench.segments(SIZE)
    assert figures.any_page <= 0.06
    measured = bench.median(figures.delay["level, as one of 100"])
    assert 170 < measured < 290
    assert bench.median(figures.delay["level, alone"]) < measured


def test_a_state_is_small_and_order_within_a_block_means_nothing() -> None:
    costs = bench.cost()
    assert costs.state_bytes < 300
    assert costs.difference < 1e-9


def test_the_false_alarm_probability_of_the_bench_is_the_one_that_ships() -> None:
    from monitor.detectors.change import ChangeSettings
    from monitor.detectors.level import LevelSettings

    assert LevelSettings(tolerance=0.1).delta == DELTA
    assert ChangeSettings().alpha == ALPHA
