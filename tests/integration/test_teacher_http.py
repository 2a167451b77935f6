"""The HTTP teacher against a real server that is slow, lies, drips, breaks off or refuses."""

from __future__ import annotations

import json
import logging
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from monitor.teachers import Question
from monitor.teachers.http import MAX_BODY_BYTES, HttpTeacher
from monitor.teachers.http_settings import HttpTeacherSettings
from monitor.teachers.patience import Patience, PatientTeacher
from schemas.errors import TeacherUnavailableError

TAXONOMY = ("refund", "size")
QUESTION = Question(ticket_id="t1", text="my <EMAIL_1> money back\u200b", taxonomy=TAXONOMY)
CANARY = "sk-canary-4711-do-not-log"
#: the whole call, seconds; a server that could hold it longer holds it for ever
TOTAL = 0.8

Handle = Callable[["_Handler"], None]


class _Handler(BaseHTTPRequestHandler):
    """Does what the test put into `server.steps`; the last step stays."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        self.server.requests.append(json.loads(self.rfile.read(length)))
        self.server.headers.append(dict(self.headers))
        steps = self.server.steps
        step = steps.pop(0) if len(steps) > 1 else steps[0]
        try:
            step(self)
        except OSError:
            self.close_connection = True  # the teacher hung up first

    def reply(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Stay silent."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.steps: list[Handle] = []
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.over = threading.Event()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


Build = Callable[..., HttpTeacher]


@pytest.fixture
def teacher(server: _Server, tmp_path: Path) -> Iterator[Build]:
    made: list[HttpTeacher] = []
    key = tmp_path / "key"
    key.write_text(CANARY)

    def build(*steps: Handle, **changed: Any) -> HttpTeacher:
        server.steps = list(steps)
        settings: dict[str, Any] = {
            "base_url": server.base_url,
            "model": "model-1",
            "taxonomy": TAXONOMY,
            "key_file": str(key),
            "usd_per_million_input": 1.0,
            "usd_per_million_output": 4.0,
            "connect_seconds": 0.5,
            "read_seconds": 0.4,
            "total_seconds": TOTAL,
        }
        made.append(HttpTeacher(HttpTeacherSettings(**(settings | changed))))
        return made[-1]

    yield build
    for one in made:
        one.close()


def completion(content: str, finish: str = "stop", **message: Any) -> bytes:
    return json.dumps(
        {
            "choices": [{"message": {"content": content} | message, "finish_reason": finish}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10},
        }
    ).encode()


GOOD = completion('{"label": "refund", "confidence": 0.9, "alternatives": []}')


def good(handler: _Handler) -> None:
    handler.reply(GOOD)


def says(body: bytes, status: int = 200, **headers: str) -> Handle:
    return lambda handler: handler.reply(body, status, **headers)


def fails(status: int, code: str = "", **headers: str) -> Handle:
    return says(
        json.dumps({"error": {"code": code, "message": CANARY}}).encode(), status, **headers
    )


def silent(handler: _Handler) -> None:
    handler.server.over.wait(10)


def drips_body(handler: _Handler) -> None:
    handler.send_response(200)
    handler.send_header("content-length", str(len(GOOD)))
    handler.end_headers()
    _drip(handler, GOOD)


def drips_headers(handler: _Handler) -> None:
    head = f"HTTP/1.1 200 OK\r\nX-Slow: {'z' * 100}\r\nContent-Length: {len(GOOD)}\r\n\r\n"
    _drip(handler, head.encode())
    handler.wfile.write(GOOD)


def _drip(handler: _Handler, data: bytes) -> None:
    for byte in data:
        handler.wfile.write(bytes([byte]))
        if handler.server.over.wait(0.1):  # well within the read time-out
            return


def resets(handler: _Handler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def breaks_off(handler: _Handler) -> None:
    handler.send_response(200)
    handler.send_header("content-length", "10000")
    handler.end_headers()
    handler.wfile.write(GOOD)
    handler.close_connection = True


def speaks_no_http(handler: _Handler) -> None:
    handler.wfile.write(b"220 mail.example.com ESMTP\r\n")
    handler.close_connection = True


def test_a_good_answer_comes_with_its_tokens_cost_and_time(teacher: Build) -> None:
    answer = teacher(good).ask(QUESTION)
    assert (answer.output, answer.probabilities) == ("refund", (("refund", 0.9),))
    assert (answer.input_tokens, answer.output_tokens) == (100, 10)
    assert answer.cost_usd == pytest.approx(140e-6)
    assert answer.latency_ms > 0


def test_the_request_is_what_such_servers_expect(teacher: Build, server: _Server) -> None:
    teacher(good, max_tokens=50, max_tokens_field="max_completion_tokens").ask(QUESTION)
    (request,), (headers,) = server.requests, server.headers
    assert (request["model"], request["max_completion_tokens"]) == ("model-1", 50)
    assert request["temperature"] == 0.0
    assert request["response_format"]["json_schema"]["strict"] is True
    system, user = (message["content"] for message in request["messages"])
    assert all(label in system for label in TAXONOMY)
    assert user == "<ticket>\nmy \u2039EMAIL_1\u203a money back\n</ticket>"
    sent = {name.lower(): value for name, value in headers.items()}
    assert sent["authorization"] == f"Bearer {CANARY}"
    assert sent["accept-encoding"] == "identity"


def test_what_is_not_set_is_not_sent(teacher: Build, server: _Server) -> None:
    teacher(good, key_file="", temperature=None).ask(QUESTION)
    assert "temperature" not in server.requests[0]
    assert "authorization" not in {name.lower() for name in server.headers[0]}


def test_free_text_is_asked_for_where_there_is_no_taxonomy(teacher: Build) -> None:
    asked = teacher(says(completion('{"answer": "Of course."}')), taxonomy=())
    assert asked.ask(Question(ticket_id="t", text="refund?")).output == "Of course."


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (silent, "never answers"),
        (drips_body, "sends a byte now and then"),
        (drips_headers, "does so before the headers end"),
        (resets, "resets the connection"),
        (breaks_off, "breaks off in the middle"),
        (speaks_no_http, "speaks another protocol"),
    ],
)
def test_a_call_ends_in_time_whatever_the_server_does(
    step: Handle, why: str, teacher: Build
) -> None:
    # Those that drip get to a good answer in 10 s and more: without a deadline this raises not.
    asked = teacher(step)
    with pytest.raises(TeacherUnavailableError) as caught:
        asked.ask(QUESTION)
    assert (caught.value.retryable, caught.value.maybe_billed) == (True, True), why


def test_a_server_that_is_not_there_was_not_paid(teacher: Build) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(TeacherUnavailableError) as caught:
        teacher(good, base_url=f"http://127.0.0.1:{port}/v1").ask(QUESTION)
    assert (caught.value.retryable, caught.value.maybe_billed) == (True, False)


@pytest.mark.parametrize(
    ("body", "abstained", "usd", "why"),
    [
        (completion('{"label": "exchange"}'), "invalid", 140e-6, "a label of its own"),
        (completion("", refusal="I cannot"), "refused", 140e-6, "a refusal"),
        (completion('{"label": "ref', finish="length"), "truncated", 140e-6, "out of tokens"),
        (b"<!doctype html><title>Log in</title>", "invalid", None, "a web page"),
        (GOOD[:-20], "invalid", None, "JSON that ends early"),
        (b"x" * (MAX_BODY_BYTES + 1), "invalid", None, "more than any completion"),
        (b"", "invalid", None, "nothing at all"),
    ],
)
def test_a_lie_is_an_abstention_and_is_paid_for(
    body: bytes, abstained: str, usd: float | None, why: str, teacher: Build
) -> None:
    asked = teacher(says(body))
    answer = asked.ask(QUESTION)
    assert (answer.output, answer.abstained) == (None, abstained), why
    # without a bill, what was set aside is booked
    assert answer.cost_usd == pytest.approx(usd or asked.most_it_can_cost(QUESTION)), why


def test_a_huge_body_is_not_read_to_its_end(teacher: Build) -> None:
    def endless(handler: _Handler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", str(1 << 40))
        handler.end_headers()
        while True:
            handler.wfile.write(b"x" * 65536)

    assert teacher(endless, total_seconds=10.0).ask(QUESTION).abstained == "invalid"


@pytest.mark.parametrize(
    ("status", "retryable", "lasting", "next_step"),
    [
        (400, False, False, "model"),
        (401, False, True, "key"),
        (403, False, True, "rights"),
        (404, False, True, "base_url"),
        (422, False, False, "model"),
        (307, False, False, "redirects"),
        (408, True, False, "later"),
        (409, True, False, "later"),
        (429, True, False, "later"),
        (500, True, False, "later"),
        (503, True, False, "later"),
        (504, True, False, "later"),
    ],
)
def test_each_status_says_whether_asking_again_can_help(
    status: int,
    retryable: bool,  # noqa: FBT001 - a column of the table
    lasting: bool,  # noqa: FBT001 - a column of the table
    next_step: str,
    teacher: Build,
) -> None:
    with pytest.raises(TeacherUnavailableError, match=str(status)) as caught:
        teacher(fails(status, location="http://127.0.0.1:9/")).ask(QUESTION)
    assert (caught.value.retryable, caught.value.lasting) == (retryable, lasting)
    assert caught.value.maybe_billed == (status in {408, 504})
    assert next_step in caught.value.next_step


@pytest.mark.parametrize(
    ("stated", "seconds"),
    [
        ("1", 1.0),
        ("in an hour", 3600.0),
        ("9999", 9999.0),
        ("soon", None),
    ],
    ids=["seconds", "date", "hours", "garbage"],
)
def test_a_429_says_how_long_to_wait(stated: str, seconds: float | None, teacher: Build) -> None:
    if stated == "in an hour":  # of now: not of when the tests were collected
        stated = formatdate(time.time() + 3600, usegmt=True)
    with pytest.raises(TeacherUnavailableError) as caught:
        teacher(fails(429, retry_after=stated)).ask(QUESTION)
    assert caught.value.retry_after == (seconds and pytest.approx(seconds, abs=120))


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_without_strict_format_is_asked_without_it_from_then_on(
    status: int, teacher: Build, server: _Server
) -> None:
    asked = teacher(fails(status), good)
    for _ in range(2):
        assert asked.ask(QUESTION).output == "refund"
    assert ["response_format" in request for request in server.requests] == [True, False, False]


def test_a_bad_request_of_another_kind_does_not_lose_the_strict_format(
    teacher: Build, server: _Server
) -> None:
    asked = teacher(fails(400), fails(400), good)
    with pytest.raises(TeacherUnavailableError):
        asked.ask(QUESTION)
    assert asked.ask(QUESTION).output == "refund"
    assert ["response_format" in request for request in server.requests] == [True, False, True]


@pytest.mark.parametrize(
    ("code", "abstained"),
    [("content_filter", "refused"), ("context_length_exceeded", "truncated")],
)
def test_a_ticket_that_the_server_refuses_is_an_abstention_and_no_outage(
    code: str, abstained: str, teacher: Build, server: _Server
) -> None:
    answer = teacher(fails(400, code)).ask(QUESTION)
    assert (answer.output, answer.abstained, answer.cost_usd) == (None, abstained, 0.0)
    assert len(server.requests) == 1


def test_the_code_of_an_error_is_told_and_its_text_is_not(teacher: Build) -> None:
    with pytest.raises(TeacherUnavailableError, match="429 insufficient_quota") as caught:
        teacher(fails(429, "insufficient_quota")).ask(QUESTION)
    assert CANARY not in str(caught.value)


def test_a_stated_cost_is_believed_and_its_absence_booked_at_the_most(teacher: Build) -> None:
    unpriced = {"usd_per_million_input": None, "most_usd_per_call": 0.05}
    stated = GOOD.replace(b'"usage": {', b'"usage": {"cost": 0.002, ')
    assert teacher(says(stated), **unpriced).ask(QUESTION).cost_usd == 0.002
    assert teacher(good, **unpriced).ask(QUESTION).cost_usd == 0.05


def test_a_redirect_is_not_followed_and_a_proxy_of_the_environment_not_used(
    teacher: Build, server: _Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert teacher(good).ask(QUESTION).output == "refund"
    with pytest.raises(TeacherUnavailableError, match="302"):
        teacher(fails(302, location=server.base_url + "/chat/completions")).ask(QUESTION)
    assert len(server.requests) == 2


def test_a_key_that_is_replaced_in_its_file_is_used_from_the_next_call_on(
    teacher: Build, server: _Server, tmp_path: Path
) -> None:
    key = tmp_path / "rotated"
    key.write_text("first")
    asked = teacher(good, key_file=str(key))
    asked.ask(QUESTION)
    key.write_text("second")
    asked.ask(QUESTION)
    assert [headers["authorization"] for headers in server.headers] == [
        "Bearer first",
        "Bearer second",
    ]
    key.unlink()
    with pytest.raises(TeacherUnavailableError, match="cannot be read") as caught:
        asked.ask(QUESTION)
    assert caught.value.lasting


def test_the_key_appears_in_no_text_log_or_error(
    teacher: Build, caplog: pytest.LogCaptureFixture
) -> None:
    texts: list[str] = []
    with caplog.at_level(logging.DEBUG):
        for step in (good, fails(401, CANARY), fails(500), resets, says(CANARY.encode())):
            asked = teacher(step)
            texts += [repr(asked), str(vars(asked))]
            try:
                texts.append(repr(asked.ask(QUESTION)))
            except TeacherUnavailableError as error:
                texts += [repr(error), str(error), str(vars(error)), repr(error.__cause__)]
    assert caplog.records, "the libraries log at this level, so that there is something to search"
    assert CANARY not in "".join(texts) + caplog.text


def test_patience_turns_a_moment_of_trouble_into_an_answer(teacher: Build, server: _Server) -> None:
    asked = PatientTeacher(
        teacher(fails(500), fails(429, retry_after="0"), good), Patience(first_wait=0.01)
    )
    assert asked.ask(QUESTION).output == "refund"
    assert len(server.requests) == 3


def test_patience_leaves_alone_a_server_that_asks_for_hours(
    teacher: Build, server: _Server
) -> None:
    asked = PatientTeacher(teacher(fails(429, retry_after="9999")))
    for _ in range(2):
        with pytest.raises(TeacherUnavailableError) as caught:
            asked.ask(QUESTION)
    assert (asked.state, len(server.requests)) == ("open", 1)
    assert caught.value.retry_after is not None
    assert 60 < caught.value.retry_after <= 900
