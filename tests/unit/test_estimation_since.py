"""Since when, and how bad since then: found, and covered although both were picked by looking."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable

import msgspec
import pytest

from monitor.detectors.level import Level, LevelSettings
from monitor.estimation.quality import JudgedWindow, total_of
from monitor.estimation.scores import Scores, score
from monitor.estimation.since import describe, since
from schemas.windows import Moments

Make = Callable[[int, int, int], JudgedWindow]


def window(wrong: int, labels: int, at: int) -> JudgedWindow:
    """A window of a uniform sample of 5 %."""
    return JudgedWindow(
        segment="*",
        model="m1",
        start=600.0 * at,
        end=600.0 * (at + 1),
        tickets=20 * labels,
        labels=labels,
        lost=0,
        total=20.0 * wrong,
        squares=400.0 * wrong,
        uniform=Moments(labels, wrong, wrong),
    )


def weighted(wrong: int, labels: int, at: int) -> JudgedWindow:
    """The same, but half of the labels were not drawn uniformly."""
    half = Moments(labels // 2, wrong / 2, wrong / 2)
    return msgspec.structs.replace(window(wrong, labels, at), uniform=half)


makes = pytest.mark.parametrize("make", [window, weighted])


@makes
def test_the_beginning_of_the_evidence_is_found(make: Make) -> None:
    good = [make(4, 50, at) for at in range(40)]
    bad = [make(15, 50, at) for at in range(40, 46)]
    began = since([*good, *bad], labels=46 * 50, tolerance=0.1)
    assert began.start == pytest.approx(600 * 40, abs=1200)
    assert began.labels == pytest.approx(300, abs=100)
    assert began.interval.lower > 0.1
    assert began.interval.upper < 0.6


@makes
def test_where_nothing_is_wrong_the_evidence_begins_with_the_stream(make: Make) -> None:
    began = since([make(4, 50, at) for at in range(40)], labels=2000, tolerance=0.1)
    assert (began.start, began.labels) == (0.0, 2000)


def test_windows_without_a_label_are_no_evidence() -> None:
    silent = [window(0, 0, at) for at in range(3)]
    assert since(silent, labels=0, tolerance=0.1).interval.upper == 1.0
    began = since([*silent, window(20, 50, 3)], labels=50, tolerance=0.1)
    assert began.labels == 50


def test_the_windows_before_those_looked_at_count_as_labels_only() -> None:
    seen = [*(window(4, 50, at) for at in range(40)), window(20, 50, 40), window(20, 50, 41)]
    assert since(seen, 42 * 50, 0.1) == since(seen[-10:], 42 * 50, 0.1)


def test_a_finding_is_described_in_figures() -> None:
    seen = [window(4, 50, at) for at in range(20)] + [window(20, 50, 20)]
    words = describe(since(seen, 1050, 0.1), seen, total_of(seen))
    assert "40.0 % over the last 50 labels" in words
    assert re.search(
        r"all 1,050 labels of this student 9\.5 % \(95 % interval [\d.]+ to [\d.]+ %, any", words
    )


def life(
    seed: int, windows: int, strata: list[tuple[float, float, float, float]]
) -> list[tuple[Scores, JudgedWindow]]:
    """Windows of 40 tickets in strata of (share, rate, expected, probability).

    As in production, what is asked about is uniform up to half of the average rate.
    """
    draw = random.Random(seed)
    shares = [share for share, *_ in strata]
    lowest = max(g * (1 - pi) / pi for _, _, g, pi in strata)
    uniform_rate = min(pi for *_, pi in strata)
    found = []
    for at in range(windows):
        values: Counter[float] = Counter()
        labels, losses = 0, Moments()
        for _, rate, g, pi in draw.choices(strata, shares, k=40):
            u = draw.random()
            loss = float(draw.random() < rate) if u < pi else None
            values[score(g, pi, loss)] += 1
            if loss is not None:
                labels += 1
                if u < uniform_rate:
                    losses = losses.merge(Moments(1, loss, loss))
        seen = Scores(at=float(at), values=tuple(values.items()), labels=labels, lowest=lowest)
        sums = seen.moments
        row = JudgedWindow(
            segment="*", model="m1", start=float(at), end=at + 1.0, tickets=sums.n, labels=labels,
            lost=0, total=sums.total, squares=sums.squares, uniform=losses,
        )  # fmt: skip
        found.append((seen, row))
    return found


PLANS = {
    "uniform": [(1.0, 0.1, 0.1, 0.25)],
    "active": [(0.8, 0.05, 0.05, 0.2), (0.2, 0.3, 0.3, 0.45)],
}


@pytest.mark.parametrize("plan", PLANS)
def test_the_interval_at_a_false_page_still_covers_the_rate(plan: str) -> None:
    """The start and the moment are both picked because they look bad; 5 % of lives may miss."""
    lives, pages, missed = 40, 0, 0
    for seed in range(lives):
        level = Level(LevelSettings(tolerance=0.1, delta=0.4))
        rows: list[JudgedWindow] = []
        for scores, row in life(seed, 40, PLANS[plan]):
            rows.append(row)
            level.update([scores])
            if level.latched:
                interval = since(rows, sum(one.labels for one in rows), 0.1).interval
                pages += 1
                missed += not interval.lower <= 0.1 <= interval.upper
                break
    assert pages >= 3  # an interval for one look would miss in most of these
    assert missed <= 3
