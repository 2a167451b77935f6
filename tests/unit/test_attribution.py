"""Which of inputs, teacher, student, judge and serving raised the disagreement."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import factories
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.attribution import Answered, Attribution, Period, attribute, beginning
from monitor.attribution.parts import OTHERS, Rate, segment_of, split
from monitor.attribution.repeats import Repeats
from schemas.windows import Moments, WindowSummary

CLASSES = ("refund", "delivery", "account")
BEFORE = 36


def answered(ticket_id: str, output: str, label: str | None, **facts: Any) -> Answered:
    """A labelled sample; the loss is 0 or 1 by equality, unless it is given."""
    sampled = {
        k: facts[k] for k in ("text", "model", "served_by", "segments", "reason") if k in facts
    }
    told = {k: facts[k] for k in ("teacher", "prompt_hash", "comparator") if k in facts}
    loss = None if label is None else float(output != label)
    sample = factories.sample(
        ticket_id,
        0.0,
        **({"text": ticket_id, "output": output, "inclusion_probability": 0.05} | sampled),
    )
    given_ = factories.label(ticket_id, 0.0, label, disagreement=facts.get("loss", loss), **told)
    return Answered(sample, given_, facts.get("probability", 0.05))


def labels(
    name: str, wrong: Mapping[str, int], each: int = 100, says: str = "other", **facts: Any
) -> list[Answered]:
    """So many labels of each class, and how many of them the teacher denies."""
    return [
        answered(f"{name}-{c}-{n}", c, says if n < wrong.get(c, 0) else c, **facts)
        for c in CLASSES
        for n in range(each)
    ]


def sentinels(name: str, count: int, changed: int) -> list[Answered]:
    return [
        answered(f"{name}-{n}", "refund", "size" if n < changed else "refund", reason="sentinel")
        for n in range(count)
    ]


def windows(first: int, count: int, **changes: Any) -> list[WindowSummary]:
    """Ten minutes each, of 300 tickets; what is not named is as ever, give or take a little."""
    rng = random.Random(first)

    def about(n: int) -> int:
        return max(0, n + rng.randint(-3, 3))

    def counts(usual: Mapping[Any, int], field: str) -> dict[Any, int]:
        return {name: about(n) for name, n in {**usual, **changes.get(field, {})}.items()}

    mean = changes.get("latency", 30.0)
    return [
        WindowSummary(
            segment="*",
            start=(first + n) * 600.0,
            length=600.0,
            pairs=300,
            models=changes.get("models", {"m1": 300}),
            classes=counts(dict.fromkeys(CLASSES, 100), "classes"),
            confidence=Moments(300, 270.0, 245.0),
            latency_ms=Moments(300, 300 * mean, 300 * mean**2),
            text_length=Moments(300, 30_000.0, 3.1e6),
            confidence_bins=counts({50: 100, 55: 100, 60: 100}, "confidence_bins"),
            text_length_bins=counts({30: 150, 33: 150}, "text_length_bins"),
            latency_bins=counts({20: 150, 23: 150}, "latency_bins"),
            words=counts(dict.fromkeys(range(0, 256, 4), 50), "words"),
        )
        for n in range(count)
    ]


CALM = Period(
    windows(0, BEFORE),
    [*labels("old", dict.fromkeys(CLASSES, 5)), *sentinels("canary", 200, 2)],
)
WORSE = {"refund": 5, "delivery": 45, "account": 5}


def now(found: Sequence[Answered] = (), **changes: Any) -> Period:
    """A time in which deliveries are answered worse; sentinels are as before."""
    return Period(
        windows(BEFORE, 6, **changes),
        [*(found or labels("new", WORSE)), *sentinels("canary-again", 200, 2)],
    )


def verdicts(found: Attribution) -> dict[str, str]:
    return {cause.name: cause.verdict for cause in found.causes}


SURE = {"confidence_bins": {50: 200, 55: 60, 60: 40}}
NEW_WORDS = {"words": {3: 60, 7: 60, 11: 60, 15: 60}}


def other_teacher() -> list[Answered]:
    return [*labels("new", WORSE), *sentinels("late", 200, 60)]


def new_version() -> list[Answered]:
    return [
        *labels("m1", dict.fromkeys(CLASSES, 3), each=50),
        *labels("m2", dict.fromkeys(CLASSES, 25), each=50, model="m2"),
    ]


def broken_serving() -> list[Answered]:
    """Texts that were asked before, of which a third is answered otherwise."""
    again = [f"old-{c}-{n}" for c in CLASSES for n in range(30)]
    return [
        *labels("new", WORSE),
        *(answered(f"again-{text}", "fees", text.split("-")[1], text=text) for text in again[:30]),
        *(
            answered(f"again-{text}", text.split("-")[1], text.split("-")[1], text=text)
            for text in again[30:]
        ),
    ]


def stricter_judge() -> list[Answered]:
    return [
        *labels("new", {}, each=80),
        *(answered(f"j-{n}", "delivery", "delivery", loss=1.0) for n in range(60)),
    ]


CAUSES = [
    ("new words", now(**NEW_WORDS), "inputs", "words"),
    ("sentinels are answered otherwise", now(other_teacher()), "teacher", "62 of 400"),
    (
        "another prompt",
        now(labels("new", WORSE, prompt_hash="p2")),
        "teacher",
        "large with prompt p2 in place of large with prompt p1",
    ),
    (
        "a teacher that falls silent",
        now([*labels("new", WORSE), *(answered(f"a{n}", "refund", None) for n in range(60))]),
        "teacher",
        "it abstains on 16.7 % (before 0.0 %)",
    ),
    (
        "another version",
        now(new_version(), models={"m1": 150, "m2": 150}),
        "student",
        "m2 answers 50.0 % of the traffic (before 0.0 %)",
    ),
    ("old texts are answered otherwise", now(broken_serving()), "serving", "30 of 90 old"),
    (
        "less sure of the same questions, and slower",
        now(**SURE, latency=240.0, latency_bins={20: 0, 32: 300}),
        "serving",
        "time taken 30 -> 240 ms",
    ),
    ("the same answers have another loss", now(stricter_judge()), "judge", "60 of 300 repeated"),
    (
        "another comparator",
        now(labels("new", WORSE, comparator="exact")),
        "judge",
        "comparator exact judges now",
    ),
]


@pytest.mark.parametrize(
    ("period", "cause", "said"), [c[1:] for c in CAUSES], ids=[c[0] for c in CAUSES]
)
def test_each_cause_comes_first_with_its_figures(period: Period, cause: str, said: str) -> None:
    found = attribute(CALM, period)
    assert found.causes[0].name == cause
    assert found.causes[0].verdict == "changed"
    assert said in found.causes[0].because
    assert f"changed: {cause} (" in found.sentence


def test_with_nothing_changed_all_is_as_before_and_nobody_is_accused() -> None:
    same = labels("new", dict.fromkeys(CLASSES, 6))
    found = attribute(CALM, now(same))
    assert "changed" not in verdicts(found).values()
    assert "no clear difference" in found.sentence
    assert "what is left" not in found.sentence


def test_a_cause_is_left_when_all_others_are_ruled_out() -> None:
    without = Period(CALM.windows, [a for a in CALM.answered if a.sample.reason == "random"])
    here = now()
    found = attribute(
        without, Period(here.windows, [a for a in here.answered if a.sample.reason == "random"])
    )
    assert verdicts(found)["teacher"] == "unknown"
    assert set(verdicts(found).values()) == {"unknown", "unchanged"}
    assert "what is left is the teacher" in found.sentence
    assert "not known: teacher (no old question was asked again)" in found.sentence


def test_the_teacher_is_cleared_by_figures_and_only_by_enough_of_them() -> None:
    cleared = attribute(CALM, now(**NEW_WORDS))
    assert "as before: " in cleared.sentence
    assert (
        "teacher (2 of 200 old questions answered otherwise, 1.5 % by chance)" in cleared.sentence
    )
    # five that did not change rule out nothing
    few = Period(now().windows, [*labels("new", WORSE), *sentinels("few", 5, 0)])
    assert verdicts(attribute(CALM, few))["teacher"] == "unknown"


def test_two_abstentions_of_thirty_are_no_other_teacher() -> None:
    few = [*labels("new", WORSE, each=10), *(answered(f"a{n}", "refund", None) for n in range(2))]
    assert verdicts(attribute(CALM, now(few)))["teacher"] == "unchanged"


def test_without_windows_nothing_is_said_about_the_traffic() -> None:
    bare = Period((), CALM.answered), Period((), now().answered)
    found = attribute(*bare)
    assert verdicts(found)["inputs"] == "unknown"
    assert verdicts(found)["serving"] == "unknown"
    assert verdicts(found)["student"] == "unknown"
    assert "inputs (too few windows to compare)" in found.sentence


def test_too_few_labels_are_no_case() -> None:
    found = attribute(CALM, Period((), labels("new", WORSE, each=9)))
    assert (found.causes, found.splits) == ((), ())
    assert found.sentence == "not enough labels to say where it comes from: 300 before, 27 since"


def test_the_points_of_known_causes_leave_the_rest_to_the_inputs() -> None:
    both = now([*labels("new", WORSE), *sentinels("late", 200, 20)], **NEW_WORDS)
    found = attribute(CALM, both)
    points = {cause.name: cause.points for cause in found.causes if cause.verdict == "changed"}
    assert points["teacher"] == pytest.approx(22 / 400 - 3 / 202)
    assert points["inputs"] == pytest.approx(40 / 300 - points["teacher"])
    assert found.splits[0].difference == pytest.approx(40 / 300)


def test_nobody_knows_what_is_left_while_a_cause_has_not_spoken() -> None:
    moved = now(**NEW_WORDS, classes={"delivery": 200})
    found = attribute(CALM, moved)
    assert verdicts(found)["serving"] == "unknown"
    assert next(c for c in found.causes if c.name == "inputs").points is None


def test_the_sentence_names_the_part_that_is_answered_worse() -> None:
    found = attribute(CALM, now())
    assert found.sentence.startswith(
        "13.3 points more than before (5.0 % -> 18.3 %, 95 % intervals 2.8 to 8.1 and 14.1 to "
        "23.2 %, one look, 300 and 300 labels), all of it comes from within `delivery` "
        "(5.0 % -> 45.0 %, 95 % intervals 1.6 to 11.3 and 35.0 to 55.3 %)"
    )


def test_the_sentence_names_the_part_that_is_asked_more() -> None:
    was = labels("a", {"delivery": 40, "refund": 2, "account": 2})
    extra = [answered(f"x{n}", "delivery", "other" if n < 120 else "delivery") for n in range(300)]
    found = attribute(Period((), was), Period((), [*labels("c", {"delivery": 40}), *extra]))
    assert "from more of `delivery` (" in found.sentence


def test_a_segment_is_named_where_it_tells_more_than_the_classes() -> None:
    def of(channel: str, name: str, wrong: int) -> list[Answered]:
        segments = ("*", f"channel={channel}")
        return labels(name, dict.fromkeys(CLASSES, wrong), each=40, segments=segments)

    was = Period((), [*of("mail", "a", 2), *of("app", "b", 2)])
    are = Period((), [*of("mail", "c", 2), *of("app", "d", 24)])
    assert (
        "from within `channel=app` (5.0 % -> 60.0 %, 95 % intervals" in attribute(was, are).sentence
    )


def test_planted_requested_and_the_teachers_own_answers_are_no_evidence_of_the_student() -> None:
    extra = [
        answered("s", "refund", "other", reason="sentinel"),
        answered("r", "refund", "other", reason="requested"),
        answered("t", "refund", "other", served_by="teacher"),
        answered("n", "refund", None),
    ]
    assert Period((), extra).losses() == []


# --- parts -----------------------------------------------------------------------------------

rate_tables = st.dictionaries(
    st.sampled_from("abcdef"),
    st.tuples(st.integers(1, 400), st.floats(0, 1), st.floats(1, 50)),
    min_size=1,
)


def table(drawn: Mapping[str, tuple[int, float, float]]) -> dict[str, Rate]:
    return {
        name: Rate(n, n * weight, n * weight**2, n * weight * loss)
        for name, (n, loss, weight) in drawn.items()
    }


@given(before=rate_tables, now=rate_tables)
def test_the_parts_add_up_to_the_difference(before: Any, now: Any) -> None:
    was, are = table(before), table(now)
    found = split("class", was, are)

    def mean(rates: Mapping[str, Rate]) -> float:
        return math.fsum(r.total for r in rates.values()) / math.fsum(
            r.weight for r in rates.values()
        )

    assert found.difference == pytest.approx(mean(are) - mean(was), abs=1e-9)
    assert found.within + found.mix == pytest.approx(found.difference, abs=1e-9)
    assert math.fsum(p.share_now for p in found.parts) == pytest.approx(1.0)


def test_a_part_of_few_labels_is_among_all_others() -> None:
    was = {"refund": Rate(100, 100, 100, 5), "rare": Rate(4, 4, 4, 1)}
    are = {"refund": Rate(100, 100, 100, 9), "odd": Rate(5, 5, 5, 1)}
    assert {part.name for part in split("class", was, are).parts} == {"refund", OTHERS}


def test_a_part_that_was_not_there_is_mix() -> None:
    was = {"m1": Rate(100, 100, 100, 5)}
    are = {"m1": Rate(50, 50, 50, 2.5), "m2": Rate(50, 50, 50, 25)}
    found = split("version", was, are)
    assert found.within == pytest.approx(0.0)
    assert found.mix == pytest.approx(found.difference)


def test_tickets_count_by_what_they_stand_for() -> None:
    # 10 of 20 labels of a part asked about at 50 %, none of 10 asked about at 5 %
    risky = [answered(f"r{n}", "a", "b" if n < 10 else "a", probability=0.5) for n in range(20)]
    safe = [answered(f"s{n}", "a", "a", probability=0.05) for n in range(10)]
    losses = Period((), [*risky, *safe]).losses()
    weight = math.fsum(one.weight for one in losses)
    assert math.fsum(one.weight * one.loss for one in losses) / weight == pytest.approx(20 / 240)


def test_nothing_is_compared_with_nothing() -> None:
    with pytest.raises(ValueError, match="a period holds no labels"):
        split("class", {}, {"a": Rate(1, 1, 1, 0)})


def test_a_ticket_without_the_attribute_has_a_part_of_its_own() -> None:
    sample = answered("t", "refund", "refund", segments=("*", "channel=mail")).sample
    assert segment_of("channel")(sample) == "channel=mail"
    assert segment_of("language")(sample) == "no language"


# --- repeats ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "changed", "surprising"),
    [(0, 0, False), (200, 10, False), (200, 30, True), (10, 3, False), (3, 3, True)],
)
def test_other_answers_surprise_where_chance_does_not_explain_them(
    asked: int, changed: int, *, surprising: bool
) -> None:
    assert (Repeats(asked, changed, 0.05).surprise < 1e-3) == surprising


def test_what_may_have_changed_unseen_shrinks_with_what_was_asked() -> None:
    most = [Repeats(n, 0, 0.0).most for n in (0, 10, 200, 2000)]
    assert most == sorted(most, reverse=True)
    assert most[0] == 1.0
    assert most[2] == pytest.approx(0.018, abs=0.001)


def test_windows_in_any_order_of_segments_say_the_same() -> None:
    mail = [
        msgspec.structs.replace(w, segment="channel=mail", pairs=90) for w in windows(0, BEFORE)
    ]
    later = [
        msgspec.structs.replace(w, segment="channel=mail", pairs=90) for w in windows(BEFORE, 6)
    ]
    one = attribute(
        Period([*CALM.windows, *mail], CALM.answered),
        Period([*now().windows, *later], now().answered),
    )
    two = attribute(
        Period([*mail, *CALM.windows], CALM.answered),
        Period([*later, *now().windows], now().answered),
    )
    assert one == two


# --- since when ------------------------------------------------------------------------------


def moments(*wrong: int) -> list[Moments]:
    return [Moments(100, float(n), float(n)) for n in wrong]


@pytest.mark.parametrize(
    ("prose", "found", "expected"),
    [
        ("a step", moments(*[8] * 30, *[25] * 4), 30),
        ("a step of one window, so far", moments(*[8] * 30, 40), 30),
        ("bad from the first window on", moments(*[25] * 30), 0),
        ("a wobble", moments(*[8, 11] * 20), 0),
        ("a fall is no rise", moments(*[25] * 20, *[8] * 20), 0),
        ("one window", moments(9), 0),
        ("no ticket at all", [Moments()] * 3, 0),
        ("not one loss", moments(*[0] * 9), 0),
        ("quiet windows between", [*moments(*[8] * 20), *[Moments()] * 5, *moments(*[30] * 5)], 25),
    ],
)
def test_the_rise_begins_where_the_means_lie_furthest_apart(
    prose: str, found: list[Moments], expected: int
) -> None:
    begun = beginning(found)
    # an empty window belongs to either side
    assert begun == expected or all(w.n == 0 for w in found[begun:expected]), prose
