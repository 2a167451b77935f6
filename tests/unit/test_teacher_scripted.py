"""The scripted teacher plays back a mapping."""

from __future__ import annotations

import pytest

from monitor.teachers import Question
from monitor.teachers.scripted import ScriptedTeacher
from schemas.errors import TeacherUnavailableError


def ask(teacher: ScriptedTeacher, ticket: str, *taxonomy: str) -> tuple[str | None, str]:
    answer = teacher.ask(Question(ticket_id=ticket, text="x", taxonomy=taxonomy))
    return answer.output, answer.abstained


def test_what_the_script_does_not_say_is_an_abstention() -> None:
    teacher = ScriptedTeacher({"t1": "refund"})
    assert ask(teacher, "t2") == (None, "invalid")
    assert ask(teacher, "t1", "size", "late") == (None, "invalid"), "a label outside the taxonomy"
    assert ask(teacher, "t1", "size", "refund") == ("refund", "")


def test_it_fails_as_often_as_it_is_told() -> None:
    teacher = ScriptedTeacher({"t1": "refund"})
    down = TeacherUnavailableError("down", retryable=True)
    teacher.fail_next(down, down)
    for _ in range(2):
        with pytest.raises(TeacherUnavailableError):
            ask(teacher, "t1")
    assert ask(teacher, "t1") == ("refund", "")


def test_another_script_has_another_hash() -> None:
    one, same, other = (
        ScriptedTeacher(script).prompt_hash
        for script in ({"a": "x", "b": "y"}, {"b": "y", "a": "x"}, {"a": "y", "b": "x"})
    )
    assert one == same != other
