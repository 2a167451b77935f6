"""`proctord gold`: what a person is shown, on a real journal."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import factories
import msgspec
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from monitor.__main__ import app
from monitor.estimation.gold import Agreement
from monitor.loops.consume import ConsumeLoop, ConsumeSettings
from monitor.pipeline import PipelineSettings
from monitor.sampling import SamplingPlan
from monitor.sources.memory import MemorySource
from monitor.store import gold, reading, teachers
from monitor.store.gold import Draw
from schemas import tables
from schemas.events import Feedback, decode
from schemas.journal import ensure_schema, open_journal
from schemas.teachers import TeacherStanding
from tests.journal_rig import add_labelled

CONFIG = """
[journal]
url = "sqlite:///{root}/proctord.db"
[contract]
tolerance = 0.1
teacher_tolerance = 0.1
[teacher]
kind = "scripted"
file = "{root}/answers.jsonl"
[gold]
patience_days = 1e9
"""


class House:
    """Settings, a journal with two drawn tickets, and a person at the terminal."""

    def __init__(self, root: Path) -> None:
        self.config = root / "proctord.toml"
        self.config.write_text(CONFIG.format(root=root))
        self.engine = open_journal(f"sqlite:///{root}/proctord.db")
        ensure_schema(self.engine)

    def ask(self, *words: str) -> Result:
        return CliRunner().invoke(app, [*words, "-c", str(self.config)])

    def draw(self, ticket_id: str, student: str, teacher: str, text: str) -> None:
        sample = factories.sample(
            ticket_id, 60.0, text=text, output=student, inclusion_probability=0.5
        )
        label = factories.label(ticket_id, 90.0, teacher, disagreement=float(student != teacher))
        drawn = Draw(ticket_id, 60.0, 100.0, "g", "m1", 0.5, 0.2, float(student != teacher))
        with self.engine.begin() as connection:
            add_labelled(connection, [(sample, label)])
            gold.add_draws(connection, [drawn])

    def close(self) -> None:
        self.engine.dispose()


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path)
    yield house
    house.close()


def test_a_person_sees_both_answers_and_not_whose_they_are(house: House) -> None:
    house.draw("t-1", "refund", "exchange", "my\x1b[2J <EMAIL_1> shoes")
    house.draw("t-2", "size", "size", "too small")
    said = house.ask("gold", "list").stdout
    assert [line for line in said.splitlines() if "{" not in line] == [
        "t-1  1970-01-01 00:01:00 UTC",
        "    my[2J <EMAIL_1> shoes",
        "    answer: exchange",
        "    answer: refund",
        "t-2  1970-01-01 00:01:00 UTC",
        "    too small",
        "    answer: size",
    ]
    found = json.loads(house.ask("gold", "list", "--json", "--limit", "1").stdout)
    assert [(one["ticket_id"], one["answers"]) for one in found] == [
        ("t-1", ["exchange", "refund"])
    ]
    assert "m1" not in house.ask("gold", "list", "--json").stdout


def test_a_person_can_publish_a_line_as_it_stands_whichever_answer_is_right(house: House) -> None:
    house.draw("t-1", "Rück\u202egabe", "exchange", "shoes")
    house.draw("t-2", "size", "size", "too small")
    lines = [line.strip() for line in house.ask("gold", "list").stdout.splitlines() if "{" in line]
    events = [decode("feedback", line[line.index("{") :].encode()) for line in lines]
    assert [(e.ticket_id, e.accepted, e.output) for e in events] == [
        ("t-1", False, "Rück\u202egabe"),
        ("t-1", False, "exchange"),
        ("t-1", False, "THE RIGHT ANSWER"),
        ("t-2", True, "size"),
        ("t-2", False, "THE RIGHT ANSWER"),
    ]
    assert "\u202e" not in "".join(lines), "it turns the text around in a terminal"


def publish(house: House, *events: Feedback) -> None:
    settings = ConsumeSettings(
        owner="a",
        pipeline=PipelineSettings(),
        salt="test",
        first_plan=SamplingPlan(random_rate=0.5),
        taxonomy=("refund", "lost_card"),
    )
    loop = ConsumeLoop(house.engine, MemorySource(factories.records(events), batch=10), settings)
    for _ in range(3):
        loop.once(factories.START)
    loop.checkpoint(factories.START)


def feedback(ticket_id: str, output: str | None, *, accepted: bool = False) -> Feedback:
    at = dt.datetime.fromtimestamp(factories.START, dt.UTC)
    return Feedback(ticket_id=ticket_id, at=at, accepted=accepted, output=output)


def test_a_slip_of_the_pen_is_no_answer_and_its_ticket_waits_on(house: House) -> None:
    house.draw("t-1", "refund", "exchange", "shoes")
    publish(
        house,
        feedback("t-1", "refnd"),
        feedback("t-2", "Lost Card"),
        feedback("t-3", None, accepted=True),
        feedback("t-4", "jo@example.org says zzz"),
    )
    with house.engine.begin() as connection:
        kept = connection.execute(sa.select(tables.gold.c.ticket_id, tables.gold.c.body)).all()
        last, slip = reading.dead_letters(connection)
    assert {key: msgspec.json.decode(body)["output"] for key, body in kept} == {
        "t-2": "lost_card",
        "t-3": None,
    }
    assert (slip.stage, slip.field) == ("taxonomy", "$.output")
    assert slip.message.endswith("'refnd' is none of the task's labels; did you mean 'refund'?")
    assert "<EMAIL_1> says zzz" in last.message
    page = json.loads(house.ask("gold", "status", "--json").stdout)
    assert (page["outside"], page["newest_outside"]) == (2, last.message)
    assert "none of the task's labels: 2," in house.ask("gold", "status").stdout
    assert house.ask("gold", "list").stdout.startswith("t-1 ")


def test_nothing_to_check_is_said_so(house: House) -> None:
    result = house.ask("gold", "list")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "no ticket waits" in result.stderr


def test_before_the_first_label_nobody_knows_the_teacher(house: House) -> None:
    said = house.ask("gold", "status").stdout
    assert "none yet" in said
    assert "has not been asked yet" in said


def test_the_page_says_how_often_teacher_and_student_are_wrong(house: House) -> None:
    standing = TeacherStanding(
        generation="g",
        name="big",
        prompt_hash="p",
        since=60.0,
        tolerance=0.1,
        state="not enough gold",
        reason="people answered 2 of the 100 tickets that it takes",
        drawn=2,
    )
    with house.engine.begin() as connection:
        teachers.save(connection, standing)
        labels = Agreement.of([(0.0, 0.5)] * 90 + [(1.0, 0.5)] * 10)
        gold.add_agreement(connection, "g", "m1", labels)
    house.draw("t-1", "refund", "exchange", "shoes")
    page = json.loads(house.ask("gold", "status", "--json").stdout)
    assert page["teacher"]["state"] == "not enough gold"
    assert page["waiting"] == 1
    assert page["students"][0]["disagreement"][0] == 0.1, "with its interval"
    said = house.ask("gold", "status").stdout
    assert "student m1" in said
    assert "agrees with the teacher in 90.0 %" in said
    assert "gold list" in said
    status = json.loads(house.ask("status", "--json").stdout)
    assert status["teacher"]["generation"] == "g"


def test_an_answered_ticket_is_shown_no_more(house: House) -> None:
    house.draw("t-1", "refund", "exchange", "shoes")
    with house.engine.begin() as connection:
        connection.execute(sa.insert(tables.gold).values(ticket_id="t-1", at=1.0, body=b"{}"))
    assert house.ask("gold", "list").stdout == ""
