"""The CloudEvents 1.0 envelope: is there one, is it for us, and the data inside.

Source: CloudEvents 1.0.2, JSON event format (structured mode) and Kafka protocol binding (binary
mode: each attribute in a header `ce_<name>`). Batches are refused: one event a message.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.diagnosis import explain
from schemas.errors import DecodeError

Headers = Sequence[tuple[str, bytes]]
Mode = Literal["plain", "structured", "binary"]

_MEDIA_TYPE = "application/cloudevents"

Attribute = Annotated[str, Meta(min_length=1, description="a text that is not empty")]


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """A CloudEvents 1.0 event in structured mode; attributes that we do not read are ignored."""

    specversion: Literal["1.0"]
    id: Attribute
    source: Attribute
    type: Attribute
    datacontenttype: str | None = None
    #: the event as JSON, or else as Base64 of that JSON
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data_base64: str | None = None


class _Probe(msgspec.Struct):
    specversion: object = msgspec.UNSET


_ENVELOPE = msgspec.json.Decoder(Envelope)
_PROBE = msgspec.json.Decoder(_Probe)


def mode_of(headers: Headers) -> Mode:
    """How the Kafka headers say that the event is packed; `plain` when they say nothing.

    Raises
    ------
    DecodeError: a batch, or an event format other than JSON.

    >>> mode_of([("ce_specversion", b"1.0"), ("ce_type", b"proctord.ticket.v1")])
    'binary'
    """
    by_name = dict(headers)
    media_type = _media_type(_text(by_name, "content-type"))
    if media_type == f"{_MEDIA_TYPE}+json":
        return "structured"
    if media_type.startswith(_MEDIA_TYPE):
        what = "the message is a CloudEvents batch, or in an event format other than JSON"
        raise _refusal("content-type", what, "send one event a message, in the JSON format")
    return "binary" if "ce_specversion" in by_name else "plain"


def check_headers(headers: Headers, expected_type: str) -> None:
    """Refuse a binary-mode event that is not one of `expected_type` with JSON data.

    Raises
    ------
    DecodeError: naming the header at fault.
    """
    by_name = dict(headers)
    for name in ("ce_id", "ce_source", "ce_type"):
        if not by_name.get(name):
            raise _refusal(name, "the header is missing or empty", "CloudEvents requires it")
    if _text(by_name, "ce_specversion") != "1.0":
        raise _refusal("ce_specversion", "not CloudEvents 1.0", "send 1.0")
    _check_type(_text(by_name, "ce_type"), expected_type, "ce_type")
    _check_content(_text(by_name, "content-type"), "content-type")


def is_structured(body: bytes) -> bool:
    """Whether a JSON object has a `specversion`; a guess for what cannot be parsed."""
    try:
        return _PROBE.decode(body).specversion is not msgspec.UNSET
    except (ValueError, RecursionError):
        # refused either way: as an envelope, the message names the field inside it
        return b'"specversion"' in body


def unwrap(body: bytes, expected_type: str) -> bytes:
    """The JSON bytes of the data inside a structured-mode event.

    Raises
    ------
    DecodeError: the envelope is not a CloudEvents 1.0 event of `expected_type` with JSON data.
    """
    try:
        envelope = _ENVELOPE.decode(body)
    except (ValueError, RecursionError):
        raise explain(body, Envelope, stage="envelope") from None
    _check_type(envelope.type, expected_type, "$.type")
    _check_content(envelope.datacontenttype, "$.datacontenttype")
    return _data_of(envelope)


def _data_of(envelope: Envelope) -> bytes:
    data, base64 = envelope.data, envelope.data_base64
    if not isinstance(data, msgspec.UnsetType) and base64 is None:
        return bytes(data)
    if isinstance(data, msgspec.UnsetType) and base64 is not None:
        return _from_base64(base64)
    what = "the envelope needs exactly one of data and data_base64"
    raise _refusal("$.data", what, "send the event as a JSON object in data")


def _from_base64(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        fix = "send the event as a JSON object in data"
        raise _refusal("$.data_base64", "not Base64 (RFC 4648)", fix) from None


def _text(by_name: dict[str, bytes], name: str) -> str:
    # a Kafka header may have no value at all
    return (by_name.get(name) or b"").decode(errors="replace")


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _check_content(content_type: str | None, field: str) -> None:
    media_type = _media_type(content_type or "application/json")
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise _refusal(field, "the data is not declared as JSON", "send application/json")


def _check_type(given: str, expected: str, field: str) -> None:
    if given == expected:
        return
    family, _, version = expected.rpartition(".v")
    if given.startswith(f"{family}.v"):
        what = f"this proctord reads major version {version} only"
        raise DecodeError(
            "version", what, field=field, fix=f"send {expected}, or upgrade proctord first"
        )
    ours = given.startswith("proctord.")
    what = "the event belongs to another stream" if ours else "the event type is not one of ours"
    raise _refusal(field, what, f"this stream takes {expected}")


def _refusal(field: str, what: str, fix: str) -> DecodeError:
    return DecodeError("envelope", what, field=field, fix=fix)
