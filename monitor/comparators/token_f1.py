"""Overlap of the words of two free texts."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

#: Scripts written without spaces: each ideograph or kana is a token, or a whole sentence would
#: be one and the loss all or nothing.
_UNSPACED = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")


def token_f1_loss(answer: str, label: str, /) -> float:
    """1 - F1 of the two bags of words, after NFKC and case folding.

    F1 is the harmonic mean of precision and recall, 2 |A and B| / (|A| + |B|) over multisets, as
    in Rajpurkar et al., "SQuAD" (EMNLP 2016), but articles count and nothing depends on English.
    Symmetric. Word order is not seen: "refund, not exchange" equals "exchange, not refund".
    Where one text has no word (empty, an emoji), the texts are compared whole.

    >>> token_f1_loss("Your refund is on its way", "The refund is on its way!")
    0.16666666666666663
    >>> token_f1_loss("", ""), token_f1_loss("", "a refund")
    (0.0, 1.0)
    """
    left, right = _folded(answer), _folded(label)
    ours, theirs = Counter(_TOKEN.findall(left)), Counter(_TOKEN.findall(right))
    if not ours or not theirs:
        return float(left.split() != right.split())
    shared = (ours & theirs).total()
    return 1.0 - 2.0 * shared / (ours.total() + theirs.total())


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
