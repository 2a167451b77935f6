"""Where quality stands, as a table of situations."""

from __future__ import annotations

import msgspec
import pytest

from monitor.estimation.quality import (
    JudgedWindow,
    QualityEstimate,
    QualityState,
    band,
    estimate_quality,
    glance,
    newest,
    total_of,
)
from schemas.signals import Interval
from schemas.windows import Moments


def window(wrong: float, labels: int, at: int = 0, rate: float = 0.05) -> JudgedWindow:
    """A window of a uniform sample, as the scores of all its tickets have it."""
    return JudgedWindow(
        segment="*",
        model="m1",
        start=600.0 * at,
        end=600.0 * (at + 1),
        tickets=round(labels / rate),
        labels=labels,
        lost=0,
        total=wrong / rate,
        squares=wrong / rate**2,
        uniform=Moments(labels, wrong, wrong),
    )


def weighted(wrong: int, labels: int, at: int = 0) -> JudgedWindow:
    """The same, but half of the labels were not drawn uniformly."""
    half = Moments(labels // 2, wrong / 2, wrong / 2)
    return msgspec.structs.replace(window(wrong, labels, at), uniform=half)


def look(lifetime: tuple[float, int], recent: tuple[float, int]) -> QualityEstimate:
    return estimate_quality(window(*lifetime), window(*recent), tolerance=0.1)


CASES: list[tuple[str, tuple[float, int], tuple[float, int], QualityState]] = [
    ("nothing is known", (0, 0), (0, 0), "not enough labels"),
    ("99 labels tell nothing yet", (60, 99), (60, 99), "not enough labels"),
    ("a long good life, and a good present", (350, 5000), (35, 500), "within"),
    ("a mean below the limit, too few labels to be sure", (18, 200), (18, 200), "unsure"),
    ("a good life, and a present a little above", (350, 5000), (55, 500), "unsure"),
    ("a good life, and a present far above", (400, 5000), (90, 500), "out"),
    ("a bad life", (800, 5000), (80, 500), "out"),
]


@pytest.mark.parametrize(
    ("lifetime", "recent", "state"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_the_state_is(
    lifetime: tuple[float, int], recent: tuple[float, int], state: QualityState
) -> None:
    assert look(lifetime, recent).state == state


def test_an_estimate_survives_the_journal() -> None:
    for estimate in (look((0, 0), (0, 0)), look((350.25, 5000), (35, 500))):
        body = msgspec.json.encode(estimate)
        assert msgspec.json.decode(body, type=QualityEstimate) == estimate


def test_the_sentence_names_both_means_and_the_limit() -> None:
    sentence = look((350, 5000), (40, 500)).sentence
    for figure in ("8.0 %", "last 500 labels", "7.0 %", "all 5,000", "limit 10.0 %"):
        assert figure in sentence
    assert look((0, 0), (0, 0)).sentence == "no labels yet"


def test_windows_added_in_any_grouping_give_the_same_sums() -> None:
    parts = [window(8, 100, 0), window(21, 400, 1), window(2, 37, 2)]
    assert total_of([total_of(parts[:2]), parts[2]]) == total_of([parts[0], total_of(parts[1:])])


def test_the_newest_windows_hold_at_least_so_many_labels() -> None:
    parts = [window(8, 100, 0), window(21, 400, 1), window(2, 37, 2)]
    assert newest(parts, 37).labels == 37
    assert newest(parts, 38).labels == 437
    assert newest(parts, 10_000).labels == 537, "or all there are"


def test_the_intervals_of_a_weighted_sample_are_about_as_wide_as_of_a_uniform_one() -> None:
    for bounds in (band, glance):
        one, other = bounds(window(80, 1000)), bounds(weighted(80, 1000))
        assert other.estimate == pytest.approx(0.08)
        ratio = (other.upper - other.lower) / (one.upper - one.lower)
        assert 0.8 < ratio < 1.6, bounds.__name__


def test_a_weighted_sample_of_few_labels_is_judged_by_its_uniform_part_alone() -> None:
    few = weighted(30, 90)
    assert band(few) == band(window(15, 45))
    assert glance(few) == glance(window(15, 45))
    nothing = msgspec.structs.replace(few, uniform=Moments())
    assert band(nothing) == glance(nothing) == Interval(0.0, 0.0, 1.0)
