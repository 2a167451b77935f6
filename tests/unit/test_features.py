import math
import random
from collections.abc import Iterable
from typing import Any
from zlib import crc32

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.features import (
    CHARACTERS,
    CONFIDENCE_EDGES,
    GATHERED,
    SIZE_EDGES,
    Features,
    bucket_of,
    buckets_in,
    confidence_from,
    size_from,
    words_of,
)
from schemas.windows import WindowSummary

EMPTY = WindowSummary(segment="*", start=0.0, length=60.0)

Adding = dict[str, Any]

texts = st.text(st.characters(codec="utf-8"), max_size=300)
pairs = st.fixed_dictionaries(
    {
        "text": texts,
        "text_length": st.integers(0, 10**9),
        "confidence": st.none() | st.floats(0, 1),
        "latency_ms": st.none() | st.floats(0, 1e12),
    }
)


def summed(some: Iterable[Adding], begin: WindowSummary = EMPTY) -> WindowSummary:
    features = Features(begin)
    for pair in some:
        features.add(**pair)
    return msgspec.structs.replace(begin, **features.summary())


def asked(text: str, words: bytes | None = None) -> Adding:
    return {
        "text": text,
        "text_length": len(text),
        "confidence": None,
        "latency_ms": None,
        "words": words,
    }


@given(st.floats(0, 1), st.floats(0, 1e12))
def test_a_value_lies_in_its_bin(confidence: float, size: float) -> None:
    found = summed([{"text": "", "text_length": 3, "confidence": confidence, "latency_ms": size}])
    (of_confidence,), (of_size,) = found.confidence_bins, found.latency_bins
    assert confidence_from(of_confidence) <= confidence or of_confidence == 0
    assert confidence < confidence_from(of_confidence + 1) or of_confidence == 96
    assert size_from(of_size) <= size
    assert size < size_from(of_size + 1) or of_size == 120


@pytest.mark.parametrize("edges", [CONFIDENCE_EDGES, SIZE_EDGES])
def test_bins_are_in_the_order_of_their_values(edges: Any) -> None:
    assert (edges[1:] > edges[:-1]).all()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # case and punctuation make no other words
        ("Refund, please! REFUND.", ["refund", "please", "refund"]),
        # a placeholder of the redactor is words like others
        ("mail <EMAIL_1>", ["mail", "email", "1"]),
        # letters of any script are letters
        ("Überweisung für Ärzte", ["überweisung", "für", "ärzte"]),
        ("", []),
        ("?! ...", []),
        # only the beginning counts, whatever the length
        ("a " * 10_000, ["a"] * (CHARACTERS // 2)),
    ],
)
def test_the_words_of_a_text(text: str, expected: Any) -> None:
    assert words_of(text) == expected


@given(st.lists(texts, max_size=8))
def test_the_buckets_hold_each_word_that_can_be_named(several: list[str]) -> None:
    expected: dict[int, int] = {}
    for text in several:
        for word in words_of(text):
            expected[bucket_of(word)] = expected.get(bucket_of(word), 0) + 1
    assert summed(map(asked, several)).words == dict(sorted(expected.items()))


@given(st.lists(texts, max_size=8), st.integers(0, 8))
def test_a_ticket_that_waited_counts_for_the_same_words(several: list[str], waited: int) -> None:
    stored = [
        {**asked(text), "text": "<redacted>", "words": buckets_in(text)}
        for text in several[:waited]
    ]
    assert summed([*stored, *map(asked, several[waited:])]) == summed(map(asked, several))


def test_words_spread_over_the_buckets() -> None:
    words = {f"{crc32(str(i).encode()):x}" for i in range(20_000)}
    counts = summed([asked(word) for word in words]).words
    assert len(counts) == 256
    # of 78 expected; twelve standard deviations and more would be a hash that clumps
    assert max(counts.values()) < 200


@given(st.lists(pairs, max_size=6), st.data())
def test_partitions_add_up_to_the_same_counts_in_any_order(
    some: list[Adding], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(some)))
    mixed = data.draw(st.permutations(some))
    assert summed(mixed[:cut]).merge(summed(mixed[cut:])) == summed(some)


@given(st.lists(pairs, max_size=6), st.integers(0, 6))
def test_a_window_goes_on_after_a_restart_as_if_there_had_been_none(
    some: list[Adding], cut: int
) -> None:
    stored = msgspec.json.decode(msgspec.json.encode(summed(some[:cut])), type=WindowSummary)
    assert msgspec.json.encode(summed(some[cut:], stored)) == msgspec.json.encode(summed(some))


def test_many_texts_are_counted_in_bounded_memory() -> None:
    features = Features(EMPTY)
    for number in range(3 * GATHERED + 5):
        features.add(**asked("one two", None if number % 2 else buckets_in("one two")))
        assert len(features._texts) + len(features._buckets) <= 2 * GATHERED
    assert sum(features.summary()["words"].values()) == 2 * (3 * GATHERED + 5)


def test_a_summary_written_before_there_were_bins_still_reads() -> None:
    old = b'{"segment":"*","start":0.0,"length":60.0,"pairs":3,"confidence":[3,2.7,2.43]}'
    found = msgspec.json.decode(old, type=WindowSummary)
    assert (found.pairs, found.confidence_bins, found.words) == (3, {}, {})


def test_the_size_of_a_window_is_bounded() -> None:
    rng = random.Random(1)
    some = [
        {
            "text": " ".join(str(rng.getrandbits(32)) for _ in range(20)),
            "text_length": rng.randrange(10**9),
            "confidence": rng.random(),
            "latency_ms": math.exp(rng.uniform(-5, 40)),
        }
        for _ in range(3000)
    ]
    assert len(msgspec.json.encode(summed(some))) < 8000
