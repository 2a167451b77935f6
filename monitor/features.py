"""What a pair adds to a window, beside its sums: bins of its numbers, buckets of its words.

Bins and buckets are fixed for ever, so that windows of any age and any partition add up. What
is kept of a text is how many of its words fell in which of 256 buckets, thousands of words in
each: the words themselves are not kept and cannot be told from the counts.
"""

from __future__ import annotations

import math
from typing import Final, TypedDict
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from schemas.windows import WindowSummary

#: Word buckets.
BUCKETS: Final = 256
#: Characters of a text whose words are counted: what a ticket is about stands at its beginning,
#: and a long one shall neither cost more nor count for more than its share.
CHARACTERS: Final = 256
#: Pairs that are gathered before they are counted, all in one go.
GATHERED: Final = 256


def confidence_from(bin_: int) -> float:
    """Return the confidence at which a bin begins.

    Bins are steps of a quarter of the logit, from exp(-8) to 1 - exp(-16): a student that is sure
    of itself lives above 0.99, where equal steps would see nothing.

    >>> confidence_from(32), round(confidence_from(40), 3)
    (0.5, 0.881)
    """
    return 1.0 / (1.0 + math.exp(8.0 - bin_ / 4))


def size_from(bin_: int) -> float:
    """Return the length in characters, or the latency in milliseconds, at which a bin begins.

    Four bins to a doubling, up to 2^30.

    >>> size_from(4), size_from(32)
    (1.0, 255.0)
    """
    return float(2.0 ** (bin_ / 4) - 1.0)


#: Where the bins from 1 on begin; what lies below the first is in bin 0. Values are compared with
#: these and not computed to bins, so that no machine's logarithm decides.
CONFIDENCE_EDGES: Final = np.array([confidence_from(bin_) for bin_ in range(1, 97)])
SIZE_EDGES: Final = np.array([size_from(bin_) for bin_ in range(1, 121)])


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
    codes = np.take(_CODES, np.frombuffer(b" " + text, dtype=np.uint8))
    inside = codes != 0
    starts = np.flatnonzero(inside[1:] > inside[:-1]) + 1
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


class Counted(TypedDict, total=False):
    """The fields of a `WindowSummary` that are counts of bins and buckets."""

    confidence_bins: dict[int, int]
    text_length_bins: dict[int, int]
    latency_bins: dict[int, int]
    words: dict[int, int]


class Features:
    """The bins and buckets of one window, growing in place.

    Begins with those of a summary, so that a window goes on after a restart as if there had been
    none: they are counts, and add up to the bit.

    Cost: 3 to 5 microseconds a pair, nearly all of it for the words.

    >>> features = Features(WindowSummary(segment="*", start=0.0, length=60.0))
    >>> features.add("my parcel", text_length=9, confidence=0.9, latency_ms=None)
    >>> found = features.summary()
    >>> found["confidence_bins"], found["latency_bins"], sum(found["words"].values())
    ({40: 1}, {}, 2)
    """

    __slots__ = (
        "_buckets",
        "_confidence",
        "_confidences",
        "_latencies",
        "_latency",
        "_length",
        "_lengths",
        "_texts",
        "_words",
    )

    def __init__(self, summary: WindowSummary) -> None:
        self._confidence = _array(summary.confidence_bins, len(CONFIDENCE_EDGES) + 1)
        self._length = _array(summary.text_length_bins, len(SIZE_EDGES) + 1)
        self._latency = _array(summary.latency_bins, len(SIZE_EDGES) + 1)
        self._words = _array(summary.words, BUCKETS)
        # what is not counted yet
        self._texts: list[str] = []
        self._buckets = bytearray()
        self._lengths: list[float] = []
        self._confidences: list[float] = []
        self._latencies: list[float] = []

    def add(
        self,
        text: str,
        *,
        text_length: int,
        confidence: float | None,
        latency_ms: float | None,
        words: bytes | None = None,
    ) -> None:
        """Count a pair.

        Parameters
        ----------
        text: the ticket's text; unredacted, nothing but counts is kept of it.
        text_length: characters that it had before it was cut.
        confidence, latency_ms: the student's; None where it did not answer or did not say.
        words: what `buckets_in` gave of the text before it was redacted; None: it still is as
            the customer wrote it. Words are counted of the text as it came, or a ticket that
            waited in the journal would count for other words than one that did not.
        """
        if words is None:
            self._texts.append(text[:CHARACTERS])
        else:
            self._buckets += words
        if confidence is not None:
            self._confidences.append(confidence)
        if latency_ms is not None:
            self._latencies.append(latency_ms)
        self._lengths.append(text_length)
        if len(self._lengths) >= GATHERED:
            self._count_gathered()

    def summary(self) -> Counted:
        """Return the fields of the window's summary, by name."""
        if self._lengths:
            self._count_gathered()
        return {
            "confidence_bins": _dict(self._confidence),
            "text_length_bins": _dict(self._length),
            "latency_bins": _dict(self._latency),
            "words": _dict(self._words),
        }

    def _count_gathered(self) -> None:
        self._words += _count(_encoded(" ".join(self._texts)))
        self._words += np.bincount(np.frombuffer(self._buckets, np.uint8), minlength=BUCKETS)
        self._length += _binned(self._lengths, SIZE_EDGES)
        self._confidence += _binned(self._confidences, CONFIDENCE_EDGES)
        self._latency += _binned(self._latencies, SIZE_EDGES)
        self._buckets = bytearray()  # one that an array still looks at cannot be cleared
        for gathered in (self._texts, self._lengths, self._confidences, self._latencies):
            gathered.clear()


def _binned(values: list[float], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)


def _array(counts: dict[int, int], size: int) -> NDArray[np.int64]:
    array = np.zeros(size, dtype=np.int64)
    array[list(counts)] = list(counts.values())
    return array


def _dict(counts: NDArray[np.int64]) -> dict[int, int]:
    """Return the counts that are not 0, in the order of the bins."""
    met = np.flatnonzero(counts)
    return dict(zip(met.tolist(), counts[met].tolist(), strict=True))
