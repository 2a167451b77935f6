"""The checked-in JSON Schemas say what the types say, and what the decoder does."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from schemas.errors import DecodeError
from schemas.events import SHAPES, Stream, decode
from schemas.jsonschema import FOLDER, documents

GOLDEN = Path(__file__).parent / "fixtures" / "events" / "v1"


def validator(name: str) -> Draft202012Validator:
    schema = json.loads((FOLDER / name).read_bytes())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_the_files_are_those_that_the_types_give() -> None:
    on_disk = {path.name: path.read_bytes() for path in FOLDER.glob("*.json")}
    assert on_disk == documents(), "run python -m schemas.jsonschema"


@pytest.mark.parametrize("shape", ["ticket", "answer", "feedback"])
@pytest.mark.parametrize(
    ("packing", "schema"),
    [("plain", "v1.json"), ("structured", "v1.cloudevent.json"), ("base64", "v1.cloudevent.json")],
)
def test_the_golden_fixtures_are_valid(shape: str, packing: str, schema: str) -> None:
    fixture = json.loads((GOLDEN / f"{shape}.{packing}.json").read_bytes())
    validator(f"{shape}.{schema}").validate(fixture)


@pytest.mark.parametrize(
    ("why", "stream", "change"),
    [
        ("a blank ticket", "tickets", {"text": " "}),
        ("an empty ticket", "tickets", {"text": ""}),
        ("a later version", "tickets", {"schema_version": 2}),
        ("a number as attribute", "tickets", {"attributes": {"a": 1}}),
        ("too sure", "answers", {"confidence": 1.2}),
        ("an unknown server", "answers", {"served_by": "robot"}),
        ("rejected without a word", "feedback", {"output": None}),
        ("rejected with a blank", "feedback", {"output": " "}),
        ("a long name", "feedback", {"by": "x" * 129}),
    ],
)
def test_schema_and_decoder_refuse_the_same(
    why: str, stream: Stream, change: dict[str, Any]
) -> None:
    name = SHAPES[stream].__name__.lower()
    message = json.loads((GOLDEN / f"{name}.plain.json").read_bytes()) | change
    assert not validator(f"{name}.v1.json").is_valid(message), why
    with pytest.raises(DecodeError):
        decode(stream, json.dumps(message).encode())


def test_an_envelope_of_another_type_is_invalid() -> None:
    event = json.loads((GOLDEN / "ticket.structured.json").read_bytes())
    assert not validator("answer.v1.cloudevent.json").is_valid(event)
