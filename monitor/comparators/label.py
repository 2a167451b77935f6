"""Equality of two labels that may be spelt differently: `Card_Arrival` is `card arrival`."""

from __future__ import annotations

import re
import unicodedata

#: Runs of what people put between the words of a label: spaces, underscores, hyphens, dashes.
_SEPARATORS = re.compile(r"[\s_\-\u2010-\u2015\u2212]+")


def canonical_label(text: str) -> str:
    """The one spelling that stands for all spellings of a label.

    Compatibility forms and case are folded as in the Unicode Standard's caseless matching
    (section 3.13.5, D146), separators become one space.

    >>> canonical_label("  Card_Arrival "), canonical_label("card-arrival")
    ('card arrival', 'card arrival')
    """
    # Folding case can leave a text that is not normalised (U+0345), hence twice.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _SEPARATORS.sub(" ", folded).strip()


def label_loss(answer: str, label: str, /) -> float:
    """0 when both spell the same label, else 1.

    Symmetric. Assumes that no two labels of the taxonomy differ only in case or separators.

    >>> label_loss("Lost Card", "lost_card"), label_loss("lost card", "stolen card")
    (0.0, 1.0)
    """
    return float(canonical_label(answer) != canonical_label(label))
