"""Alerts: a condition that holds, the row it becomes, and what is sent about it."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from schemas.signals import Severity

AlertState = Literal["firing", "resolved"]


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is the case now and that a person should know.

    `name` and `labels` identify it; the texts describe it and may change while it lasts.
    """

    name: str
    severity: Severity
    labels: dict[str, str] = {}
    #: since when, seconds UTC
    since: float
    #: what is wrong, for whom, with figures; what proctord does; what the reader does
    summary: str
    proctord_does: str
    you_do: str
    #: True for news that has no end (a promotion): it is told once and is resolved at once
    momentary: bool = False
    #: hash of the contract by which all is judged; no part of the identity
    contract: str = ""

    def dedup_key(self, instance: str) -> str:
        """32 hex digits that stay the same while the condition lasts: no values, no times."""
        labels = ",".join(f"{k}={v}" for k, v in sorted(self.labels.items()))
        text = f"proctord/{instance}/{self.name}/{labels}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the journal's `alert` table."""

    alert_id: int
    dedup_key: str
    condition: Condition
    state: AlertState
    started_at: float
    #: when it stopped being the case; None while it fires
    ended_at: float | None
    #: when the condition was last seen to hold
    updated_at: float
    #: notices sent of it, when the last one was, and how severe it was then
    told: int = 0
    told_at: float | None = None
    told_severity: Severity | None = None
    #: why the last turn told people of it, or did not
    reason: str = ""


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """One change of one alert, to be told through one channel."""

    instance: str
    dedup_key: str
    state: AlertState
    condition: Condition
    started_at: float
    ended_at: float | None
    #: the next command and where to look, ready to be pasted
    commands: tuple[str, ...] = ()
    #: name of the channel, and what a receiver may recognise a repeated delivery by
    channel: str = ""
    idempotency_key: str = ""
