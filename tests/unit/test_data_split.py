"""What is learned from and what is kept apart."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from retrain.data.select import CLASS_FLOOR, select, usable
from retrain.data.split import Split, split
from retrain.order import LabelledRow
from schemas.errors import ProctordError
from schemas.samples import SampleReason


def row(
    number: int, *, output: str = "refund", reason: SampleReason = "random", at: float | None = None
) -> LabelledRow:
    return LabelledRow(
        ticket_id=f"t{number}",
        at=float(number) if at is None else at,
        text=f"ticket {number}",
        output=output,
        probabilities=(),
        reason=reason,
        inclusion_probability=0.1,
    )


def parts(
    rows: Sequence[LabelledRow],
    clusters: Sequence[str] | None = None,
    *,
    recent_since: float = 0.0,
    first_student: bool = False,
) -> Split:
    names = clusters or [r.ticket_id for r in rows]
    return split(rows, names, recent_since=recent_since, first_student=first_student, seed=1)


def test_the_newest_random_rows_are_held_out_and_those_before_them_calibrate() -> None:
    found = parts([row(i) for i in range(100)])
    assert set(found.holdout_recent) == set(range(85, 100))
    assert set(found.calibration) == set(range(80, 85))
    assert set(found.train) == set(range(80))
    assert found.dropped == ()


def test_rows_that_training_asked_for_never_judge() -> None:
    rows = [row(i, reason="random" if i % 2 else "requested") for i in range(200)]
    found = parts(rows)
    assert all(rows[i].reason == "random" for i in (*found.holdout_recent, *found.calibration))
    assert len(found.holdout_recent) == 15


def test_the_archive_never_judges() -> None:
    found = parts([row(i) for i in range(200)], recent_since=150.0)
    assert min((*found.holdout_recent, *found.calibration)) >= 150


def test_a_cluster_that_touches_the_hold_out_leaves_training_and_calibration() -> None:
    rows = [row(i) for i in range(100)]
    names = [f"c{i}" for i in range(100)]
    names[3] = names[82] = names[99]
    names[4] = names[81]
    found = parts(rows, names)
    assert {3, 4, 82} == set(found.dropped)


def test_no_cluster_is_in_two_parts_whatever_the_clusters() -> None:
    draw = random.Random(5)
    for size in (100, 300, 1000):
        rows = [row(i) for i in range(300)]
        names = [f"c{draw.randrange(size)}" for _ in rows]
        found = parts(rows, names)
        seen = [
            {names[i] for i in part}
            for part in (found.train, found.calibration, found.holdout_recent)
        ]
        assert seen[0].isdisjoint(seen[1] | seen[2])
        assert seen[1].isdisjoint(seen[2])


def test_every_row_is_somewhere_once() -> None:
    rows = [row(i) for i in range(300)]
    names = [f"c{i // 3 if i > 200 else i}" for i in range(300)]
    found = parts(rows, names)
    everywhere = [*found.train, *found.calibration, *found.holdout_recent, *found.dropped]
    assert sorted(everywhere) == list(range(300))


def test_a_first_student_without_traffic_is_judged_on_a_draw_from_all_classes() -> None:
    # imported history in the order of its classes: its newest rows would all be of one class
    rows = [row(i, output=f"class{i // 100}", reason="requested", at=0.0) for i in range(1000)]
    found = parts(rows, first_student=True)
    held = Counter(rows[i].output for i in found.holdout_recent)
    assert len(found.holdout_recent) == 150
    assert len(held) == 10


def test_a_first_student_with_traffic_is_judged_on_its_newest_rows() -> None:
    rows = [row(i) for i in range(400)]
    assert set(parts(rows, first_student=True).holdout_recent) == set(range(340, 400))


def test_a_later_student_without_random_rows_is_refused() -> None:
    rows = [row(i, reason="requested") for i in range(500)]
    with pytest.raises(ProctordError, match="0 may judge a student"):
        parts(rows)


def test_one_cluster_for_all_leaves_nothing_to_learn_from_and_says_so() -> None:
    rows = [row(i) for i in range(100)]
    with pytest.raises(ProctordError, match="0 are left to learn from"):
        parts(rows, ["same"] * 100)


def test_planted_tickets_are_not_learned_from() -> None:
    assert usable([row(1), row(2, reason="sentinel")]) == [row(1)]


def test_the_last_label_of_a_ticket_counts() -> None:
    assert usable([row(1, output="old"), row(1, output="new")]) == [row(1, output="new")]


def test_the_archive_is_cut_to_its_size_but_spares_rare_classes() -> None:
    common = [row(i, output="common") for i in range(2000)]
    rare = [row(3000 + i, output="rare") for i in range(20)]
    archive, recent = select([*common, *rare], recent_since=9e9, archive_rows=300, seed=1)
    count = Counter(r.output for r in archive)
    assert (count["rare"], count["common"], recent) == (20, 280, [])


def test_the_floor_of_each_class_outweighs_the_size_of_the_archive() -> None:
    rows = [row(i, output=f"class{i % 4}") for i in range(1000)]
    archive, _ = select(rows, recent_since=9e9, archive_rows=10, seed=1)
    assert set(Counter(r.output for r in archive).values()) == {CLASS_FLOOR}


def test_the_archive_is_the_same_draw_each_time_and_another_with_another_seed() -> None:
    rows = [row(i) for i in range(1000)]
    draws = [select(rows, recent_since=9e9, archive_rows=200, seed=s)[0] for s in (1, 1, 2)]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]
