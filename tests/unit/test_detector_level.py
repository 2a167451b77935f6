"""The tolerance alarm: what it says, when, and what it never does."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.detectors.finding import Finding
from monitor.detectors.level import Level, LevelSettings
from monitor.estimation.betting import BLOCK, HARMS, PURSES, restart_share
from monitor.estimation.scores import Scores, plain, score


def losses(rate: float, n: int, seed: int) -> list[float]:
    draw = random.Random(seed)
    return [float(draw.random() < rate) for _ in range(n)]


def one_by_one(values: list[float]) -> list[Scores]:
    """Each label a window of its own: a look after each."""
    return [plain([value], at=float(second)) for second, value in enumerate(values)]


def watch(values: list[float], **options: float) -> tuple[Level, list[Finding]]:
    level = Level(LevelSettings(**{"tolerance": 0.1, **options}))
    return level, [found for one in one_by_one(values) if (found := level.update([one]))]


def test_a_warning_comes_before_the_page_and_each_comes_once() -> None:
    level, found = watch(losses(0.25, 1000, seed=1))
    assert [finding.severity for finding in found] == ["warn", "page"]
    assert found[0].n < found[1].n
    assert level.latched


def test_a_page_in_the_same_update_stands_for_the_warning() -> None:
    level = Level(LevelSettings(tolerance=0.1))
    found = level.update(one_by_one([1.0] * 60))
    assert found is not None
    assert found.severity == "page"
    assert level.update(one_by_one([1.0] * 60)) is None


def test_a_false_alarm_probability_above_the_warning_pages_without_one() -> None:
    _, found = watch(losses(0.3, 500, seed=1), delta=0.2)
    assert [finding.severity for finding in found] == ["page"]


def test_a_smaller_weight_asks_for_more_evidence() -> None:
    moments = [
        next(f.n for f in watch(losses(0.3, 500, seed=1), weight=w)[1] if f.severity == "page")
        for w in (1.0, 0.1, 0.001)
    ]
    assert moments == sorted(moments)
    assert moments[0] < moments[-1]


def test_a_bad_first_day_pages_without_any_history() -> None:
    _, found = watch(losses(0.35, 200, seed=2))
    assert found[-1].severity == "page"
    assert found[-1].n < 150


def test_a_long_good_time_does_not_deafen_it() -> None:
    level = Level(LevelSettings(tolerance=0.1))
    assert level.update([plain(losses(0.05, 50, seed), at=0.0) for seed in range(400)]) is None
    found = level.update(one_by_one(losses(0.24, 600, seed=4)))
    assert found is not None
    assert found.severity == "page"


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (1.0, "above what was accepted; limit 10.0 %; chance of a false page, ever: at most 1 %"),
        (
            0.02,
            "above what was accepted; limit 10.0 %; chance of a false page, ever: at most 0.02 %",
        ),
    ],
)
def test_it_says_what_was_left_and_how_often_that_is_wrong(weight: float, words: str) -> None:
    _, found = watch([1.0] * 60, weight=weight)
    assert found[-1].sentence == words
    assert found[0].sentence.endswith(f"false warning, ever: at most {5 * weight:.3g} %")


# --- one engine for labels and for tickets ------------------------------------------------------


def per_label_evidence(labels: np.ndarray, tolerance: float) -> np.ndarray:
    """The same test written for labels alone, in money instead of its logarithm: log E at each."""
    lam = np.array([(r - 1) * tolerance / (tolerance * (1 - tolerance)) for r in HARMS])
    lam = np.minimum(lam, 0.9 / tolerance)
    money, seen = np.zeros(len(HARMS)), []
    for index, label in enumerate(labels):
        if index % BLOCK == 0:
            money += restart_share(index // BLOCK)
        money *= 1 + lam * (label - tolerance)
        seen.append(np.log(money @ PURSES))
    return np.array(seen)


@pytest.mark.parametrize("tolerance", [0.02, 0.1, 0.4])
def test_it_is_the_test_on_labels_when_each_label_is_a_window(tolerance: float) -> None:
    labels = np.array(losses(1.2 * tolerance, 400, seed=8))
    level, seen = Level(LevelSettings(tolerance=tolerance)), []
    for window in one_by_one(labels.tolist()):
        level.update([window])
        seen.append(level.log_e)
    assert np.abs(np.array(seen) - per_label_evidence(labels, tolerance)).max() < 1e-9


@pytest.mark.parametrize("tolerance", [0.02, 0.1, 0.4])
def test_tickets_that_were_not_labelled_change_nothing_under_a_uniform_plan(
    tolerance: float,
) -> None:
    """The sampling rate may differ from window to window; ten labels fall into each."""
    labels = np.array(losses(1.3 * tolerance, 400, seed=9))
    level, draw = Level(LevelSettings(tolerance=tolerance)), random.Random(10)
    seen = []
    for block in range(8):
        probability = draw.choice([0.02, 0.05, 0.3, 1.0])
        for part in range(5):
            start = block * BLOCK + part * 10
            told = Counter(score(tolerance, probability, x) for x in labels[start : start + 10])
            told[tolerance] += draw.randrange(300)
            lowest = tolerance * (1 - probability) / probability
            window = Scores(
                at=0.0, values=tuple(told.items()), labels=10, lowest=lowest, uniform=True
            )
            level.update([window])
            seen.append(level.log_e)
    expected = per_label_evidence(labels, tolerance)[9::10]
    assert np.abs(np.array(seen) - expected).max() < 1e-9


def active(seed: int, windows: int, tickets: int = 100) -> list[Scores]:
    """Windows under a plan that knows two kinds of tickets, and asks more about the worse."""
    draw = random.Random(seed)
    found = []
    for window in range(windows):
        told: Counter[float] = Counter()
        labels = 0
        for _ in range(tickets):
            expected, probability = draw.choice([(0.02, 0.06), (0.3, 0.2)])
            asked = draw.random() < probability
            loss = float(draw.random() < 1.5 * expected) if asked else None
            told[score(expected, probability, loss)] += 1
            labels += asked
        found.append(
            Scores(at=float(window), values=tuple(told.items()), labels=labels, lowest=1.2)
        )
    return found


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_the_order_within_a_block_and_the_merging_of_partitions_change_nothing(seed: int) -> None:
    straight, shuffled = (Level(LevelSettings(tolerance=0.1)) for _ in range(2))
    draw, windows = random.Random(seed), active(seed, windows=24, tickets=15)
    for start in range(0, 24, 4):
        # the last of four small windows fills the block
        block = windows[start : start + 4]
        block[-1] = block[-1].merge(plain([0.0] * BLOCK, at=0.0))
        straight.update(block)
        pieces = [
            Scores(at=one.at, values=(pair,), lowest=one.lowest)
            for one in block
            for pair in one.values
        ]
        draw.shuffle(pieces)
        labels = sum(one.labels for one in block)
        merged = pieces[0]
        for piece in pieces[1:]:
            merged = merged.merge(piece)
        shuffled.update([Scores(at=0.0, values=merged.values, labels=labels, lowest=1.2)])
        assert shuffled.log_e == pytest.approx(straight.log_e, abs=1e-9)


def test_an_active_plan_pages_too_and_a_plan_with_deeper_scores_begins_a_block() -> None:
    level = Level(LevelSettings(tolerance=0.1))
    found = level.update(active(seed=3, windows=100))
    assert found is not None
    assert found.severity == "page"
    calm = Level(LevelSettings(tolerance=0.3))
    calm.update([Scores(at=0.0, values=((0.1, 50), (-1.0, 2)), labels=4, lowest=1.0)])
    before = calm.log_e
    deeper = Scores(at=1.0, values=((-3.0, 1),), labels=1, lowest=3.0)
    calm.update([deeper])
    # under the first window's stakes the last score would have been ruin; the new block's money
    # has come in, and no gambler staked more than nine tenths of his
    assert calm.log_e > before - np.log(10)


@pytest.mark.parametrize("value", [-0.01, float("inf"), float("nan"), float("-inf")])
def test_a_window_with_a_score_that_cannot_be_is_skipped_whole_and_counted(value: float) -> None:
    level = Level(LevelSettings(tolerance=0.1))
    level.update([plain([0.0, 1.0], at=0.0), plain([0.0, value], at=1.0)])
    assert (level.n, level.skipped) == (2, 1)


def test_months_of_nothing_but_losses_overflow_nothing() -> None:
    level = Level(LevelSettings(tolerance=0.1))
    level.update([plain([1.0] * 50, at=float(hour)) for hour in range(500)])
    again = Level.restore(LevelSettings(tolerance=0.1), level.state())
    assert again.state() == level.state()
    assert np.isfinite(again.log_e)


def test_a_state_stays_small_after_years_of_awkward_numbers() -> None:
    options = LevelSettings(
        tolerance=0.0123456789012345,
        delta=0.00012345678901234,
        weight=0.0123456789012345,
        generation="contract 4, teacher large-model-2026-05-01 prompt 9f86d081884c7d65, m-87" * 3,
    )
    level, draw = Level(options), random.Random(3)
    for _ in range(300):
        values = tuple((draw.uniform(-2.9, 40), draw.randrange(10**7)) for _ in range(4))
        level.update([Scores(at=0.0, values=values, labels=3 * 10**6 + 7, lowest=2.987654321)])
    assert len(level.state()) < 300


@pytest.mark.parametrize("field", ["tolerance", "delta", "weight", "generation"])
def test_another_generation_begins_anew(field: str) -> None:
    options = LevelSettings(tolerance=0.1, generation="a")
    level = Level(options)
    level.update(one_by_one(losses(0.1, 120, seed=1)))
    kept = {name: getattr(options, name) for name in options.__struct_fields__}
    other = LevelSettings(**kept | {field: "b" if field == "generation" else 0.2})
    assert Level.restore(options, level.state()).n == 120
    assert Level.restore(other, level.state()).n == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [("tolerance", 0.0), ("tolerance", 1.0), ("delta", 0.0), ("weight", 0.0), ("weight", 1.5)],
)
def test_settings_that_cannot_be_meant_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        LevelSettings(**{"tolerance": 0.1, field: value})
