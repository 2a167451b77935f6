"""Which of the teacher's answers people are asked to check: a draw, with a stated probability."""

from __future__ import annotations

from typing import Final

import msgspec

DAY: Final = 86400.0
#: a disagreement is this many times as likely to be shown to a person as an agreement. The best
#: split is by the standard deviations of the loss in each (Neyman, 1934), and depends on how wrong
#: the teacher is: 2 is within 4 % of the best one for teachers wrong in 1 to 25 % of the tickets,
#: where 4 takes up to a fifth more answers than people alone would (`tests/bench/bench_gold.py`)
DISAGREED: Final = 2.0


class GoldSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[gold]`: how many answers, and how long people have.

    Raises
    ------
    ValueError: a number that cannot be meant.
    """

    #: probability that a label on which student and teacher agree is drawn; twice that where
    #: they differ. 0: nobody is asked
    rate: float = 0.05
    #: days after which a drawn ticket is waited for no longer
    patience_days: float = 30.0

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ValueError(f"rate is {self.rate}; it must lie in [0, 1]")
        if self.patience_days <= 0:
            raise ValueError(f"patience_days is {self.patience_days}; it must be above 0")

    def since(self, now: float) -> float:
        """Return when a ticket must have been drawn for its answer to be waited for still."""
        return now - self.patience_days * DAY


def gold_probability(rate: float, disagreement: float) -> float:
    """Return how likely a labelled ticket is to be shown to a person.

    >>> gold_probability(0.05, 0.0), gold_probability(0.05, 1.0), gold_probability(0.5, 1.0)
    (0.05, 0.1, 1.0)
    """
    return min(1.0, rate * (1 + (DISAGREED - 1) * disagreement))
