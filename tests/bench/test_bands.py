"""The figures of `bench_bands` on little data: wide enough for chance, too narrow for a wrong formula."""

from __future__ import annotations

from functools import cache

import pytest

from tests.bench import bench_bands as bench
from tests.bench.streams import active_plan, base_world, uniform_plan

SIZE = bench.Size(labels=3000, runs=60)
#: 99.9 % quantile of a binomial of so many runs at 5 %, as a share
OFTEN = 0.17


@cache
def figures(name: str, rate: float, kind: str = "uniform") -> bench.Figures:
    world = base_world(rate)
    plan = uniform_plan(0.1) if kind == "uniform" else active_plan(world)
    return bench.measure(bench.BANDS[name][0], world, list(bench.looks(world, plan, SIZE)), SIZE)


@pytest.mark.parametrize("rate", bench.RATES)
def test_bands_for_any_number_of_looks_hold_at_all_of_them(rate: float) -> None:
    assert figures("exact", rate).ever <= OFTEN
    assert figures("asymptotic", rate).ever <= OFTEN
    assert figures("asymptotic", rate, "active").ever <= OFTEN


@pytest.mark.parametrize("rate", bench.RATES)
def test_the_interval_for_one_look_does_not_when_people_look_again_and_again(rate: float) -> None:
    assert figures("one look", rate).ever > 0.17


@pytest.mark.parametrize(
    ("name", "kind", "rate", "at_1000", "at_last"),
    [
        ("asymptotic", "uniform", 0.02, 0.0163, 0.0088),
        ("asymptotic", "uniform", 0.08, 0.0278, 0.0150),
        ("asymptotic", "active", 0.08, 0.0243, 0.0125),
        ("exact", "uniform", 0.02, 0.0141, 0.0088),
        ("exact", "uniform", 0.08, 0.0270, 0.0168),
        ("one look", "uniform", 0.08, 0.0163, 0.0097),
    ],
)
def test_bands_are_as_wide_as_they_were(
    name: str, kind: str, rate: float, at_1000: float, at_last: float
) -> None:
    found = figures(name, rate, kind)
    assert found.width_at_1000 == pytest.approx(at_1000, rel=0.07)
    assert found.width_at_last == pytest.approx(at_last, rel=0.07)


def test_sampling_by_confidence_makes_a_band_a_tenth_narrower() -> None:
    wide, narrow = figures("asymptotic", 0.08), figures("asymptotic", 0.08, "active")
    assert narrow.width_at_last < 0.9 * wide.width_at_last
