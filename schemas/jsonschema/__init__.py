"""The wire contracts as JSON Schema (draft 2020-12), for producers in any language.

Generated from the types by `python -m schemas.jsonschema` and checked in; a test compares. Each
shape has two files: `ticket.v1.json`, and `ticket.v1.cloudevent.json` for structured mode.

A schema cannot say everything that the decoder refuses: size, NUL characters, and numbers or
texts that are not sound JSON.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from schemas.cloudevents import Envelope
from schemas.events import MAJOR_VERSION, SHAPES, Feedback, Stream, cloudevent_type

FOLDER = Path(__file__).parent

_DIALECT = "https://json-schema.org/draft/2020-12/schema"

#: `Feedback` needs the right answer when it says that production's was wrong.
_REJECTION = {
    "if": {"properties": {"accepted": {"const": False}}},
    "then": {
        "required": ["output"],
        "properties": {"output": {"type": "string", "pattern": r"\S"}},
    },
}


def documents() -> dict[str, bytes]:
    """Text of every schema file by its name, as the types are now."""
    files: dict[str, bytes] = {}
    for stream, shape in SHAPES.items():
        name = f"{shape.__name__.lower()}.v{MAJOR_VERSION}"
        files[f"{name}.json"] = _text(name, _plain(stream))
        files[f"{name}.cloudevent.json"] = _text(f"{name}.cloudevent", _envelope(stream))
    return files


def _plain(stream: Stream) -> dict[str, Any]:
    shape = SHAPES[stream]
    (schema,) = _components(shape)
    schema["properties"]["schema_version"] = {"const": MAJOR_VERSION, "default": MAJOR_VERSION}
    return schema | (_REJECTION if shape is Feedback else {})


def _envelope(stream: Stream) -> dict[str, Any]:
    (schema,) = _components(Envelope)
    schema["properties"] |= {
        "type": {"const": cloudevent_type(stream)},
        "data": _plain(stream),
        "data_base64": {"type": "string", "contentEncoding": "base64"},
    }
    return schema | {"oneOf": [{"required": ["data"]}, {"required": ["data_base64"]}]}


def _components(shape: type[msgspec.Struct]) -> list[dict[str, Any]]:
    _, components = msgspec.json.schema_components([shape])
    return list(components.values())


def _text(name: str, schema: dict[str, Any]) -> bytes:
    head = {"$schema": _DIALECT, "$id": f"urn:proctord:{name.replace('.', ':')}"}
    return msgspec.json.format(msgspec.json.encode(head | schema), indent=2) + b"\n"
