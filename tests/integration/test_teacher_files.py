"""Files that a teacher reads: recorded answers and the key."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from monitor.teachers import Question
from monitor.teachers.http_settings import HttpTeacherSettings, read_key
from monitor.teachers.scripted import ScriptedTeacher, read_recorded
from schemas.errors import ConfigError

ROWS = b"""
{"id": "t1", "text": "a", "teacher": {"label": "refund", "latency_ms": 5.5, "cost_usd": 0.1,
  "probabilities": [["refund", 0.9]], "input_tokens": 3, "model": "ignored"}, "gold": "size"}
{"id": "t2", "text": "b", "teacher": {"label": null, "cost_usd": 0.2}, "split": "ignored"}
""".replace(b",\n ", b",")
CANARY = "sk-canary-4711"


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
    abstention = teacher.ask(Question(ticket_id="t2", text="b"))
    assert (abstention.output, abstention.abstained) == (None, "invalid")
    assert teacher.most_it_can_cost(Question(ticket_id="t2", text="b")) == 0.2


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
        with pytest.raises(ConfigError, match=name) as caught:
            ScriptedTeacher.from_file(tmp_path / name)
        assert "line 0" not in str(caught.value)
        assert "Errno" not in str(caught.value)


def settings(**key: str) -> HttpTeacherSettings:
    return HttpTeacherSettings(base_url="http://127.0.0.1:1/v1", model="m", **key)


@pytest.mark.parametrize(
    "content", [f"{CANARY} {CANARY}", f"{CANARY}\nX-Other: 1", f"{CANARY}é", "", "\n"]
)
def test_a_file_that_holds_no_key_is_not_quoted(tmp_path: Path, content: str) -> None:
    file = tmp_path / "key"
    file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        read_key(settings(key_file=str(file)))
    assert CANARY not in repr(caught.value) + str(caught.value)
    assert caught.value.__cause__ is None


def test_the_key_is_read_from_where_the_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text(CANARY + "\n")
    monkeypatch.setenv("PROCTORD_TEST_KEY", CANARY)
    assert read_key(settings(key_file=str(file))) == CANARY
    assert read_key(settings(key_env="PROCTORD_TEST_KEY")) == CANARY
    assert not read_key(settings())
