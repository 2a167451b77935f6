"""What production publishes: tickets, the answers they got, and what people thought of them.

Each event comes as plain JSON, or as a CloudEvents 1.0 event (structured JSON, or binary with
the attributes in Kafka headers). The stream that a message came from says which of the three it
must be. Unknown fields are ignored, so that producers may add theirs; an unknown major version
is refused, because its fields may mean something else.

A field's type carries its description: the JSON Schema and the error messages both say it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas import cloudevents
from schemas.diagnosis import explain
from schemas.errors import DecodeError

Stream = Literal["tickets", "answers", "feedback"]

#: The major version of the three shapes below: CloudEvents types end in `.v1`.
MAJOR_VERSION = 1

#: A longer message is refused before it is parsed, bytes.
MAX_BYTES = 1024 * 1024

TicketId = Annotated[
    str, Meta(min_length=1, max_length=200, description="a text of 1 to 200 characters")
]
Time = Annotated[
    datetime,
    Meta(tz=True, description="an RFC 3339 time with its offset, as 2026-11-03T09:30:00+01:00"),
]
#: Its limit is that of the journal's `model` columns.
Name = Annotated[
    str, Meta(min_length=1, max_length=128, description="a text of 1 to 128 characters")
]
#: The schema's pattern is checked by `_refuse_blank`: msgspec's own costs as much as the parse.
Text = Annotated[
    str,
    Meta(
        min_length=1,
        description="a text that is not blank",
        extra_json_schema={"pattern": r"\S"},
    ),
]
Ratio = Annotated[float, Meta(ge=0, le=1, description="a number from 0 to 1")]
#: Bounded, so that a window's sum of squares stays finite whatever a producer sends.
Amount = Annotated[float, Meta(ge=0, le=1e9, description="a number from 0 to 1000000000")]


class Ticket(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a customer asked."""

    ticket_id: TicketId
    #: when it was asked
    at: Time
    text: Text
    #: properties to segment traffic by: `{"channel": "mail", "language": "de"}`
    attributes: dict[str, str] = {}
    #: who asked: never stored or shown as it is
    customer_id: str | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What production replied to a ticket, and who served it."""

    ticket_id: TicketId
    #: when it was answered
    at: Time
    #: a label of the taxonomy, or free text; a student may well say nothing
    output: str
    #: `student`, `teacher` (routed past the student) or `human`
    served_by: Literal["student", "teacher", "human"] = "student"
    #: version of the model that answered: for a student, the artefact's id
    model: Name
    #: the model's own probability that it is right
    confidence: Ratio | None = None
    latency_ms: Amount | None = None
    cost_usd: Amount | None = None


class Feedback(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a person thought of an answer: it arrives late, or never."""

    ticket_id: TicketId
    at: Time
    #: production's answer was right; or `output` is what it should have been
    accepted: bool
    #: must be there, and not blank, when `accepted` is false
    output: str | None = None
    #: who judged: a role or a pseudonym
    by: Name = "agent"


Event = Ticket | Answer | Feedback

SHAPES: dict[Stream, type[Event]] = {"tickets": Ticket, "answers": Answer, "feedback": Feedback}

_DECODERS = {stream: msgspec.json.Decoder(shape) for stream, shape in SHAPES.items()}

#: How `schema_version"` and `specversion"` both end: a message without it is plain version 1,
#: which a search for these bytes finds out faster than any parse.
_VERSION_KEY = b'version"'


class _Versioned(msgspec.Struct):
    schema_version: object = MAJOR_VERSION


_VERSIONED = msgspec.json.Decoder(_Versioned)


def cloudevent_type(stream: Stream) -> str:
    """The CloudEvents `type` of a stream's events.

    >>> cloudevent_type("tickets")
    'proctord.ticket.v1'
    """
    return f"proctord.{SHAPES[stream].__name__.lower()}.v{MAJOR_VERSION}"


def encode(event: Event) -> bytes:
    """The event as plain JSON, version 1: what `decode` accepts, it gets back equal."""
    return msgspec.json.encode(event)


def decode(stream: Stream, value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()) -> Event:
    """The event that a message of this stream holds.

    Guarantee: any bytes give an event or a `DecodeError`, whose text never repeats a value of
    the message, only its shape. Of a field that comes twice the last one counts. A malformed
    field that we ignore may go unnoticed.

    Sources: RFC 8259 (JSON), RFC 3339 (times), CloudEvents 1.0.2 with its JSON format and its
    Kafka protocol binding.

    Raises
    ------
    DecodeError: naming the stage, the field and how to mend it.

    >>> decode("feedback", b'{"ticket_id": "t1", "at": "2026-11-03T09:30Z", "accepted": true}')
    Traceback (most recent call last):
    schemas.errors.DecodeError: $.at: got a text of 17 characters; send an RFC 3339 time \
with its offset, as 2026-11-03T09:30:00+01:00
    """
    body, root = _of_bearable_size(value), "$"
    mode = cloudevents.mode_of(headers) if headers else "plain"
    versioned = _VERSION_KEY in body
    if mode == "binary":
        cloudevents.check_headers(headers, cloudevent_type(stream))
    elif mode == "structured" or (versioned and cloudevents.is_structured(body)):
        data = cloudevents.unwrap(body, cloudevent_type(stream))
        body, root = _of_bearable_size(data), "$.data"
    if versioned:
        _refuse_other_version(body, root)
    return _decode_plain(stream, body, root)


def _of_bearable_size(value: bytes | None) -> bytes:
    if not value:
        kind = "is empty" if value is not None else "has no value (a tombstone)"
        raise DecodeError("size", f"the message {kind}", fix="send one JSON object a message")
    if len(value) > MAX_BYTES:
        what = f"the message has {len(value)} bytes, more than {MAX_BYTES}"
        raise DecodeError("size", what, fix="send the text without its attachments")
    return value


def _refuse_other_version(body: bytes, root: str) -> None:
    try:
        version = _VERSIONED.decode(body).schema_version
    except (ValueError, RecursionError):
        return  # not JSON: the decoder itself says why
    if version != MAJOR_VERSION or type(version) is not int:
        raise DecodeError(
            "version",
            f"this proctord reads major version {MAJOR_VERSION} only",
            field=f"{root}.schema_version",
            fix=f"send {MAJOR_VERSION}, leave the field out, or upgrade proctord first",
        )


def _decode_plain(stream: Stream, body: bytes, root: str) -> Event:
    try:
        # the typed decoder skips unknown fields without reading their bytes as text
        if not body.isascii():
            body.decode()
        event = _DECODERS[stream].decode(body)
    except (ValueError, RecursionError):
        # `from None`: the causes quote the message's values, and those must not reach a log
        raise explain(body, SHAPES[stream], root=root) from None
    # the search for one byte is ten times faster than that for six, and mostly suffices
    if b"\\" in body and b"\\u0000" in body:
        _refuse_nul(event, root)
    if isinstance(event, Ticket):
        _refuse_blank(event, root)
    elif isinstance(event, Feedback):
        _refuse_bare_rejection(event, root)
    return event


def _refuse_blank(event: Ticket, root: str) -> None:
    if event.text.isspace():
        fix = "do not publish a ticket that asks nothing"
        raise DecodeError("fields", "the text is blank", field=f"{root}.text", fix=fix)


def _refuse_nul(event: Event, root: str) -> None:
    for path, text in _texts(event, root):
        if "\0" in text:
            fix = "strip it: no database text can hold it"
            raise DecodeError("fields", "the text holds a NUL character", field=path, fix=fix)


def _texts(event: Event, root: str) -> Iterator[tuple[str, str]]:
    for name, value in msgspec.structs.asdict(event).items():
        if isinstance(value, str):
            yield f"{root}.{name}", value
        elif isinstance(value, dict):
            yield from ((f"{root}.{name}", text) for pair in value.items() for text in pair)


def _refuse_bare_rejection(event: Feedback, root: str) -> None:
    if not event.accepted and not (event.output or "").strip():
        raise DecodeError(
            "fields",
            "accepted is false and nothing says what the answer should have been",
            field=f"{root}.output",
            fix="send the right answer in output",
        )
