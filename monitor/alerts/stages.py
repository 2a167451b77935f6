"""From conditions to changes of alerts, and which of them people are told of, with the reason."""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.alerts import Alert, Notification


class AlertSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How often and through which channels people are told."""

    #: names this proctord among several that report to the same people
    instance: str
    channels: tuple[str, ...]
    #: an alert that goes on is told again after this, seconds
    repeat_seconds: float = 4 * 3600.0


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one alert in one turn, to be written in one transaction.

    `opened`: insert the row (`alert_id` is 0) and its notifications. `updated`, `resolved`:
    replace the row with this `alert_id`.
    """

    kind: Literal["opened", "updated", "resolved"]
    alert: Alert
    #: why people are told of it now, or why they are not
    reason: str
    #: one for each channel; empty when nobody is told
    notifications: tuple[Notification, ...]
