import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.segments import Segments
from monitor.watermark import Watermark
from monitor.windows import Classes, Windows, slice_start
from schemas.samples import Pair
from schemas.windows import MAX_CLASSES, OTHER, Moments, WindowSummary


def pair(at: float = 0.0, **changes: Any) -> Pair:
    fields = {
        "ticket_id": "t",
        "asked_at": at,
        "answered_at": at + 1,
        "text": "",
        "output": "refund",
        "model": "m1",
        "served_by": "student",
        "confidence": 0.5,
        "latency_ms": 20.0,
        "cost_usd": None,
        "segments": ("*", "channel=mail"),
    }
    return Pair(**{**fields, **changes})


def summed(pairs: list[Pair]) -> tuple[WindowSummary, ...]:
    windows = Windows(60.0, 0.0)
    for one in pairs:
        windows.add(one, 10, one.output)
    return windows.take()


# --- summaries -----------------------------------------------------------------------------

counts = st.dictionaries(st.sampled_from("abc"), st.integers(1, 9), max_size=3)
# multiples of a power of two add up without rounding, so equality can be asked for
numbers = st.integers(-1000, 1000).map(lambda n: n / 8)
strata = st.dictionaries(
    st.sampled_from(["1/m1", "2/m1"]), st.dictionaries(st.integers(0, 3), st.integers(1, 9))
)
moments = st.builds(Moments, st.integers(0, 9), numbers, numbers)
summaries = st.builds(
    WindowSummary,
    segment=st.just("*"),
    start=st.just(0.0),
    length=st.just(60.0),
    pairs=st.integers(0, 99),
    unanswered=st.integers(0, 99),
    models=counts,
    classes=counts,
    strata=strata,
    confidence=moments,
    text_length=moments,
    latency_ms=moments,
    cost_usd=moments,
)


@given(summaries, summaries, summaries)
def test_merging_is_associative_and_commutative(
    a: WindowSummary, b: WindowSummary, c: WindowSummary
) -> None:
    assert a.merge(b).merge(c) == a.merge(b.merge(c))
    assert a.merge(b) == b.merge(a)


def test_summaries_of_different_slices_do_not_merge() -> None:
    (one, *_), (two, *_) = summed([pair(0.0)]), summed([pair(60.0)])
    with pytest.raises(ValueError, match="cannot merge"):
        one.merge(two)


@given(st.lists(st.sampled_from([0, 1]), max_size=20))
def test_two_partitions_merge_to_the_summary_of_all(shards: list[int]) -> None:
    pairs = [pair(output=f"c{i % 3}", confidence=i / 32) for i in range(len(shards))]
    parts = [summed([p for p, at in zip(pairs, shards, strict=True) if at == k]) for k in (0, 1)]
    merged = {}
    for summary in [*parts[0], *parts[1]]:
        known = merged.get(summary.key)
        merged[summary.key] = known.merge(summary) if known else summary
    assert list(merged.values()) == list(summed(pairs))


@pytest.mark.parametrize("quantity", ["confidence", "latency_ms", "cost_usd", "text_length"])
def test_moments_are_those_of_the_values(quantity: str) -> None:
    values = random.Random(1).choices(range(50), k=40)
    windows = Windows(60.0, 0.0)
    for value in values:
        one = pair() if quantity == "text_length" else pair(**{quantity: float(value)})
        windows.add(one, value, "refund")
    found: Moments = getattr(windows.take()[0], quantity)
    mean = sum(values) / 40
    assert (found.n, found.mean) == (40, pytest.approx(mean))
    assert found.variance == pytest.approx(sum((v - mean) ** 2 for v in values) / 40)


def test_there_is_no_mean_of_nothing() -> None:
    assert math.isnan(summed([pair()])[0].cost_usd.mean)


# --- windows -------------------------------------------------------------------------------


def test_a_pair_is_counted_in_each_of_its_segments_in_the_slice_it_was_asked_in() -> None:
    found = summed([pair(59.9), pair(60.0), pair(61.0)])
    assert [(w.segment, w.start, w.pairs) for w in found] == [
        ("*", 0.0, 1),
        ("channel=mail", 0.0, 1),
        ("*", 60.0, 2),
        ("channel=mail", 60.0, 2),
    ]


def test_what_describes_the_student_leaves_out_the_answers_of_others() -> None:
    found, _ = summed([pair(), pair(served_by="teacher", model="big", cost_usd=1.0)])
    assert (found.pairs, found.models, found.text_length.n) == (2, {"m1": 1, "big": 1}, 2)
    assert found.classes == {"refund": 1}
    assert (found.confidence.n, found.latency_ms.n, found.cost_usd.n) == (1, 1, 0)


def test_a_pair_of_a_closed_slice_is_late_and_changes_nothing() -> None:
    windows = Windows(60.0, 0.0)
    windows.add(pair(10.0), 1, "a")
    windows.close(60.0)
    assert windows.add(pair(59.0), 1, "a") is None
    assert windows.add(pair(60.0), 1, "a") == ["*", "channel=mail"]
    assert [(w.start, w.pairs) for w in windows.take()] == [
        (0.0, 1),
        (0.0, 1),
        (60.0, 1),
        (60.0, 1),
    ]


def test_a_students_pair_is_counted_by_plan_and_stratum_in_each_of_its_segments() -> None:
    windows = Windows(60.0, 0.0)
    for stratum in (0, 2, 2):
        windows.add(pair(), 1, "a", place=("1/m1", stratum))
    windows.add(pair(served_by="teacher", model="big"), 1, "a")
    assert [w.strata for w in windows.take()] == [{"1/m1": {0: 1, 2: 2}}] * 2


def test_a_pair_is_counted_for_the_estimates_in_its_slice_or_the_oldest_that_is_open() -> None:
    windows = Windows(60.0, 0.0)
    assert windows.start_of(10.0) == 0.0
    windows.close(120.0)
    assert windows.start_of(10.0) == windows.start_of(130.0) == 120.0
    assert windows.start_of(180.0) == 180.0


def test_in_a_slice_that_was_judged_nothing_is_counted_for_the_estimates() -> None:
    windows = Windows(60.0, 0.0)
    windows.judged(-math.inf)
    assert windows.start_of(10.0) == 0.0
    windows.judged(60.0)
    assert [windows.start_of(at) for at in (10.0, 70.0, 130.0, 190.0)] == [
        120.0,
        120.0,
        120.0,
        180.0,
    ]


def test_a_late_pair_is_counted_for_the_estimates_alone() -> None:
    windows = Windows(60.0, 0.0)
    windows.close(120.0)
    assert windows.count(("*", "channel=mail"), ("1/m1", 0), 120.0) == ["*", "channel=mail"]
    assert windows.count(("*",), ("1/m1", 0), 120.0) == []
    found = [(w.segment, w.start, w.pairs, w.strata) for w in windows.take()]
    assert found == [
        ("*", 120.0, 0, {"1/m1": {0: 2}}),
        ("channel=mail", 120.0, 0, {"1/m1": {0: 1}}),
    ]


def test_a_flood_of_students_is_counted_under_one_name() -> None:
    windows = Windows(60.0, 0.0)
    for n in range(MAX_CLASSES + 5):
        windows.add(pair(segments=("*",)), 1, "a", place=(f"1/m{n}", 1))
    (found,) = windows.take()
    assert len(found.strata) == MAX_CLASSES + 1
    assert found.strata[f"0/{OTHER}"] == {1: 5}


def test_only_what_changed_is_taken() -> None:
    windows = Windows(60.0, 0.0)
    windows.add(pair(10.0), 1, "a")
    assert len(windows.take()) == 2
    assert windows.take() == ()
    windows.add(pair(10.0, segments=("*",)), 1, "a")
    assert [(w.segment, w.pairs) for w in windows.take()] == [("*", 2)]


def test_a_closed_window_leaves_memory_and_is_not_written_twice() -> None:
    windows = Windows(60.0, 0.0)
    windows.add(pair(10.0), 1, "a")
    windows.take()
    windows.close(120.0)
    assert windows.take() == ()


def test_windows_of_another_length_stay_as_they_are() -> None:
    old = WindowSummary(segment="*", start=600.0, length=600.0, pairs=5)
    windows = Windows(60.0, 0.0, [old])
    windows.add(pair(610.0, segments=("*",)), 1, "a")
    assert [(w.start, w.length, w.pairs) for w in windows.take()] == [(600.0, 60.0, 1)]


def test_classes_beyond_the_cap_are_counted_under_other() -> None:
    found, _ = summed([pair(output=f"c{i}") for i in range(MAX_CLASSES + 3)] + [pair(output="c0")])
    assert len(found.classes) == MAX_CLASSES + 1
    assert (found.classes[OTHER], found.classes["c0"]) == (3, 2)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("refund_status", "refund_status"),  # a label of the taxonomy
        ("Dear Jo, " * 20, OTHER),  # a text: each would be a class of its own
        ("call +49 30 1234567", OTHER),  # personal data must not become a name
    ],
)
def test_the_class_of_an_answer(output: str, expected: str) -> None:
    classes = Classes()
    assert [classes.of(output), classes.of(output)] == [expected, expected]


# --- watermark -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        # both streams have come to about the same time
        ([("ticket", 1000.0), ("answer", 1010.0)], 990.0),
        # tickets ran ahead while a backlog is read: answers hold the watermark back
        ([("answer", 1000.0), ("ticket", 1400.0)], 990.0),
        # and the other way round
        ([("ticket", 1000.0), ("answer", 1400.0)], 990.0),
        # answers stopped long ago: they are no longer waited for
        ([("answer", 1000.0), ("ticket", 2500.0)], 1990.0),
        # an old event changes nothing
        ([("ticket", 1000.0), ("answer", 1000.0), ("ticket", 5.0), ("answer", 5.0)], 990.0),
        # one stream alone
        ([("ticket", 1000.0)], 490.0),
    ],
)
def test_the_watermark_follows_the_slower_stream(
    seen: list[tuple[str, float]], expected: float
) -> None:
    mark = Watermark(10.0, 500.0)
    for stream, at in seen:
        getattr(mark, f"see_{stream}")(at, latest=1e6, now=1e6)
    assert mark.value == expected


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1e6)), max_size=30))
def test_the_watermark_never_goes_back(seen: list[tuple[bool, float]]) -> None:
    mark, before = Watermark(10.0, 500.0), 0.0
    for is_ticket, at in seen:
        (mark.see_ticket if is_ticket else mark.see_answer)(at, latest=9e5, now=8e5)
        assert mark.value >= before
        before = mark.value


@given(st.floats(-1e9, 4e9), st.sampled_from([1.0, 60.0, 600.0, 3600.0]))
def test_a_time_lies_in_its_slice(at: float, length: float) -> None:
    assert slice_start(at, length) <= at < slice_start(at, length) + length


# --- segments ------------------------------------------------------------------------------


def test_segments_beyond_the_cap_are_one() -> None:
    segments = Segments(["channel", "language"], 3, {})
    assert segments.of({"channel": "mail", "language": "de"}, 0.0)[1:] == (
        "channel=mail",
        "language=de",
    )
    found = [segments.of({"channel": c, "language": "de"}, 0.0)[1] for c in ("a", "b", "a", "mail")]
    assert found == ["channel=a", "channel=__other__", "channel=a", "channel=mail"]
    assert (segments.take_others(), segments.take_others()) == (1, 0)


def test_an_attribute_that_is_not_there_is_a_segment_too() -> None:
    assert Segments(["channel"], 3, {}).of({}, 0.0) == ("*", "channel=__missing__")


@pytest.mark.parametrize("value", ["jo@example.org", "x" * 300])
def test_a_value_that_must_not_become_a_name_is_other(value: str) -> None:
    assert Segments(["channel"], 3, {}).of({"channel": value}, 0.0) == ("*", "channel=__other__")


def test_an_idle_segment_gives_its_place_back() -> None:
    segments = Segments(["channel"], 1, {})
    segments.of({"channel": "a"}, 0.0)
    segments.met("channel=a", 50.0)
    segments.forget(50.0)
    assert segments.of({"channel": "b"}, 60.0)[1] == "channel=__other__"
    segments.forget(51.0)
    assert segments.of({"channel": "b"}, 60.0)[1] == "channel=b"
    assert segments.of({"channel": "a"}, 60.0)[1] == "channel=__other__"
