import math
import random
from typing import Any
from zlib import crc32

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.features import (
    CHARACTERS,
    GATHERED,
    Features,
    PairFeatures,
    bucket_of,
    buckets_in,
    confidence_bin,
    confidence_from,
    features_of,
    size_bin,
    size_from,
    words_of,
)
from schemas.windows import WindowSummary

EMPTY = WindowSummary(segment="*", start=0.0, length=60.0)

texts = st.text(st.characters(codec="utf-8"), max_size=300)
pairs = st.builds(
    features_of,
    text=texts,
    text_length=st.integers(0, 10**9),
    confidence=st.none() | st.floats(0, 1),
    latency_ms=st.none() | st.floats(0, 1e12),
)


def summed(some: Any, begin: WindowSummary = EMPTY) -> WindowSummary:
    features = Features(begin)
    for pair in some:
        features.add(pair)
    return msgspec.structs.replace(begin, **features.summary())


def asked(text: str) -> PairFeatures:
    return features_of(text=text, text_length=len(text), confidence=None, latency_ms=None)


@given(st.floats(0, 1))
def test_a_confidence_lies_in_its_bin(confidence: float) -> None:
    bin_ = confidence_bin(confidence)
    assert 0 <= bin_ <= 96
    if bin_ > 0:
        assert confidence_from(bin_) <= confidence + 1e-12
    if bin_ < 96:
        assert confidence <= confidence_from(bin_ + 1) + 1e-12


@given(st.floats(0, 1e15))
def test_a_size_lies_in_its_bin(size: float) -> None:
    bin_ = size_bin(size)
    assert 0 <= bin_ <= 120
    assert size_from(bin_) <= size * (1 + 1e-12) + 1e-12
    if bin_ < 120:
        assert size <= size_from(bin_ + 1) * (1 + 1e-12) + 1e-12


@given(st.floats(0, 1), st.floats(0, 1))
def test_bins_are_in_the_order_of_their_numbers(a: float, b: float) -> None:
    assert (confidence_bin(a) <= confidence_bin(b)) or a > b
    assert (size_bin(a * 1e6) <= size_bin(b * 1e6)) or a > b


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
        features_of(
            text="<redacted>",
            text_length=len(text),
            confidence=None,
            latency_ms=None,
            words=buckets_in(text),
        )
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
def test_partitions_add_up_to_the_same_counts_in_any_order(some: Any, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(some)))
    mixed = data.draw(st.permutations(some))
    assert summed(mixed[:cut]).merge(summed(mixed[cut:])) == summed(some)


@given(st.lists(pairs, max_size=6), st.integers(0, 6))
def test_a_window_goes_on_after_a_restart_as_if_there_had_been_none(some: Any, cut: int) -> None:
    stored = msgspec.json.decode(msgspec.json.encode(summed(some[:cut])), type=WindowSummary)
    assert msgspec.json.encode(summed(some[cut:], stored)) == msgspec.json.encode(summed(some))


def test_many_texts_are_counted_in_bounded_memory() -> None:
    features = Features(EMPTY)
    for _ in range(3 * GATHERED + 5):
        features.add(asked("one two"))
        assert len(features._texts) < GATHERED
    assert sum(features.summary()["words"].values()) == 2 * (3 * GATHERED + 5)


def test_words_are_counted_of_all_traffic_only() -> None:
    segment = WindowSummary(segment="channel=mail", start=0.0, length=60.0)
    found = summed([asked("my parcel")], segment)
    assert (found.words, found.text_length_bins) == ({}, {size_bin(9): 1})


def test_a_summary_written_before_there_were_bins_still_reads() -> None:
    old = b'{"segment":"*","start":0.0,"length":60.0,"pairs":3,"confidence":[3,2.7,2.43]}'
    found = msgspec.json.decode(old, type=WindowSummary)
    assert (found.pairs, found.confidence_bins, found.words) == (3, {}, {})


def test_the_size_of_a_window_is_bounded() -> None:
    rng = random.Random(1)
    some = [
        features_of(
            text=" ".join(str(rng.getrandbits(32)) for _ in range(20)),
            text_length=rng.randrange(10**9),
            confidence=rng.random(),
            latency_ms=math.exp(rng.uniform(-5, 40)),
        )
        for _ in range(3000)
    ]
    assert len(msgspec.json.encode(summed(some))) < 8000
