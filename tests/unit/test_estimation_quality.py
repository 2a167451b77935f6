"""Where quality stands, as a table of situations."""

from __future__ import annotations

import msgspec
import pytest

from monitor.estimation import QualityEstimate, QualityState, estimate_quality
from schemas.windows import Moments


def look(total: float, n: int, recent: list[float]) -> QualityEstimate:
    return estimate_quality(
        segment="*",
        model="m1",
        at=1000.0,
        losses=Moments(n, total, total),
        recent=recent,
        tolerance=0.1,
    )


def losses(wrong: int, n: int) -> list[float]:
    return [1.0] * wrong + [0.0] * (n - wrong)


CASES: list[tuple[str, float, int, list[float], QualityState]] = [
    ("nothing is known", 0, 0, [], "not enough labels"),
    ("99 labels tell nothing yet", 60, 99, losses(60, 99), "not enough labels"),
    ("a long good life, and a good present", 350, 5000, losses(35, 500), "within"),
    ("a mean below the limit, but too few labels to be sure", 18, 200, losses(18, 200), "unsure"),
    ("a good life, and a present a little above", 350, 5000, losses(55, 500), "unsure"),
    ("a good life, and a present far above", 400, 5000, losses(90, 500), "out"),
    ("a bad life", 800, 5000, losses(80, 500), "out"),
]


@pytest.mark.parametrize(
    ("total", "n", "recent", "state"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_the_state_is(total: float, n: int, recent: list[float], state: QualityState) -> None:
    assert look(total, n, recent).state == state


def test_an_estimate_survives_the_journal() -> None:
    for estimate in (look(0, 0, []), look(350.25, 5000, losses(35, 500))):
        body = msgspec.json.encode(estimate)
        assert msgspec.json.decode(body, type=QualityEstimate) == estimate


def test_the_sentence_names_both_means_and_the_limit() -> None:
    sentence = look(350, 5000, losses(40, 500)).sentence
    for figure in ("8.0 %", "last 500 labels", "7.0 %", "all 5,000", "limit 10.0 %"):
        assert figure in sentence
    assert look(0, 0, []).sentence == "no labels yet"


def test_moments_of_shards_merged_in_any_order_give_the_same_estimate() -> None:
    parts = [Moments(100, 8.0, 8.0), Moments(400, 21.0, 21.0), Moments(37, 2.0, 2.0)]
    forward = parts[0].merge(parts[1]).merge(parts[2])
    backward = parts[2].merge(parts[1].merge(parts[0]))
    assert look(forward.total, forward.n, [0.0]) == look(backward.total, backward.n, [0.0])
