"""The scripted teacher plays back a mapping or a file."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from monitor.teachers import Question
from monitor.teachers.scripted import ScriptedTeacher, read_recorded
from schemas.errors import ConfigError, TeacherUnavailableError

ROWS = b"""
{"id": "t1", "text": "a", "teacher": {"label": "refund", "latency_ms": 5.5, "cost_usd": 0.1,
  "probabilities": [["refund", 0.9]], "input_tokens": 3, "model": "ignored"}, "gold": "size"}
{"id": "t2", "text": "b", "teacher": {"label": null, "cost_usd": 0.2}, "split": "ignored"}
""".replace(b",\n ", b",")


def ask(teacher: ScriptedTeacher, ticket: str, *taxonomy: str) -> tuple[str | None, str]:
    answer = teacher.ask(Question(ticket_id=ticket, text="x", taxonomy=taxonomy))
    return answer.output, answer.abstained


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_a_recorded_file_is_played_back(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(ROWS) if name.endswith("gz") else ROWS)
    assert [(row.id, row.text, row.gold) for row in read_recorded(path)] == [
        ("t1", "a", "size"),
        ("t2", "b", None),
    ]
    teacher = ScriptedTeacher.from_file(path, name="recorded")
    answer = teacher.ask(Question(ticket_id="t1", text="a", taxonomy=("refund",)))
    assert (answer.output, answer.cost_usd, answer.latency_ms) == ("refund", 0.1, 5.5)
    assert answer.probabilities == (("refund", 0.9),)
    assert teacher.name == "recorded"
    assert ask(teacher, "t2") == (None, "invalid"), "a recorded abstention"
    assert teacher.most_it_can_cost(Question(ticket_id="t2", text="b")) == 0.2


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


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"not json\n", "line 1"),
        (b'\n{"id": "t", "text": "x"}\n', "line 2.*teacher"),
        (b'{"id": "t", "text": "x", "teacher": {"label": 7}}\n', r"label"),
        (b'{"id": "t", "text": "x", "teacher": {"label": "a", "cost_usd": -1}}\n', "cost_usd"),
    ],
)
def test_a_line_that_is_no_row_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        ScriptedTeacher.from_file(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "cut.gz").write_bytes(gzip.compress(ROWS)[:-20])
    (tmp_path / "plain.gz").write_bytes(ROWS)
    for name in ("missing.jsonl", "cut.gz", "plain.gz"):
        with pytest.raises(ConfigError, match=name):
            ScriptedTeacher.from_file(tmp_path / name)
