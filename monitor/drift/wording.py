"""What drifted, in words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Protocol

import msgspec

from monitor.drift.reference import Judgement, Reference
from monitor.features import bucket_of, confidence_from, size_from, words_of

#: Bins of `novelty`, from near to far.
LIKENESS: Final = (
    "much like those before",
    "somewhat like those before",
    "little like those before",
    "unlike any before",
)
#: Contributors that a finding keeps, and that its sentence names.
KEPT: Final = 12
NAMED: Final = 3
#: A contributor's score is at least this, unless none is.
NOTABLE: Final = 2.0
#: A word is worth naming when so many of the sampled texts have it, and when the standard score
#: of its change reaches this: among thousands of words many come near 3 by chance.
LEAST_TEXTS: Final = 3
NOTABLE_WORD: Final = 4.0
MOST_WORDS: Final = 5


class Contributor(msgspec.Struct, frozen=True, array_like=True):
    """One group of cells that moved."""

    #: the cells of the feature that it is made of, and what to call it
    cells: tuple[str, ...]
    name: str
    #: its share in the reference, and now
    before: float
    now: float
    #: standard score of the difference, against clean slices
    score: float


def name_of(feature: str, cells: Sequence[str], topics: Mapping[str, str]) -> str:
    """Name a group of cells.

    Parameters
    ----------
    topics: what to call each cell of `topics`.

    >>> name_of("classes", ["delivery"], {}), name_of("latency_ms", ["20", "21", "22"], {})
    ('`delivery`', '31 to 53 ms')
    """
    if not cells:
        return "all others"
    if feature == "words":
        return f"words of group {cells[0]}"
    if feature == "topics":
        return " or ".join(topics.get(cell, f"tickets of group {cell}") for cell in cells)
    if feature == "novelty":
        return f"tickets {LIKENESS[int(cells[0])]}"
    if feature in {"confidence", "latency_ms", "text_length"}:
        return _bins(feature, int(cells[0]), int(cells[-1]) + 1)
    return " and ".join(f"`{cell}`" for cell in cells)


def _bins(feature: str, first: int, last: int) -> str:
    """Name neighbouring bins by the numbers that they begin and end with."""
    if feature == "confidence":
        return f"confidence {confidence_from(first):.4g} to {confidence_from(last):.4g}"
    unit = "ms" if feature == "latency_ms" else "characters"
    return f"{size_from(first):,.0f} to {size_from(last):,.0f} {unit}"


def length(seconds: float) -> str:
    """Write how long a stretch of traffic is.

    >>> length(3600.0), length(7 * 86_400.0)
    ('1 h', '7 d')
    """
    if seconds >= 86_400.0:
        return f"{seconds / 86_400.0:.3g} d"
    return f"{seconds / 3600.0:.3g} h"


def contributors(
    feature: str,
    reference: Reference,
    judged: Judgement,
    topics: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Contributor, ...]:
    """Return what moved most, first; `topics` says what to call the cells of that feature."""
    found = [
        Contributor(tuple(cells), name_of(feature, cells, topics), before, float(now), float(score))
        for cells, before, now, score in zip(
            reference.groups, reference.shares, judged.shares, judged.scores, strict=True
        )
    ]
    found.sort(key=lambda one: -abs(one.score))
    return tuple(one for one in found[:KEPT] if abs(one.score) >= NOTABLE) or tuple(found[:1])


def shifts(feature: str, contributors: Sequence[Contributor]) -> str:
    """Write the shares of the first contributors, before and now."""
    if feature == "words":
        return "customers use other words than before"  # which, only texts can tell: `explain`
    return ", ".join(
        f"{one.name} {_share(one.before)} -> {_share(one.now)}" for one in contributors[:NAMED]
    )


def _share(share: float) -> str:
    return f"{100 * share:.1f} %"


class Explicable(Protocol):
    """What `explain` needs of a finding."""

    @property
    def feature(self) -> str:
        """Which feature it is about."""

    @property
    def sentence(self) -> str:
        """What it says by itself."""

    @property
    def contributors(self) -> tuple[Contributor, ...]:
        """What moved most, first."""


def explain(finding: Explicable, before: Sequence[str], now: Sequence[str]) -> str:
    """Add to a finding's sentence the words by which the texts of now differ from those before.

    Windows count words by hash; the words themselves are found in tickets that were sampled.

    Parameters
    ----------
    finding: of any feature. Of `words` only words in the groups that moved are named.
    before, now: texts sampled before the drift and since; redacted, a few hundred are enough.

    >>> from monitor.drift import DriftFinding
    >>> found = DriftFinding(
    ...     severity="warn", statistic=9.0, threshold=8.0, n=70, interval=None,
    ...     sentence="`tabs` 4.0 % -> 11.0 %", feature="classes", at=0.0, since=0.0)
    >>> explain(found, ["my bookmarks are gone"] * 20, ["what is this proton redesign"] * 20)
    '`tabs` 4.0 % -> 11.0 %; new words: is, proton, redesign, this, what; fewer: are, bookmarks, gone, my'
    """
    return "; ".join(
        [finding.sentence, *moved_words(finding.feature, finding.contributors, before, now)]
    )


def moved_words(
    feature: str, moved: Sequence[Contributor], before: Sequence[str], now: Sequence[str]
) -> list[str]:
    """Return which words came and which went: `new words: proton`, `fewer: tabs`, or neither.

    Parameters
    ----------
    feature, moved: what drifted, and its contributors. Of `words` only those in their groups count.
    before, now: redacted texts.
    """
    groups = {cell for one in moved for cell in one.cells}
    was, are = _texts_with(before), _texts_with(now)
    scored = []
    for word in sorted(was | are):
        if feature == "words" and str(bucket_of(word)) not in groups:
            continue
        score = _score(was[word], len(before), are[word], len(now))
        if abs(score) >= NOTABLE_WORD and max(was[word], are[word]) >= LEAST_TEXTS:
            scored.append((score, word))
    more = [word for score, word in sorted(scored, key=lambda m: (-m[0], m[1])) if score > 0]
    fewer = [word for score, word in sorted(scored, key=lambda m: (m[0], m[1])) if score < 0]
    listed = (("new words", more), ("fewer", fewer))
    return [f"{title}: {', '.join(words[:MOST_WORDS])}" for title, words in listed if words]


def _texts_with(texts: Sequence[str]) -> Counter[str]:
    """Count the texts that have a word."""
    return Counter(
        word
        for text in texts
        for word in sorted(set(words_of(text)))
        if any(map(str.isalnum, word))  # a dash beyond ASCII counts as a word, but says nothing
    )


def _score(was: int, before: int, are: int, now: int) -> float:
    """Return the standard score of the difference of two shares.

    Of their arcsines (Anscombe, 1948): the score of the plain difference makes much of a word that
    two or three texts have.
    """
    if not before or not now:
        return 0.0
    moved = math.asin(math.sqrt(are / now)) - math.asin(math.sqrt(was / before))
    return round(2 * moved / math.sqrt(1 / before + 1 / now), 6)  # equal ones stay equal
