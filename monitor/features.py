"""What a pair adds to a window, beside its sums: bins of its numbers, buckets of its words.

Bins and buckets are fixed for ever, so that windows of any age and any partition add up. What
is kept of a text is how many of its words fell in which of 256 buckets, thousands of words in
each: the words themselves are not kept and cannot be told from the counts.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple, TypedDict
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from schemas.windows import WindowSummary

#: Word buckets.
BUCKETS: Final = 256
#: Characters of a text whose words are counted: what a ticket is about stands at its beginning,
#: and a long one shall neither cost more nor count for more than its share.
CHARACTERS: Final = 256
#: Texts that are gathered before their words are counted, all in one go.
GATHERED: Final = 256

#: Confidence is binned by its logit, in steps of a quarter, from exp(-8) to 1 - exp(-16): a
#: student that is sure of itself lives above 0.99, where equal steps would see nothing.
LOWEST_LOGIT: Final = -8.0
HIGHEST_LOGIT: Final = 16.0
LOWEST_CONFIDENCE: Final = 1.0 / (1.0 + math.exp(-LOWEST_LOGIT))
HIGHEST_CONFIDENCE: Final = 1.0 / (1.0 + math.exp(-HIGHEST_LOGIT))
#: Bins of one logit, and of one doubling of a length or a latency.
STEPS: Final = 4
#: Lengths and latencies from this many doublings on share the last bin.
DOUBLINGS: Final = 30
LARGEST: Final = 2.0**DOUBLINGS


def _codes() -> NDArray[np.uint32]:
    """Return a code for each byte that words are made of, and 0 for all that lies between them.

    Letters, digits and every byte of a letter beyond ASCII belong to words.
    """
    codes = np.zeros(256, dtype=np.uint32)
    for byte in range(256):
        if byte >= 0x80 or chr(byte).isalnum():
            codes[byte] = crc32(bytes([byte])) | 1
    return codes


_CODES: Final = _codes()


def confidence_bin(confidence: float) -> int:
    """Return the bin of a confidence in [0, 1].

    >>> confidence_bin(0.5), confidence_bin(0.9), confidence_bin(1.0)
    (32, 40, 96)
    """
    if confidence < LOWEST_CONFIDENCE:
        return 0
    if confidence > HIGHEST_CONFIDENCE:
        return int(STEPS * (HIGHEST_LOGIT - LOWEST_LOGIT))
    return int(STEPS * (math.log(confidence / (1.0 - confidence)) - LOWEST_LOGIT))


def confidence_from(bin_: int) -> float:
    """Return the confidence at which a bin begins.

    >>> confidence_from(32), round(confidence_from(40), 3)
    (0.5, 0.881)
    """
    return 1.0 / (1.0 + math.exp(-(bin_ / STEPS + LOWEST_LOGIT)))


def size_bin(size: float) -> int:
    """Return the bin of a length in characters or a latency in milliseconds, 0 or more.

    >>> size_bin(0.0), size_bin(1.0), size_bin(300.0)
    (0, 4, 32)
    """
    if size > LARGEST:
        return STEPS * DOUBLINGS
    return int(STEPS * math.log2(1.0 + size)) if size > 0.0 else 0


def size_from(bin_: int) -> float:
    """Return the size at which a bin begins.

    >>> size_from(4), size_from(32)
    (1.0, 255.0)
    """
    return float(2.0 ** (bin_ / STEPS) - 1.0)


def words_of(text: str) -> list[str]:
    """Return the words of a text's beginning, as they are counted.

    >>> words_of("Where's my PARCEL no. 17?")
    ['where', 's', 'my', 'parcel', 'no', '17']
    """
    beginning = text[:CHARACTERS].lower()
    spaced = "".join(c if c.isalnum() or c > "\x7f" else " " for c in beginning)
    return [word for word in spaced.split(" ") if word]


def bucket_of(word: str) -> int:
    """Return the bucket of one word, as `words_of` gives it.

    >>> bucket_of("parcel") == bucket_of("invoice")
    False
    """
    (bucket,) = np.flatnonzero(_count(word.encode()))
    return int(bucket)


def _encoded(text: str) -> bytes:
    return text.lower().encode()


def _count(text: bytes) -> NDArray[np.int64]:
    """Count the words of a text by bucket, without making an object of each.

    A word's hash is the sum of its bytes' codes: words of the same letters share a bucket, which
    does not matter among the hundreds of others in it.
    """
    codes = _CODES[np.frombuffer(b" " + text, dtype=np.uint8)]
    inside = codes != 0
    starts = np.flatnonzero(inside[1:] & ~inside[:-1]) + 1
    if not len(starts):
        return np.zeros(BUCKETS, dtype=np.int64)
    sums = np.add.reduceat(codes, starts, dtype=np.uint32)  # what lies between words adds 0
    mixed = sums * np.uint32(2_654_435_761)  # Knuth's multiplicative hash; the high bits are good
    return np.bincount(mixed >> np.uint32(24), minlength=BUCKETS)


def buckets_in(text: str) -> bytes:
    """Return the bucket of each word of a text's beginning, in the order of the buckets.

    For a ticket that waits in the journal, where its text is redacted.

    >>> list(buckets_in("my parcel")) == sorted([bucket_of("my"), bucket_of("parcel")])
    True
    """
    counts = _count(_encoded(text[:CHARACTERS]))
    return np.repeat(np.arange(BUCKETS, dtype=np.uint8), counts).tobytes()


class PairFeatures(NamedTuple):
    """What one pair adds; the same for each window that it counts in."""

    text_length: int
    #: None: the student did not answer, or did not say
    confidence: int | None
    latency: int | None
    #: the beginning of the text, whose words are counted, unless they were counted before
    text: str
    words: bytes | None


def features_of(
    *,
    text: str,
    text_length: int,
    confidence: float | None,
    latency_ms: float | None,
    words: bytes | None = None,
) -> PairFeatures:
    """Return what a pair adds to the windows it counts in.

    Parameters
    ----------
    text: the ticket's text; unredacted, nothing but counts is kept of it.
    text_length: characters that it had before it was cut.
    confidence, latency_ms: the student's; None where it did not answer or did not say.
    words: what `buckets_in` gave of the text before it was redacted; None: it still is as the
        customer wrote it. Words are counted of the text as it came, or a ticket that waited in
        the journal would count for other words than one that did not.

    >>> found = features_of(text="Refund!", text_length=7, confidence=0.9, latency_ms=None)
    >>> found.text_length, found.confidence, found.latency
    (12, 40, None)
    """
    return PairFeatures(
        size_bin(text_length),
        None if confidence is None else confidence_bin(confidence),
        None if latency_ms is None else size_bin(latency_ms),
        text[:CHARACTERS],
        words,
    )


class Counted(TypedDict):
    """The fields of a `WindowSummary` that are counts of bins and buckets."""

    confidence_bins: dict[int, int]
    text_length_bins: dict[int, int]
    latency_bins: dict[int, int]
    words: dict[int, int]


class Features:
    """The bins and buckets of one window, growing in place.

    Begins with those of a summary, so that a window goes on after a restart as if there had been
    none: they are counts, and add up to the bit.

    >>> features = Features(WindowSummary(segment="*", start=0.0, length=60.0))
    >>> one = features_of(text="my parcel", text_length=9, confidence=0.9, latency_ms=None)
    >>> features.add(one)
    >>> found = features.summary()
    >>> found["confidence_bins"], found["latency_bins"], sum(found["words"].values())
    ({40: 1}, {}, 2)
    """

    __slots__ = ("_confidence", "_latency", "_text_length", "_texts", "_with_words", "_words")

    def __init__(self, summary: WindowSummary) -> None:
        self._confidence = dict(summary.confidence_bins)
        self._text_length = dict(summary.text_length_bins)
        self._latency = dict(summary.latency_bins)
        # of all traffic only: 256 counts for each of hundreds of segments would be the most of
        # what the journal holds
        self._with_words = summary.segment == "*"
        self._words = dict(summary.words)
        self._texts: list[str] = []

    def add(self, pair: PairFeatures) -> None:
        """Count a pair."""
        text_length, confidence, latency, text, words = pair
        self._text_length[text_length] = self._text_length.get(text_length, 0) + 1
        if confidence is not None:
            self._confidence[confidence] = self._confidence.get(confidence, 0) + 1
        if latency is not None:
            self._latency[latency] = self._latency.get(latency, 0) + 1
        if not self._with_words:
            return
        if words is not None:
            for bucket in words:
                self._words[bucket] = self._words.get(bucket, 0) + 1
            return
        self._texts.append(text)
        if len(self._texts) >= GATHERED:
            self._count_words()

    def summary(self) -> Counted:
        """Return the fields of the window's summary, by name."""
        self._count_words()
        return {
            "confidence_bins": dict(sorted(self._confidence.items())),
            "text_length_bins": dict(sorted(self._text_length.items())),
            "latency_bins": dict(sorted(self._latency.items())),
            "words": dict(sorted(self._words.items())),
        }

    def _count_words(self) -> None:
        counts = _count(_encoded(" ".join(self._texts)))
        self._texts.clear()
        for bucket in np.flatnonzero(counts).tolist():
            self._words[bucket] = self._words.get(bucket, 0) + int(counts[bucket])
