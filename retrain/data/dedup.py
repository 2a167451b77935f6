"""Near-duplicate tickets: the same question in nearly the same words belongs to one cluster.

A split by row leaks: a ticket and its twin land on both sides, and a student that learned the
twin by heart looks better than it is. So texts are compared by the Jaccard similarity of their
character 5-grams, candidates come from MinHash with locality-sensitive hashing (Broder 1997;
Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", ch. 3), are checked exactly, and
joined by union-find.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
import zlib
from collections.abc import Iterable, Sequence

#: similarity from which two texts count as the same
THRESHOLD = 0.8

_URL = re.compile(r"(?:https?://|www\.)\S+")
_DIGITS = re.compile(r"\d+")
_SPACE = re.compile(r"\s+")
_GRAM = 5  # characters
# 25 bands of 5 rows: a pair at the threshold is missed 5 times in 100 000
_BANDS, _ROWS = 25, 5


def canonical(text: str) -> str:
    """Return a text without what makes twins look different: case, width, numbers, links.

    >>> canonical("Order  №12 is LATE, see https://a.example/t?x=1")
    'order no0 is late, see <url>'
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    masked = _DIGITS.sub("0", _URL.sub("<url>", plain))
    return _SPACE.sub(" ", masked).strip()


def shingles(text: str) -> frozenset[int]:
    """Return the 32-bit hashes of a canonical text's character 5-grams."""
    padded = f" {text} "
    grams = {padded[i : i + _GRAM] for i in range(max(1, len(padded) - _GRAM + 1))}
    return frozenset(zlib.crc32(gram.encode()) for gram in grams)


def jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    """Return the share of shingles that two texts have in common, in [0, 1].

    >>> jaccard(frozenset({1, 2, 3}), frozenset({2, 3, 4}))
    0.5
    """
    common = len(one & other)
    return common / (len(one) + len(other) - common)


def cluster(texts: Sequence[str]) -> list[str]:
    """Return the cluster of each text, as 16 hex digits.

    A cluster is named by the hash of its alphabetically first canonical text, so that the same
    tickets get the same names in any order.

    >>> one, two, three = cluster(["Where is order 17?", "where is order 9?", "Refund me"])
    >>> one == two, one == three
    (True, False)
    """
    plain = [canonical(text) for text in texts]
    unique = sorted(set(plain))
    root = _join(unique)
    names = {text: _name(unique[root[i]]) for i, text in enumerate(unique)}
    return [names[text] for text in plain]


def _name(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _join(unique: Sequence[str]) -> list[int]:
    """Return, for each text, the index of the first text of its cluster."""
    grams = [shingles(text) for text in unique]
    forest = list(range(len(unique)))
    for one, other in _candidates(grams):
        first, second = sorted((_find(forest, one), _find(forest, other)))
        # a pair inside one cluster needs no check: in templated mail that is nearly every pair
        if first != second and jaccard(grams[one], grams[other]) >= THRESHOLD:
            forest[second] = first
    return [_find(forest, i) for i in range(len(unique))]


def _find(forest: list[int], node: int) -> int:
    while forest[node] != node:
        forest[node] = forest[forest[node]]
        node = forest[node]
    return node


def _candidates(grams: Sequence[frozenset[int]]) -> Iterable[tuple[int, int]]:
    """Yield pairs that may be alike: each text with the earlier ones in its buckets."""
    from datasketch import MinHash, MinHashLSH

    perms = _BANDS * _ROWS
    index = MinHashLSH(num_perm=perms, params=(_BANDS, _ROWS))
    hashes = MinHash.generator((sorted(g) for g in grams), num_perm=perms, hashfunc=int)
    for i, minhash in enumerate(hashes):
        yield from ((j, i) for j in sorted(index.query(minhash)))
        index.insert(i, minhash, check_duplication=False)
