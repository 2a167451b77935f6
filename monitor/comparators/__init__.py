"""How far an answer is from the teacher's label: one comparator a file, all in one table.

A comparator is a pure function of two texts. `COMPARATORS` is what the configuration may name;
the contract suite tests whatever stands in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from monitor.comparators.exact import exact_loss
from monitor.comparators.label import label_loss
from monitor.comparators.token_f1 import token_f1_loss


class Comparator(Protocol):
    """Disagreement between production's answer and the teacher's label."""

    def __call__(self, answer: str, label: str, /) -> float:
        """Return a loss in [0, 1]: 0 for a text against itself, the same in either order.

        Never raises, whatever the texts hold: lone surrogates and NUL included.
        """


COMPARATORS: Mapping[str, Comparator] = MappingProxyType(
    {
        "label": label_loss,
        "exact": exact_loss,
        "token_f1": token_f1_loss,
    }
)
