"""The tolerance alarm: what it says, when, and what it never does."""

from __future__ import annotations

import random

import pytest

from monitor.detectors.finding import Finding
from monitor.detectors.level import Level, LevelSettings


def losses(rate: float, n: int, seed: int) -> list[float]:
    draw = random.Random(seed)
    return [float(draw.random() < rate) for _ in range(n)]


def watch(values: list[float], **settings: float) -> tuple[Level, list[Finding]]:
    level = Level(LevelSettings(**{"tolerance": 0.1, **settings}))
    return level, [found for value in values if (found := level.update([value]))]


def test_a_warning_comes_before_the_page_and_each_comes_once() -> None:
    level, found = watch(losses(0.2, 3000, seed=1))
    assert [finding.severity for finding in found] == ["warn", "page"]
    assert found[0].n < found[1].n
    assert level.latched


def test_a_page_in_the_same_batch_stands_for_the_warning() -> None:
    level = Level(LevelSettings(tolerance=0.1))
    found = level.update([1.0] * 60)
    assert found is not None
    assert found.severity == "page"
    assert level.update([1.0] * 60) is None


def test_a_false_alarm_probability_above_the_warning_pages_without_one() -> None:
    _, found = watch(losses(0.2, 3000, seed=1), delta=0.2)
    assert [finding.severity for finding in found] == ["page"]


def test_a_smaller_weight_asks_for_more_evidence() -> None:
    moments = [
        next(f.n for f in watch(losses(0.2, 3000, seed=1), weight=w)[1] if f.severity == "page")
        for w in (1.0, 0.1, 0.001)
    ]
    assert moments == sorted(moments)
    assert moments[0] < moments[-1]


def test_a_bad_first_day_pages_without_any_history() -> None:
    _, found = watch(losses(0.35, 200, seed=2))
    assert found[-1].severity == "page"
    assert found[-1].n < 150


def test_a_long_good_time_does_not_deafen_it() -> None:
    values = losses(0.05, 20_000, seed=3) + losses(0.24, 600, seed=4)
    level = Level(LevelSettings(tolerance=0.1))
    assert level.update(values[:20_000]) is None
    found = level.update(values[20_000:])
    assert found is not None
    assert found.severity == "page"


def test_it_says_since_when_how_bad_and_how_sure() -> None:
    level = Level(LevelSettings(tolerance=0.1))
    level.update(losses(0.05, 4000, seed=5))
    found = level.update(losses(0.3, 600, seed=6))
    assert found is not None
    assert found.interval is not None
    # the estimate is of what came after the change, not of the 4,000 good labels before it
    assert found.interval.lower < 0.3 < found.interval.upper
    assert found.interval.estimate > 0.15
    for words in ("any number of looks", "one look", "limit 10.0 %", "at most 1 %"):
        assert words in found.sentence


def test_the_interval_at_a_false_page_still_covers_the_rate() -> None:
    """The start and the moment are both picked because they look bad; 5 % of lives may miss."""
    lives, pages, missed = 100, 0, 0
    for seed in range(lives):
        level = Level(LevelSettings(tolerance=0.1, delta=0.4))
        if found := level.update(losses(0.1, 1000, seed)):
            assert found.interval is not None
            pages += 1
            missed += not found.interval.lower <= 0.1 <= found.interval.upper
    assert pages > 5  # an interval for one look would miss in each of these
    assert missed <= 5


@pytest.mark.parametrize("value", [-0.01, 1.01, 1e300, float("nan"), float("-inf")])
def test_what_is_no_loss_is_skipped_and_counted(value: float) -> None:
    level = Level(LevelSettings(tolerance=0.1))
    level.update([0.0, value, 1.0])
    assert (level.n, level.skipped) == (2, 1)


def test_months_of_nothing_but_losses_overflow_nothing() -> None:
    level = Level(LevelSettings(tolerance=0.1))
    level.update([1.0] * 2000)
    again = Level.restore(LevelSettings(tolerance=0.1), level.state())
    assert again.state() == level.state()
    assert 0 < again.log_e < 1000


@pytest.mark.parametrize(
    ("field", "value"),
    [("tolerance", 0.0), ("tolerance", 1.0), ("delta", 0.0), ("weight", 0.0), ("weight", 1.5)],
)
def test_settings_that_cannot_be_meant_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        LevelSettings(**{"tolerance": 0.1, field: value})
