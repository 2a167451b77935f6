"""Raised at one value, cleared at a lower one: a ratio that wavers does not flap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from monitor.alerts.situation import Situation
from schemas.alerts import Alert


class Threshold(NamedTuple):
    """Holds from `raise_at` upwards and, once it holds, until the value is below `clear_below`.

    >>> limit = Threshold(raise_at=0.05, clear_below=0.02)
    >>> limit.holds(0.03, firing=False), limit.holds(0.03, firing=True)
    (False, True)
    """

    raise_at: float
    clear_below: float

    def holds(self, value: float, *, firing: bool) -> bool:
        """Say whether the condition holds; a NaN raises nothing and keeps nothing up."""
        return value >= (self.clear_below if firing else self.raise_at)


def firing(situation: Situation, name: str, labels: Mapping[str, str]) -> Alert | None:
    """Return the alert that fires for this condition, if one does."""
    for alert in situation.firing:
        if alert.condition.name == name and alert.condition.labels == labels:
            return alert
    return None


def since(situation: Situation, name: str, labels: Mapping[str, str]) -> float:
    """Return since when this has been so: since it was first seen, or since now."""
    alert = firing(situation, name, labels)
    return situation.now if alert is None else alert.condition.since
