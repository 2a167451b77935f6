"""What every teacher promises, whichever way it is reached."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from monitor.teachers import Question, Teacher
from monitor.teachers.http import HttpTeacher
from monitor.teachers.http_settings import HttpTeacherSettings
from monitor.teachers.patience import Patience, PatientTeacher
from monitor.teachers.scripted import ScriptedTeacher
from schemas.errors import TeacherUnavailableError

TAXONOMY = ("refund", "size")
KNOWN = Question(ticket_id="known", text="my money back, please", taxonomy=TAXONOMY)
UNKNOWN = Question(ticket_id="unknown", text="gibberish", taxonomy=TAXONOMY)

Make = Callable[[bool], Teacher]


class _Model(BaseHTTPRequestHandler):
    """Labels tickets about money `refund`, and everything else with a label of its own."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        ticket = asked["messages"][-1]["content"]
        content = json.dumps({"label": "refund" if "money" in ticket else "gibberish"})
        body: dict[str, Any] = {
            "choices": [{"message": {"content": content}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 50, "completion_tokens": 5},
        }
        sent = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_args: object) -> None:
        """Stay silent."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Model)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=["scripted", "http", "patient"])
def make(request: pytest.FixtureRequest, address: str) -> Iterator[Make]:
    """Build a teacher of each kind that answers, or (False) one that is down."""
    made: list[Teacher] = []

    def http(up: bool) -> Teacher:  # noqa: FBT001 - one word tells it
        return HttpTeacher(
            HttpTeacherSettings(
                base_url=address if up else "http://127.0.0.1:9/v1",  # nobody is at home there
                model="model-1",
                taxonomy=TAXONOMY,
                usd_per_million_input=1.0,
                usd_per_million_output=2.0,
            )
        )

    def scripted(up: bool) -> Teacher:  # noqa: FBT001 - one word tells it
        teacher = ScriptedTeacher({"known": "refund"})
        if not up:
            teacher.fail_next(TeacherUnavailableError("down", retryable=True))
        return teacher

    def build(up: bool) -> Teacher:  # noqa: FBT001 - one word tells it
        teacher = scripted(up) if request.param == "scripted" else http(up)
        if request.param == "patient":
            teacher = PatientTeacher(teacher, Patience(attempts=2, first_wait=0.0))
        made.append(teacher)
        return teacher

    yield build
    for teacher in made:
        teacher.close()


def test_an_answer_is_a_label_of_the_taxonomy_with_its_cost_and_time(make: Make) -> None:
    answer = make(True).ask(KNOWN)
    assert (answer.output, answer.abstained) == ("refund", "")
    assert answer.latency_ms >= 0
    assert all(label in TAXONOMY and 0 < p <= 1 for label, p in answer.probabilities)


def test_where_there_is_no_valid_answer_the_teacher_abstains(make: Make) -> None:
    answer = make(True).ask(UNKNOWN)
    assert (answer.output, answer.abstained, answer.probabilities) == (None, "invalid", ())


def test_no_call_costs_more_than_was_to_be_set_aside(make: Make) -> None:
    teacher = make(True)
    for question in (KNOWN, UNKNOWN):
        most = teacher.most_it_can_cost(question)
        assert 0 <= teacher.ask(question).cost_usd <= most


def test_it_has_a_name_and_a_hash_that_two_of_the_same_kind_share(make: Make) -> None:
    one, two = make(True), make(True)
    assert one.name
    assert len(one.prompt_hash) == 16
    assert (one.name, one.prompt_hash) == (two.name, two.prompt_hash)


def test_a_teacher_that_is_down_says_so_and_that_asking_again_can_help(make: Make) -> None:
    with pytest.raises(TeacherUnavailableError) as caught:
        make(False).ask(KNOWN)
    assert caught.value.retryable
    assert not caught.value.maybe_billed


def test_several_threads_may_ask_at_once(make: Make) -> None:
    teacher = make(True)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(teacher.ask, [KNOWN, UNKNOWN] * 20))
    assert [answer.output for answer in answers] == ["refund", None] * 20


def test_closing_twice_is_closing(make: Make) -> None:
    teacher = make(True)
    teacher.close()
    teacher.close()
