"""Whatever bytes arrive, the decoder answers with an event or a `DecodeError`."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.cloudevents import Headers
from schemas.errors import DecodeError
from schemas.events import MAX_BYTES, SHAPES, Stream, decode, encode

FIXTURES = Path(__file__).parent / "fixtures" / "events"
CORPUS = sorted((FIXTURES / "corpus").glob("*.bin"))
SEEDS = sorted(path.read_bytes() for path in [*CORPUS, *(FIXTURES / "v1").glob("*.json")])

HEADERS = [
    (),
    (("content-type", b"application/cloudevents+json"),),
    (
        ("ce_specversion", b"1.0"),
        ("ce_id", b"1"),
        ("ce_source", b"shop"),
        ("ce_type", b"proctord.ticket.v1"),
    ),
    (("ce_specversion", b"\xff"), ("content-type", b"\0")),
]

#: too large to be kept in files
GIANTS = {
    "nest of arrays": b"[" * 500_000,
    "nest of objects": b'{"a":' * 150_000,
    "nest inside attributes": b'{"attributes":' + b'{"a":' * 150_000,
    "nest inside the envelope": b'{"specversion":"1.0","data":' + b"[" * 500_000,
    "nest as the version": b'{"schema_version":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "nest that ends": b"[" * 500_000 + b"]" * 500_000,
    "integer": b"9" * MAX_BYTES,
    "integer in a field": b'{"confidence":' + b"9" * 1_000_000 + b"}",
    "fraction": b"0." + b"1" * 1_000_000,
    "exponent": b"1e" + b"9" * 100_000,
    "backslashes": b'{"text":"' + b"\\" * 1_000_000,
    "NUL escapes": b'{"text":"' + b"\\u0000" * 170_000 + b'"}',
    "half pairs": b'{"text":"' + b"\\ud800" * 170_000 + b'"}',
    "many keys": b"{" + b",".join(b'"%d":0' % i for i in range(90_000)) + b"}",
    "same key": b"{" + b",".join([b'"text":0'] * 100_000) + b"}",
    "many NaN": b"[" + b"NaN," * 200_000 + b"NaN]",
}


def sound(stream: Stream, value: bytes, headers: Headers = ()) -> None:
    """Any other exception than a DecodeError fails the test that calls this."""
    try:
        event = decode(stream, value, headers)
    except DecodeError as error:
        refused = error
    else:
        assert isinstance(event, SHAPES[stream])
        assert decode(stream, encode(event)) == event
        return
    assert refused.stage in {"size", "encoding", "json", "envelope", "version", "fields"}
    assert refused.what
    assert refused.next_step


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_no_message_of_the_corpus_breaks_the_decoder(path: Path) -> None:
    for stream in SHAPES:
        for headers in HEADERS:
            sound(stream, path.read_bytes(), headers)


@pytest.mark.parametrize("name", GIANTS)
def test_no_giant_breaks_the_decoder(name: str) -> None:
    sound("tickets", GIANTS[name])


streams = st.sampled_from(list(SHAPES))


@given(streams, st.binary(), st.sampled_from(HEADERS))
def test_no_bytes_break_the_decoder(stream: Stream, value: bytes, headers: Headers) -> None:
    sound(stream, value, headers)


@given(streams, st.binary(), st.lists(st.tuples(st.text(), st.binary() | st.none()), max_size=4))
def test_no_headers_break_the_decoder(stream: Stream, value: bytes, headers: Headers) -> None:
    sound(stream, value, headers)


@given(
    stream=streams,
    seed=st.sampled_from(SEEDS),
    cuts=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    patch=st.binary(max_size=6) | st.sampled_from(SEEDS),
    headers=st.sampled_from(HEADERS),
)
def test_no_damaged_message_breaks_the_decoder(
    stream: Stream, seed: bytes, cuts: tuple[float, float], patch: bytes, headers: Headers
) -> None:
    start, end = sorted(round(cut * len(seed)) for cut in cuts)
    sound(stream, seed[:start] + patch + seed[end:], headers)


FIELDS = sorted({name for shape in SHAPES.values() for name in shape.__struct_fields__})
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    stream=streams,
    fields=st.dictionaries(
        st.sampled_from([*FIELDS, "schema_version", "specversion", "data", "type", "x"]), trees
    ),
)
def test_no_json_of_our_own_field_names_breaks_the_decoder(
    stream: Stream, fields: dict[str, Any]
) -> None:
    sound(stream, json.dumps(fields).encode())
