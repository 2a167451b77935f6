"""Canaries: tickets that the teacher answered once, asked again on a schedule.

A provider may put another model behind the same name, and nothing but the answers shows it. So
the first answers to a few hundred tickets are kept, and the same tickets are asked again as if
they were new. A share of them changes by chance (the stated noise); more than that, judged by
the same bets as a student's quality, and the teacher is another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from schemas.samples import Sample

#: fewer canaries than this would take years to show a change
FEWEST: Final = 20
#: what stands for the student of a ticket that no student answered
MODEL: Final = "canary"
DAY: Final = 86400.0


class CanarySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[canaries]`: how many tickets are asked again, how often, and what change is chance.

    Raises
    ------
    ValueError: a number that cannot be meant.
    """

    #: tickets that are kept; 0: none
    count: int = 200
    #: days between two times that they are asked
    every_days: float = 7.0
    #: share of answers that may change although the teacher is the same
    noise: float = 0.05
    #: share of the teacher's daily money that they may cost, over these days
    budget_share: float = 0.05

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"count is {self.count}; it must be 0 or more")
        if self.every_days <= 0:
            raise ValueError(f"every_days is {self.every_days}; it must be above 0")
        for name in ("noise", "budget_share"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie between 0 and 1")


#: for a teacher that cannot be asked again
NO_CANARIES: Final = CanarySettings(count=0)


def affordable(settings: CanarySettings, cost_usd: float, daily_usd: float) -> int:
    """Return how many canaries their share of the money pays for.

    Parameters
    ----------
    cost_usd: what one answer costs on average. daily_usd: what the teacher may cost a day.

    >>> affordable(CanarySettings(), 0.01, 5.0)  # 5 % of 35 dollars a week
    175
    >>> affordable(CanarySettings(), 0.10, 5.0)  # 17 would be too few to show anything
    0
    """
    paid = settings.count
    if cost_usd > 0:
        money = settings.budget_share * settings.every_days * daily_usd
        paid = min(paid, int(money / cost_usd + 1e-9))
    return paid if paid >= FEWEST else 0


def due(settings: CanarySettings, asked_at: float, now: float) -> bool:
    """Say whether the canaries, asked last at `asked_at`, are to be asked again."""
    return now >= asked_at + settings.every_days * DAY


def questions(canaries: Sequence[Sample], generation: str, number: int, now: float) -> list[Sample]:
    """Return the canaries as samples of one round; the answer to compare with is the first one.

    They have ids of their own and the reason `sentinel`: no estimate rests on them, and nothing
    is learned from them.
    """
    return [
        msgspec.structs.replace(
            canary,
            ticket_id=f"canary-{generation}-{number}-{index}",
            at=now,
            model=MODEL,
            served_by="teacher",
            confidence=None,
            segments=("*",),
            reason="sentinel",
            inclusion_probability=1.0,
            plan=0,
            stratum=0,
            window=0.0,
        )
        for index, canary in enumerate(canaries)
    ]
