"""The early warning: what counts as a change, when it speaks, and that it speaks once."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest

from monitor.detectors.change import MARGIN, PURSES, REFERENCE, RISES, Change, ChangeSettings
from monitor.detectors.finding import Finding
from monitor.estimation.betting import BLOCK
from monitor.estimation.scores import Scores, plain, score


def windows(rate: float, n: int, seed: int, size: int = 10) -> list[Scores]:
    draw = random.Random(seed)
    return [
        plain([float(draw.random() < rate) for _ in range(size)], at=float(start))
        for start in range(0, n, size)
    ]


def watch(values: list[Scores], **options: float) -> tuple[Change, list[Finding]]:
    change = Change(ChangeSettings(**options))
    return change, [found for one in values if (found := change.update([one]))]


def test_a_rise_within_any_tolerance_is_told_once_as_a_warning() -> None:
    _, found = watch(windows(0.04, 4000, seed=1) + windows(0.14, 3000, seed=2))
    (one,) = found
    assert one.severity == "warn"
    assert 4000 < one.n < 4400


def test_it_names_the_boundary_what_was_before_and_how_often_it_is_wrong() -> None:
    _, found = watch(windows(0.04, 4000, seed=1) + windows(0.20, 500, seed=2), weight=0.5)
    assert "what it was (4." in found[0].sentence
    assert ", 20 % more, and a margin for chance;" in found[0].sentence
    assert found[0].sentence.endswith("false warning: at most 5 % in 200,000 labels")


def test_a_rise_by_less_than_the_slack_and_a_fall_are_no_change() -> None:
    for later in (0.115, 0.02):
        assert watch(windows(0.10, 4000, seed=3) + windows(later, 4000, seed=4))[1] == []


def test_it_says_nothing_during_the_first_2000_labels() -> None:
    _, found = watch(windows(0.02, 1000, seed=5) + windows(0.5, 990, seed=6))
    assert found == []


def test_a_baseline_without_a_single_loss_is_one_that_losses_can_leave() -> None:
    good, bad = plain([0.0] * 50, at=0.0), plain([1.0] * 10 + [0.0] * 40, at=1.0)
    _, found = watch([good] * 45 + [bad] * 4)
    assert len(found) == 1
    assert watch([good] * 200)[1] == []


def test_a_baseline_of_nothing_but_losses_breaks_nothing() -> None:
    assert watch([plain([1.0] * 50, at=0.0)] * 60)[1] == []


def test_a_rise_does_not_count_as_normal_before_15_newer_blocks_were_sealed() -> None:
    """The level is as it was while a change is 15 blocks old, and follows at 30 at the latest."""
    calm = windows(0.1, REFERENCE + 45 * BLOCK, seed=7)
    raised = windows(0.16, 65 * BLOCK, seed=8)
    change = Change(ChangeSettings(slack=1.0))
    change.update(calm)
    moments = []
    for start in range(0, len(raised), 5):
        change.update(raised[start : start + 5])
        moments.append(change._mean)
    assert moments[0] == moments[14]
    assert moments[29] < moments[0] + 0.001
    assert moments[30] > moments[29] + 0.003
    assert moments[60] > moments[30] + 0.002


def per_label(labels: np.ndarray, slack: float) -> float:
    """The statistic written for labels alone, in money; log of all money at the end."""
    money, blocks = np.zeros(len(RISES)), labels.reshape(-1, BLOCK)
    for index in range(REFERENCE // BLOCK, len(blocks)):
        known = REFERENCE + max(0, (index * BLOCK - REFERENCE) // 750 - 1) * 750
        mean = labels[:known].mean()
        squares = (labels[: index * BLOCK] ** 2).mean()
        error = math.sqrt((squares - mean**2) / known)
        limit = (mean + MARGIN * error) * (1 + slack)
        variance = max(squares - 2 * limit * mean + limit**2, limit * (1 - limit))
        stake = np.minimum((np.array(RISES) * mean - limit) / variance, 0.9 / limit)
        money += 1
        for label in blocks[index]:
            money *= 1 + stake * (label - limit)
    return float(np.log(money @ PURSES))


@pytest.mark.parametrize("slack", [0.0, 0.2])
def test_it_is_the_recursion_of_shiryaev_and_roberts_on_labels(slack: float) -> None:
    labels = (np.random.default_rng(9).random(6000) < 0.1).astype(float)
    change = Change(ChangeSettings(slack=slack))
    change.update([plain(part.tolist(), at=0.0) for part in labels.reshape(-1, 10)])
    assert not change.latched
    assert change.log_e == pytest.approx(per_label(labels, slack), abs=1e-9)


def sampled(rate: float, labels: int, seed: int, probability: float) -> list[Scores]:
    """Windows of ten labels each under a uniform plan with a prior of a tenth."""
    draw = random.Random(seed)
    found = []
    for start in range(0, labels, 10):
        told = Counter(score(0.1, probability, float(draw.random() < rate)) for _ in range(10))
        told[0.1] += round(10 / probability) - 10
        lowest = 0.1 * (1 - probability) / probability
        found.append(Scores(at=float(start), values=tuple(told.items()), labels=10, lowest=lowest))
    return found


def test_tickets_that_were_sampled_show_a_rise_as_labels_do() -> None:
    _, found = watch(sampled(0.06, 4000, 1, 0.05) + sampled(0.16, 1000, 2, 0.05))
    assert len(found) == 1
    assert 4000 < found[0].n < 4600


def test_another_sampling_rate_is_no_change() -> None:
    values = (
        sampled(0.08, 4000, 1, 0.05) + sampled(0.08, 2000, 2, 0.3) + sampled(0.08, 2000, 3, 0.02)
    )
    assert watch(values)[1] == []


def test_after_its_warning_neither_boundary_nor_evidence_move() -> None:
    change, found = watch(windows(0.04, 3000, seed=1) + windows(0.4, 500, seed=2))
    assert len(found) == 1
    before = (change._limit, change.log_e)
    assert change.update(windows(0.6, 3000, seed=3)) is None
    assert (change._limit, change.log_e) == before


def test_a_state_stays_small_after_years_of_awkward_numbers() -> None:
    options = ChangeSettings(weight=0.0123456789012345, generation="m-87 by large-model" * 9)
    change, draw = Change(options), random.Random(3)
    for _ in range(300):
        values = tuple((draw.uniform(0.1999, 0.2001), draw.randrange(10**5)) for _ in range(4))
        change.update([Scores(at=0.0, values=values, labels=3007, lowest=2.987654321)])
    assert not change.latched
    assert len(change.state()) < 300


@pytest.mark.parametrize(
    ("field", "value"),
    [("slack", -0.1), ("slack", math.inf), ("alpha", 0.0), ("weight", 0.0), ("weight", 1.5)],
)
def test_settings_that_cannot_be_meant_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        ChangeSettings(**{field: value})
