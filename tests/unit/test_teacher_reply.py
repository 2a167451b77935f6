"""What counts as a teacher's answer, and what is an abstention."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.teachers.reply import Usage, read_reply

TAXONOMY = ("refund", "card_arrival", "size")


def completion(content: Any, *, finish: str | None = "stop", **more: Any) -> bytes:
    message = {"role": "assistant", "content": content} | more.pop("message", {})
    return json.dumps({"choices": [{"message": message, "finish_reason": finish}]} | more).encode()


def answer(**fields: Any) -> str:
    return json.dumps(fields)


@pytest.mark.parametrize(
    ("content", "label", "why"),
    [
        (answer(label="refund", confidence=0.9), "refund", "the form that was asked for"),
        (answer(label="refund"), "refund", "a confidence is welcome, not needed"),
        (answer(label="Card Arrival"), "card_arrival", "another spelling of a label is the label"),
        ('```json\n{"label": "size"}\n```', "size", "fences of a model without a schema"),
        ('Sure! {"label": "size"} Anything else?', "size", "pleasantries around it"),
        (answer(label="size", confidence="high"), "size", "a bad confidence spoils no label"),
        (answer(label="size", confidence=97), "size", "nor does one that is no probability"),
        (answer(label="size", alternatives="none"), "size", "nor bad alternatives"),
    ],
)
def test_a_label_of_the_taxonomy_is_an_answer(content: str, label: str, why: str) -> None:
    reply = read_reply(completion(content), TAXONOMY)
    assert (reply.output, reply.abstained) == (label, ""), why


@pytest.mark.parametrize(
    ("body", "abstained", "why"),
    [
        (completion(answer(label="exchange")), "invalid", "not in the taxonomy"),
        (completion(answer(label="ref")), "invalid", "a beginning of a label is no label"),
        (completion(answer(label=None)), "invalid", "null"),
        (completion(answer(label=["refund"])), "invalid", "of another type"),
        (completion(answer(intent="refund")), "invalid", "under another name"),
        (completion("refund"), "invalid", "not JSON"),
        (completion('{"label": "refund", "confidence": NaN}'), "invalid", "NaN is not JSON"),
        (completion('{"label": "refund"} or {"label": "size"}'), "invalid", "two answers"),
        (completion('{"a":' * 100_000), "invalid", "a depth bomb in the content"),
        (completion(None), "invalid", "no content"),
        (completion([{"type": "text"}]), "invalid", "content of another type"),
        (completion("", message={"refusal": "I cannot help"}), "refused", "a refusal"),
        (
            completion(answer(label="refund"), message={"refusal": "no"}),
            "refused",
            "a refusal with a label beside it is a refusal",
        ),
        (completion("", finish="content_filter"), "refused", "the provider's filter"),
        (
            completion(answer(label="refund"), finish="length"),
            "truncated",
            "cut off, even where it parses",
        ),
        (b'{"choices": []}', "invalid", "no choice"),
        (b'{"choices": {}}', "invalid", "choices of another type"),
        (b'{"error": {"message": "overloaded"}}', "invalid", "an error with status 200"),
        (b"<html>Please log in</html>", "invalid", "a web page"),
        (b"", "invalid", "nothing"),
        (b"null", "invalid", "null"),
        (b"\xff\xfe", "invalid", "no text"),
        (completion(answer(label="refund"))[:-9], "invalid", "cut off in transit"),
        (b'{"choices": ' + b"[" * 200_000, "invalid", "a depth bomb"),
    ],
)
def test_what_is_not_plainly_an_answer_is_an_abstention(
    body: bytes, abstained: str, why: str
) -> None:
    reply = read_reply(body, TAXONOMY)
    assert (reply.output, reply.abstained) == (None, abstained), why


def test_a_spelling_that_two_labels_share_is_no_answer() -> None:
    taxonomy = ("Card", "card")
    assert read_reply(completion(answer(label="card")), taxonomy).output == "card"
    assert read_reply(completion(answer(label="CARD")), taxonomy).output is None


@pytest.mark.parametrize(
    ("fields", "expected", "why"),
    [
        ({"confidence": 0.8}, [("refund", 0.8)], "what is missing from 1 is spread by the reader"),
        (
            {"confidence": 0.7, "alternatives": [{"label": "Size", "confidence": 0.2}]},
            [("refund", 0.7), ("size", 0.2)],
            "most probable first, spelt as the taxonomy",
        ),
        (
            {"confidence": 0.8, "alternatives": [{"label": "size", "confidence": 0.8}]},
            [("refund", 0.5), ("size", 0.5)],
            "more than 1 in sum is scaled down; the label stays first",
        ),
        (
            {"confidence": 0.4, "alternatives": [{"label": "size", "confidence": 0.6}]},
            [("refund", 0.4), ("size", 0.4)],
            "no alternative is above the label",
        ),
        (
            {"confidence": 0.5, "alternatives": [{"label": "refund", "confidence": 0.5}]},
            [("refund", 0.5)],
            "the label again is no alternative",
        ),
        (
            {"confidence": 0.5, "alternatives": [{"label": "x", "confidence": 0.5}, 7, {}]},
            [("refund", 0.5)],
            "unknown labels and junk are dropped",
        ),
        ({"confidence": True}, [], "a truth value is no probability"),
        ({"confidence": -0.1}, [], "nor is a negative number"),
        ({"confidence": 0}, [], "a label that is impossible has no distribution"),
        ({}, [], "none stated"),
    ],
)
def test_the_distribution_is_what_was_stated_and_sums_to_1_at_most(
    fields: dict[str, Any], expected: list[tuple[str, float]], why: str
) -> None:
    reply = read_reply(completion(answer(label="refund", **fields)), TAXONOMY)
    assert [name for name, _ in reply.probabilities] == [name for name, _ in expected], why
    assert [p for _, p in reply.probabilities] == pytest.approx([p for _, p in expected]), why
    assert math.fsum(p for _, p in reply.probabilities) <= 1 + 1e-12


def test_free_text_is_an_answer_where_there_is_no_taxonomy() -> None:
    assert read_reply(completion(answer(answer=" Yes\x00! ")), ()).output == "Yes!"
    assert read_reply(completion(answer(answer="  ")), ()).abstained == "invalid"
    assert read_reply(completion(answer(answer=["Yes"])), ()).abstained == "invalid"


@pytest.mark.parametrize(
    ("usage", "expected", "why"),
    [
        (
            {"prompt_tokens": 7, "completion_tokens": 3},
            Usage(input_tokens=7, output_tokens=3, cost_usd=None),
            "tokens only",
        ),
        (
            {"prompt_tokens": 7, "completion_tokens": 3, "cost": 0.25},
            Usage(input_tokens=7, output_tokens=3, cost_usd=0.25),
            "tokens and cost",
        ),
        ({"cost": 1}, Usage(input_tokens=0, output_tokens=0, cost_usd=1.0), "cost only"),
        ({"prompt_tokens": -7, "completion_tokens": 3}, None, "negative tokens"),
        ({"prompt_tokens": 10**12, "completion_tokens": 3}, None, "more than any model reads"),
        ({"prompt_tokens": "7", "completion_tokens": 3}, None, "tokens as text"),
        ({"prompt_tokens": 7}, None, "half of it"),
        (
            {"prompt_tokens": 7, "completion_tokens": 3, "cost": -1},
            Usage(input_tokens=7, output_tokens=3, cost_usd=None),
            "a cost below 0 is none",
        ),
        ([], None, "of another type"),
        (None, None, "null"),
    ],
)
def test_usage_is_believed_where_it_can_be(usage: Any, expected: Usage | None, why: str) -> None:
    assert read_reply(completion("x", usage=usage), TAXONOMY).usage == expected, why


def test_broken_choices_do_not_hide_the_usage() -> None:
    body = json.dumps(
        {"choices": "none", "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
    ).encode()
    assert read_reply(body, TAXONOMY).usage is not None


@given(body=st.binary(max_size=200))
def test_no_bytes_are_too_broken(body: bytes) -> None:
    assert read_reply(body, TAXONOMY).output is None


@given(
    content=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=8) | st.just("refund"),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["label", "confidence", "alternatives", "x"]), inner, max_size=4
            )
        ),
        max_leaves=10,
    )
)
def test_any_json_is_judged_and_never_gives_a_label_outside_the_taxonomy(content: Any) -> None:
    reply = read_reply(completion(json.dumps(content)), TAXONOMY)
    assert reply.output is None or reply.output in TAXONOMY
    assert (reply.output is None) == (reply.abstained != "")
    assert all(0 < p <= 1 for _, p in reply.probabilities)
