"""Empty the outbox: hand each notification to its channel, and try again later if need be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa

from monitor.alerts.channels import Channel
from monitor.alerts.retry import next_attempt
from monitor.store import notifying
from schemas.errors import DeliveryError
from schemas.journal import lead

#: seconds after which another process may send, where this one is not heard of any more
LEASE: Final = 15.0


class NotifyLoop:
    """Sends what is due, one process at a time. A channel that fails holds up no other.

    Parameters
    ----------
    owner: this process, as the journal knows it.
    """

    def __init__(self, engine: sa.Engine, channels: Mapping[str, Channel], owner: str) -> None:
        self._engine = engine
        self._channels = channels
        self._owner = owner

    def once(self, now: float) -> int:
        """Send what is due; return how many arrived: none while another process sends."""
        with self._engine.begin() as connection:
            if lead(connection, "notify", self._owner, now, LEASE) is None:
                return 0
            notifying.forget_others(connection, self._channels)
            waiting = notifying.due(connection, now, self._channels, limit=100)
        failing: set[str] = set()
        sent = 0
        for one in waiting:
            channel = one.notification.channel
            if channel in failing:
                continue  # one that is slow to fail must not hold up the others
            if self._deliver(one, now):
                sent += 1
            else:
                failing.add(channel)
        return sent

    def _deliver(self, one: notifying.Due, now: float) -> bool:
        try:
            self._channels[one.notification.channel].send(one.notification)
        except DeliveryError as error:
            again = next_attempt(one.attempts + 1, now, error)
            with self._engine.begin() as connection:
                notifying.mark_failed(
                    connection, one.row_id, next_attempt_at=again, error=error.what
                )
            return False
        # a crash before this line sends it once more, under the same idempotency key
        with self._engine.begin() as connection:
            notifying.mark_sent(connection, one.row_id, now)
        return True
