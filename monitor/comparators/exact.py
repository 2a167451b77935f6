"""Equality of two texts but for white space and the encoding of their accents."""

from __future__ import annotations

import unicodedata


def exact_loss(answer: str, label: str, /) -> float:
    r"""0 when the texts are equal, else 1.

    White space at the ends is dropped and runs of it count as one space; canonically equivalent
    characters are equal (Unicode Annex 15, NFC). Case and punctuation count. Symmetric.

    >>> exact_loss("Size 42,\n  please", " Size 42, please "), exact_loss("Yes", "yes")
    (0.0, 1.0)
    """
    return float(_plain(answer) != _plain(label))


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())
