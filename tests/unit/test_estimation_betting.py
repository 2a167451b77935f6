"""The bets are fair at the tolerance: exactly, by going through every outcome."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable

import numpy as np
import pytest

from monitor.detectors import change
from monitor.detectors.level import Level, LevelSettings
from monitor.estimation.betting import BLOCK, HARMS, PURSES, restart_share, stakes
from monitor.estimation.scores import Scores, plain, score

#: labels whose 2^n outcomes are all tried
AHEAD = 6


def settled(tolerance: float, before: int) -> Level:
    """A level detector after some labels, whose next block may begin soon."""
    level = Level(LevelSettings(tolerance=tolerance))
    draw = random.Random(before)
    losses = [float(draw.random() < tolerance) for _ in range(before)]
    level.update([plain(losses[at : at + BLOCK], at=0.0) for at in range(0, before, BLOCK)])
    return level


def look(level: Level, losses: Iterable[float]) -> None:
    """Tell it of losses, and let it look after each."""
    level.update([plain([loss], at=0.0) for loss in losses])


def wealth(level: Level) -> float:
    return math.exp(level.log_e)


@pytest.mark.parametrize("tolerance", [0.02, 0.1, 0.4])
@pytest.mark.parametrize("before", [0, 7, BLOCK - 3, BLOCK, 20 * BLOCK - 5])
def test_at_the_tolerance_wealth_grows_by_the_new_money_alone(
    tolerance: float, before: int
) -> None:
    level = settled(tolerance, before)
    start = level.state()
    expected = 0.0
    for outcome in itertools.product((0.0, 1.0), repeat=AHEAD):
        one = Level.restore(LevelSettings(tolerance=tolerance), start)
        look(one, outcome)
        hits = sum(outcome)
        expected += wealth(one) * tolerance**hits * (1 - tolerance) ** (AHEAD - hits)
    opened = before and math.ceil((before + AHEAD) / BLOCK) > math.ceil(before / BLOCK)
    fresh = restart_share(math.ceil(before / BLOCK)) if opened else 0.0
    assert expected == pytest.approx(wealth(level) + fresh, rel=1e-12)


@pytest.mark.parametrize(
    "outcomes",
    [
        # (loss, probability): each has a mean of 0.1 or less
        [(0.1, 1.0)],
        [(0.05, 0.5), (0.15, 0.5)],
        [(0.0, 0.8), (0.25, 0.1), (0.75, 0.1)],
        [(0.0, 0.95), (1.0, 0.05)],
    ],
)
def test_graded_losses_within_the_tolerance_win_nothing(
    outcomes: list[tuple[float, float]],
) -> None:
    level = settled(0.1, 20)
    expected = 0.0
    for loss, probability in outcomes:
        one = Level.restore(LevelSettings(tolerance=0.1), level.state())
        look(one, [loss])
        expected += probability * wealth(one)
    assert expected <= wealth(level) * (1 + 1e-12)


@pytest.mark.parametrize("plan", [[(0.1, 0.05)], [(0.02, 0.06), (0.3, 0.2)], [(0.0, 0.5)]])
def test_weighted_scores_whose_mean_is_the_tolerance_win_nothing(
    plan: list[tuple[float, float]],
) -> None:
    """All outcomes of a ticket of each kind: asked or not, wrong or right as often as accepted."""
    lowest = max(g * (1 - pi) / pi for g, pi in plan)
    level = settled(0.1, 20)
    level.update([Scores(at=0.0, values=((0.1, 30),), lowest=lowest)])
    before, expected = wealth(level), 0.0
    state = level.state()
    outcomes = [
        (1 / len(plan) * chance, score(g, pi, loss))
        for g, pi in plan
        for chance, loss in ((1 - pi, None), (pi * 0.1, 1.0), (pi * 0.9, 0.0))
    ]
    for chance, x in outcomes:
        one = Level.restore(LevelSettings(tolerance=0.1), state)
        one.update([Scores(at=0.0, values=((x, 1),), labels=1, lowest=lowest)])
        expected += chance * wealth(one)
    assert expected == pytest.approx(before, rel=1e-12)


def test_all_the_money_that_ever_comes_in_is_one() -> None:
    shares = [restart_share(block) for block in range(5000)]
    assert all(share > 0 for share in shares)
    assert shares == sorted(shares, reverse=True)
    # telescoping: what is still to come after block B is half of (B+1)^-0.1
    assert sum(shares) == pytest.approx(1 - 0.5 * 5000**-0.1)


@pytest.mark.parametrize("purses", [PURSES, change.PURSES])
def test_the_gamblers_share_all_of_the_money_and_no_more(purses: tuple[float, ...]) -> None:
    assert min(purses) > 0
    assert math.fsum(purses) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("tolerance", [0.001, 0.02, 0.1, 0.3, 0.9])
def test_a_stake_is_the_best_one_for_its_harm_and_never_ruinous(tolerance: float) -> None:
    aims = [harm * tolerance for harm in HARMS]
    chosen = stakes(tolerance, aims, tolerance * (1 - tolerance))
    assert len(chosen) == len(HARMS)
    for harm, stake in zip(HARMS, chosen, strict=True):
        assert 1 - stake * tolerance >= 0.1 - 1e-12
        rate = harm * tolerance
        if stake < 0.9 / tolerance and rate < 1:
            assert stake == pytest.approx((rate - tolerance) / (tolerance * (1 - tolerance)))


def test_scores_that_can_be_negative_lower_the_stakes() -> None:
    aims = [0.11, 0.2, 0.5]
    of_labels, weighted = stakes(0.1, aims, 0.01), stakes(0.1, aims, 0.01, lowest=3.0)
    assert max(weighted) == pytest.approx(0.9 / 3.1)
    assert all(w <= p for w, p in zip(weighted, of_labels, strict=True))


def test_nobody_stakes_on_a_mean_below_the_limit() -> None:
    assert stakes(0.1, [0.05, 0.1], 0.09) == (0.0, 0.0)


def test_false_pages_at_the_tolerance_stay_below_their_probability() -> None:
    """Peeking after each tenth of 400 labels, at the very edge of what is tolerated."""
    draw = np.random.default_rng(3)
    streams, delta = 100, 0.2
    pages = 0
    for _ in range(streams):
        level = Level(LevelSettings(tolerance=0.1, delta=delta))
        hits = draw.random((40, 10)) < 0.1
        level.update([plain(ten.astype(float).tolist(), at=0.0) for ten in hits])
        pages += level.latched
    assert pages / streams <= delta + 3 * math.sqrt(delta * (1 - delta) / streams)
