"""What producers of version 1 send keeps its meaning, however it is packed."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import SHAPES, Answer, Event, Feedback, Stream, Ticket, decode, encode

GOLDEN = Path(__file__).parent / "fixtures" / "events" / "v1"

#: What each golden fixture means. These never change: production's history is written in them.
MEANS: dict[Stream, Event] = {
    "tickets": Ticket(
        ticket_id="T-1001",
        at=datetime(2026, 11, 3, 9, 30, tzinfo=timezone(timedelta(hours=1))),
        text='Wo bleibt meine Bestellung? 👟 "Größe 42"',
        attributes={"channel": "mail", "language": "de"},
        customer_id="c-77",
    ),
    "answers": Answer(
        ticket_id="T-1001",
        at=datetime(2026, 11, 3, 8, 30, 1, 250_000, tzinfo=UTC),
        output="order_status",
        served_by="student",
        model="sha256-0a1b",
        confidence=0.875,
        latency_ms=12.0,
        cost_usd=0.0002,
    ),
    "feedback": Feedback(
        ticket_id="T-1001",
        at=datetime(2026, 11, 5, 21, 30, tzinfo=UTC),
        accepted=False,
        output="delivery_delay",
        by="team-lead",
    ),
}


def golden(stream: Stream, packing: str) -> bytes:
    return (GOLDEN / f"{SHAPES[stream].__name__.lower()}.{packing}.json").read_bytes()


@pytest.mark.parametrize("stream", SHAPES)
@pytest.mark.parametrize("packing", ["plain", "structured", "base64"])
def test_a_value_of_version_1_means_what_it_always_meant(stream: Stream, packing: str) -> None:
    assert decode(stream, golden(stream, packing)) == MEANS[stream]


@pytest.mark.parametrize("stream", SHAPES)
def test_a_binary_cloudevent_of_version_1_means_what_it_always_meant(stream: Stream) -> None:
    message = json.loads(golden(stream, "binary"))
    headers = [(name, value.encode()) for name, value in message["headers"].items()]
    assert decode(stream, json.dumps(message["value"]).encode(), headers) == MEANS[stream]


@pytest.mark.parametrize("stream", SHAPES)
def test_a_structured_cloudevent_may_be_announced_by_its_content_type(stream: Stream) -> None:
    headers = [("content-type", b"Application/CloudEvents+JSON; charset=utf-8")]
    assert decode(stream, golden(stream, "structured"), headers) == MEANS[stream]


def test_headers_of_other_concerns_do_not_matter() -> None:
    headers = [("traceparent", b"00-4bf9"), ("content-type", b"text/plain"), ("empty", None)]
    assert decode("tickets", golden("tickets", "plain"), headers) == MEANS["tickets"]


@pytest.mark.parametrize(
    ("why", "text"),
    [
        ("a customer may talk about our key names", 'my "version" and "specversion": "1.0"'),
        ("a backslash before u0000 is no NUL", r"C:\u0000 drive"),
        ("right-to-left marks and tag characters are text", "\u202eabc\U000e0041"),
        ("a no-break space beside text is fine", "\xa0hi"),
    ],
)
def test_a_text_that_looks_dangerous_is_taken_as_it_is(why: str, text: str) -> None:
    event = msgspec.structs.replace(MEANS["tickets"], text=text)
    assert decode("tickets", encode(event)) == event, why


def test_of_a_key_that_comes_twice_the_last_one_counts() -> None:
    value = b'{"text":"a",' + encode(MEANS["tickets"])[1:]
    assert decode("tickets", value) == MEANS["tickets"]


def test_optional_fields_have_their_defaults() -> None:
    at = '"at":"2026-11-03T09:30:00Z"'
    ticket = decode("tickets", f'{{"ticket_id":"t",{at},"text":"hi"}}'.encode())
    answer = decode("answers", f'{{"ticket_id":"t",{at},"output":"","model":"m"}}'.encode())
    feedback = decode("feedback", f'{{"ticket_id":"t",{at},"accepted":true}}'.encode())
    assert (ticket.attributes, ticket.customer_id) == ({}, None)
    assert (answer.served_by, answer.confidence, answer.cost_usd) == ("student", None, None)
    assert (feedback.output, feedback.by) == (None, "agent")


def texts(least: int = 0, most: int | None = None) -> st.SearchStrategy[str]:
    letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    return st.text(letters, min_size=least, max_size=most)


ids = texts(1, 200)
names = texts(1, 128)
offsets = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
times = st.datetimes(timezones=offsets)
amounts = st.none() | st.floats(0, 1e9)
events = st.one_of(
    st.builds(
        Ticket,
        ticket_id=ids,
        at=times,
        text=texts(1).filter(lambda text: not text.isspace()),
        attributes=st.dictionaries(texts(), texts(), max_size=3),
        customer_id=st.none() | texts(),
    ),
    st.builds(
        Answer,
        ticket_id=ids,
        at=times,
        output=texts(),
        served_by=st.sampled_from(["student", "teacher", "human"]),
        model=names,
        confidence=st.none() | st.floats(0, 1),
        latency_ms=amounts,
        cost_usd=amounts,
    ),
    st.builds(Feedback, ticket_id=ids, at=times, accepted=st.just(True), output=texts(), by=names),
    st.builds(Feedback, ticket_id=ids, at=times, accepted=st.just(False), output=st.just("x")),
)
STREAM_OF: dict[type, Stream] = {shape: stream for stream, shape in SHAPES.items()}


@given(events)
def test_every_valid_event_comes_back_equal(event: Event) -> None:
    assert decode(STREAM_OF[type(event)], encode(event)) == event
