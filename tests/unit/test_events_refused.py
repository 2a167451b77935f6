"""Bad messages are refused by the name of the field, with a remedy, and without their values."""

import base64
import json
import traceback
from typing import Any

import pytest

from schemas.cloudevents import Headers
from schemas.errors import DecodeError
from schemas.events import MAX_BYTES, Stream, decode

#: Stands where a customer's words would: no error may ever repeat it.
PRIVATE = "jane.roe@example.org"

TICKET = {"ticket_id": "t", "at": "2026-11-03T09:30:00Z", "text": PRIVATE}
ANSWER = {"ticket_id": "t", "at": "2026-11-03T09:30:00Z", "output": PRIVATE, "model": "m"}
FEEDBACK = {"ticket_id": "t", "at": "2026-11-03T09:30:00Z", "accepted": True, "output": PRIVATE}
ENVELOPE = {
    "specversion": "1.0",
    "id": "1",
    "source": "shop",
    "type": "proctord.ticket.v1",
    "data": TICKET,
}
BINARY = {
    "ce_specversion": "1.0",
    "ce_id": "1",
    "ce_source": "shop",
    "ce_type": "proctord.ticket.v1",
    "content-type": "application/json",
}


def refusal(stream: Stream, value: bytes | None, headers: Headers = ()) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        decode(stream, value, headers)
    told = "".join(traceback.format_exception(caught.value))
    assert PRIVATE not in told
    assert caught.value.next_step, "each refusal says how to mend it"
    return caught.value


def altered(base: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps(base | changes).encode()


def without(base: dict[str, Any], name: str) -> bytes:
    return json.dumps({key: value for key, value in base.items() if key != name}).encode()


@pytest.mark.parametrize(
    ("why", "value", "stage", "field", "says"),
    [
        ("a tombstone", None, "size", "", "tombstone"),
        ("an empty value", b"", "size", "", "empty"),
        ("ten megabytes", b'"' + b"x" * 10_000_000 + b'"', "size", "", "10000002 bytes"),
        ("one byte too many", b" " * (MAX_BYTES + 1), "size", "", "1048577 bytes"),
        ("a byte order mark", b"\xef\xbb\xbf{}", "encoding", "", "byte order mark"),
        ("UTF-16", json.dumps(TICKET).encode("utf-16"), "encoding", "", "UTF-16"),
        ("a registry's prefix", b"\0\0\0\0\1{}", "encoding", "", "schema registry"),
        ("a zipped value", b"\x1f\x8b\x08", "encoding", "", "gzip"),
        ("Latin-1 in a text", b'{"text":"\xfc"}', "encoding", "", "byte 9 is not UTF-8"),
        (
            "Latin-1 in a field that we ignore",
            altered(TICKET)[:-1] + b',"x":"\xfc"}',
            "encoding",
            "",
            "not UTF-8",
        ),
        ("not JSON", b"<html>", "json", "$", "from character 0"),
        ("half a message", altered(TICKET)[:30], "json", "$", "not JSON"),
        ("two messages", altered(TICKET) * 2, "json", "$", "not JSON"),
        ("a deep nest", b"[" * 100_000, "json", "$", "too deep"),
        (
            "a deep nest that ends, in a field that we ignore",
            altered(TICKET)[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            "json",
            "$",
            "too deep",
        ),
        ("null", b"null", "fields", "$", "got null"),
        ("a number", b"17", "fields", "$", "got a number"),
        ("a batch", b"[{},{}]", "fields", "$", "array of 2"),
        ("encoded twice", json.dumps(json.dumps(TICKET)).encode(), "fields", "$", "a text of"),
        (
            "a raw line break in a text",
            altered(TICKET, text="a#b").replace(b"#", b"\n"),
            "json",
            "$",
            "raw control character",
        ),
        (
            "a wrong value before the right one",
            b'{"text":5,' + altered(TICKET)[1:],
            "json",
            "$",
            "comes twice",
        ),
        (
            "NaN in a field that we ignore",
            altered(TICKET, more=[{"x": float("nan")}]),
            "json",
            "$.more[0].x",
            "NaN",
        ),
        (
            "half a surrogate pair in a key",
            altered(TICKET, **{"\ud83d": 1}),
            "json",
            "$",
            "surrogate",
        ),
        ("an unknown major version", altered(TICKET, schema_version=2), "version", "$.s", "1 only"),
        ("a version as text", altered(TICKET, schema_version="1"), "version", "$.s", "1 only"),
        ("true is not version 1", altered(TICKET, schema_version=True), "version", "$.s", "1 only"),
    ],
)
def test_a_message_that_is_no_object_of_ours_is_refused(
    why: str, value: bytes, stage: str, field: str, says: str
) -> None:
    error = refusal("tickets", value)
    assert (error.stage, error.field[: len(field)]) == (stage, field), why
    assert says in error.what, why


@pytest.mark.parametrize(
    ("why", "stream", "value", "field", "says"),
    [
        ("no id", "tickets", without(TICKET, "ticket_id"), "ticket_id", "missing"),
        ("no time", "answers", without(ANSWER, "at"), "at", "missing"),
        ("no judgement", "feedback", without(FEEDBACK, "accepted"), "accepted", "missing"),
        ("an empty id", "tickets", altered(TICKET, ticket_id=""), "ticket_id", "of 0 characters"),
        ("a long id", "tickets", altered(TICKET, ticket_id="x" * 201), "ticket_id", "of 201"),
        ("a number as id", "tickets", altered(TICKET, ticket_id=7), "ticket_id", "a number"),
        ("null as text", "tickets", altered(TICKET, text=None), "text", "null"),
        ("an object as text", "tickets", altered(TICKET, text={"a": PRIVATE}), "text", "object"),
        ("an empty text", "tickets", altered(TICKET, text=""), "text", "of 0 characters"),
        ("a blank text", "tickets", altered(TICKET, text=" \n\xa0"), "text", "blank"),
        ("a NUL, escaped", "tickets", altered(TICKET, text="a\0" + PRIVATE), "text", "NUL"),
        (
            "a raw NUL",
            "tickets",
            altered(TICKET, text="a#b").replace(b"#", b"\0"),
            "text",
            "NUL",
        ),
        ("a NUL in the id", "answers", altered(ANSWER, ticket_id="\0"), "ticket_id", "NUL"),
        (
            "a NUL in an attribute's name",
            "tickets",
            altered(TICKET, attributes={"a\0": "b"}),
            "attributes",
            "NUL",
        ),
        ("half a pair", "tickets", altered(TICKET, text="\ud83d"), "text", "surrogate"),
        ("the wrong half", "answers", altered(ANSWER, output="\udc4d"), "output", "surrogate"),
        (
            "a number as attribute",
            "tickets",
            altered(TICKET, attributes={"channel": "mail", "lines": 3}),
            "attributes.lines",
            "a number",
        ),
        (
            "an attribute whose name may be anything",
            "tickets",
            altered(TICKET, attributes={PRIVATE: 3}),
            "attributes[...]",
            "a number",
        ),
        ("attributes in a list", "tickets", altered(TICKET, attributes=["a"]), "attributes", "arr"),
        ("no offset", "tickets", altered(TICKET, at="2026-11-03T09:30:00"), "at", "of 19 char"),
        ("a time in seconds", "tickets", altered(TICKET, at=1793698200), "at", "a number"),
        ("a leap second", "tickets", altered(TICKET, at="2026-12-31T23:59:60Z"), "at", "of 20"),
        ("above 1", "answers", altered(ANSWER, confidence=1.2), "confidence", "a number"),
        ("below 0", "answers", altered(ANSWER, latency_ms=-1), "latency_ms", "a number"),
        ("NaN", "answers", altered(ANSWER, confidence=float("nan")), "confidence", "NaN"),
        ("Infinity", "answers", altered(ANSWER, cost_usd=float("inf")), "cost_usd", "Infinity"),
        (
            "a number beyond floats",
            "answers",
            altered(ANSWER, cost_usd=7).replace(b"7", b"1e999"),
            "cost_usd",
            "out of range",
        ),
        (
            "an integer of 5000 digits",
            "answers",
            altered(ANSWER, cost_usd=7).replace(b"7", b"7" * 5000),
            "cost_usd",
            "out of range",
        ),
        (
            "a sum of squares must stay finite",
            "answers",
            altered(ANSWER, latency_ms=1e300),
            "latency_ms",
            "a number",
        ),
        ("a flag", "answers", altered(ANSWER, confidence=True), "confidence", "true or false"),
        ("an unknown server", "answers", altered(ANSWER, served_by=PRIVATE), "served_by", "text"),
        ("a long version", "answers", altered(ANSWER, model="m" * 129), "model", "of 129"),
        ("a flag as text", "feedback", altered(FEEDBACK, accepted="yes"), "accepted", "text of 3"),
        (
            "rejected, and nothing said",
            "feedback",
            altered(FEEDBACK, accepted=False, output=None),
            "output",
            "accepted is false",
        ),
        (
            "rejected, and a blank said",
            "feedback",
            altered(FEEDBACK, accepted=False, output=" "),
            "output",
            "accepted is false",
        ),
    ],
)
def test_a_field_that_does_not_fit_is_named(
    why: str, stream: Stream, value: bytes, field: str, says: str
) -> None:
    error = refusal(stream, value)
    assert (error.stage, error.field) == ("fields", f"$.{field}"), why
    assert says in error.what, why


def test_the_message_reads_as_a_sentence_with_its_remedy() -> None:
    error = refusal("answers", altered(ANSWER, served_by="robot"))
    assert str(error) == (
        "$.served_by: got a text of 5 characters; send one of human, student, teacher"
    )


@pytest.mark.parametrize(
    ("why", "changes", "stage", "field", "says"),
    [
        ("an old CloudEvents", {"specversion": "0.3"}, "envelope", "$.specversion", "text of 3"),
        ("no source", {"source": ""}, "envelope", "$.source", "of 0 characters"),
        ("a vendor's type", {"type": f"com.{PRIVATE}"}, "envelope", "$.type", "not one of ours"),
        ("an answer among tickets", {"type": "proctord.answer.v1"}, "envelope", "$.type", "stream"),
        ("a later version", {"type": "proctord.ticket.v2"}, "version", "$.type", "version 1 only"),
        ("data as XML", {"datacontenttype": "text/xml"}, "envelope", "$.datacontenttype", "JSON"),
        ("data twice", {"data_base64": "e30="}, "envelope", "$.data", "exactly one"),
        ("a field of the data", {"data": TICKET | {"at": 3}}, "fields", "$.data.at", "a number"),
        ("data that is a list", {"data": [TICKET]}, "fields", "$.data", "an array"),
        ("data that is null", {"data": None}, "fields", "$.data", "null"),
        (
            "NaN in the data",
            {"data": TICKET | {"at": float("nan")}},
            "json",
            "$.data.at",
            "NaN",
        ),
        (
            "a version inside that differs",
            {"data": TICKET | {"schema_version": 3}},
            "version",
            "$.data.schema_version",
            "version 1 only",
        ),
    ],
)
def test_a_structured_cloudevent_that_is_not_for_us_is_refused(
    why: str, changes: dict[str, Any], stage: str, field: str, says: str
) -> None:
    error = refusal("tickets", altered(ENVELOPE, **changes))
    assert (error.stage, error.field) == (stage, field), why
    assert says in error.what, why


@pytest.mark.parametrize(
    ("why", "content", "says"),
    [
        ("not Base64", "***", "Base64"),
        ("nothing", "", "empty"),
        ("Base64 of no JSON", base64.b64encode(b"<html>").decode(), "not JSON"),
    ],
)
def test_data_in_base64_is_read_as_strictly_as_data_in_json(
    why: str, content: str, says: str
) -> None:
    envelope = {key: value for key, value in ENVELOPE.items() if key != "data"}
    assert says in refusal("tickets", altered(envelope, data_base64=content)).what, why


def test_an_envelope_without_data_is_refused() -> None:
    assert refusal("tickets", without(ENVELOPE, "data")).field == "$.data"


@pytest.mark.parametrize(
    ("why", "changes", "stage", "field"),
    [
        ("a vendor's type", {"ce_type": f"com.{PRIVATE}"}, "envelope", "ce_type"),
        ("a later version", {"ce_type": "proctord.ticket.v2"}, "version", "ce_type"),
        ("an empty id", {"ce_id": ""}, "envelope", "ce_id"),
        ("an old CloudEvents", {"ce_specversion": "0.3"}, "envelope", "ce_specversion"),
        ("data as Avro", {"content-type": "avro/binary"}, "envelope", "content-type"),
        (
            "a batch",
            {"content-type": "application/cloudevents-batch+json"},
            "envelope",
            "content-type",
        ),
        (
            "an Avro envelope",
            {"content-type": "application/cloudevents+avro"},
            "envelope",
            "content-type",
        ),
        (
            "structured, says the header, but it is not",
            {"content-type": "application/cloudevents+json"},
            "envelope",
            "$.specversion",
        ),
    ],
)
def test_headers_that_promise_something_else_are_refused(
    why: str, changes: dict[str, Any], stage: str, field: str
) -> None:
    headers = [(name, value.encode()) for name, value in (BINARY | changes).items()]
    error = refusal("tickets", altered(TICKET), headers)
    assert (error.stage, error.field) == (stage, field), why


def test_a_type_header_without_a_value_is_refused() -> None:
    headers = [(name, value.encode()) for name, value in BINARY.items()] + [("ce_type", None)]
    assert refusal("tickets", altered(TICKET), headers).field == "ce_type"
