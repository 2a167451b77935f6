"""How the teacher stands: a table of facts, and the words in which they are told."""

from __future__ import annotations

from typing import Any

import pytest

from monitor.estimation.gold import Agreement, Checked
from monitor.estimation.standing import Asked, student_gold, weigh
from schemas.teachers import TeacherStanding

NEW = TeacherStanding(generation="g", name="big", prompt_hash="p", since=0.0)


def answers(right: int, wrong: int) -> list[Checked]:
    """Tickets that all were as likely to be checked; every second error is a disagreement."""
    rows = [Checked(20.0, 0.0, 0.0, 0.0)] * right
    return rows + [Checked(20.0, float(n % 2), 0.0, 1.0) for n in range(wrong)]


def standing(checked: list[Checked], **facts: Any) -> TeacherStanding:
    n = len(checked)
    given: dict[str, Any] = {
        "labels": Agreement.of((row.disagreement, 0.05) for row in checked),
        "asked": Asked(n, n, 0),
        "volunteered": 0,
        "tolerance": 0.1,
        "alarmed": False,
    }
    return weigh(NEW, checked=checked, **(given | facts))


TABLE: list[tuple[str, list[Checked], dict[str, Any], str]] = [
    ("nobody has answered", [], {}, "not enough gold"),
    ("one answer too few", answers(97, 2), {}, "not enough gold"),
    ("just enough answers", answers(98, 2), {}, "within"),
    ("more errors than are accepted, and no alarm yet", answers(85, 15), {}, "unsure"),
    ("the alarm has paged", answers(60, 40), {"alarmed": True}, "out"),
    ("the alarm pages before there are enough", answers(10, 30), {"alarmed": True}, "out"),
    ("nobody has accepted a tolerance", answers(300, 2), {"tolerance": None}, "no tolerance"),
    ("half of those asked answered", answers(298, 2), {"asked": Asked(600, 300, 300)}, "within"),
    ("most of those asked did not", answers(298, 2), {"asked": Asked(601, 300, 301)}, "unsure"),
    ("most of those asked have time", answers(298, 2), {"asked": Asked(900, 300, 0)}, "within"),
]


@pytest.mark.parametrize(
    ("prose", "checked", "facts", "state"), TABLE, ids=[row[0] for row in TABLE]
)
def test_the_teacher_stands(
    prose: str, checked: list[Checked], facts: dict[str, Any], state: str
) -> None:
    found = standing(checked, **facts)
    assert found.state == state, prose
    assert found.verified == (state == "within")
    assert found.reason


def test_its_reason_has_the_figures() -> None:
    found = standing(answers(285, 15), asked=Asked(400, 300, 20), volunteered=7)
    assert found.reason == (
        "the teacher is wrong in 5.0 % of the tickets (95 % interval 2.0 to 9.8 %, any number of "
        "looks), by 300 answers of people; 10.0 % is accepted; 20 of 320 that were asked about "
        "stayed unanswered"
    )
    assert found.volunteered == 7
    assert found.generation == "g"


def test_agreement_that_overstates_correctness_is_said_to() -> None:
    rows = [Checked(20.0, 0.0, 0.0, 0.0)] * 340 + [Checked(20.0, 0.0, 1.0, 1.0)] * 60
    rows += [Checked(5.0, 1.0, 1.0, 0.0)] * 120 + [Checked(5.0, 1.0, 0.0, 1.0)] * 40
    labels = Agreement.of([(0.0, 0.05)] * 9000 + [(1.0, 0.05)] * 1000)
    said = student_gold("m1", rows, labels).sentence
    assert said.startswith(
        "agrees with the teacher in 90.0 % (95 % interval 89.0 to 91.0 %) of the tickets and is "
        "right in 79.0 % (95 % interval 73.9 to 84.1 %), any number of looks"
    )
    assert said.endswith("agreement overstates correctness by 11.0 points")


def test_agreement_with_a_teacher_that_is_right_overstates_nothing() -> None:
    rows = [Checked(20.0, 0.0, 0.0, 0.0)] * 200 + [Checked(5.0, 1.0, 1.0, 0.0)] * 60
    labels = Agreement.of([(0.0, 0.05)] * 9000 + [(1.0, 0.05)] * 1000)
    assert student_gold("m1", rows, labels).sentence.endswith("do not differ measurably")


def test_agreement_with_a_teacher_that_is_often_wrong_understates_the_student() -> None:
    rows = [Checked(20.0, 0.0, 0.0, 0.0)] * 200 + [Checked(5.0, 1.0, 0.0, 1.0)] * 160
    labels = Agreement.of([(0.0, 0.05)] * 7000 + [(1.0, 0.05)] * 3000)
    said = student_gold("m1", rows, labels).sentence
    assert said.endswith("agreement understates correctness by 30.0 points")


def test_with_few_answers_nothing_is_said_of_correctness() -> None:
    labels = Agreement.of([(0.0, 0.05)] * 900 + [(1.0, 0.05)] * 100)
    said = student_gold("m1", answers(20, 0), labels).sentence
    assert "90.0 %" in said
    assert "20 of 100" in said
