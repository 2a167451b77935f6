"""Where notifications go. One file a channel; the retry is the notify loop's, not theirs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final, Protocol

from monitor.alerts.channels.stdout import StdoutChannel
from monitor.alerts.channels.webhook import WebhookChannel
from schemas.alerts import Notification


class Channel(Protocol):
    """A way to reach people."""

    #: which sort it is: the key of `CHANNELS`, and `kind` in the configuration
    kind: ClassVar[str]
    #: what the operator called it; the outbox and the alerts know it by this name
    name: str

    def send(self, notification: Notification) -> None:
        """Hand one notification over; return when it has been accepted.

        The same one may be sent again after a crash: `idempotency_key` tells a receiver so.

        Raises
        ------
        DeliveryError: it did not arrive; says whether sending again can help.
        """

    def close(self) -> None:
        """Let go of connections."""


CHANNELS: Final[Mapping[str, type[Channel]]] = MappingProxyType(
    {channel.kind: channel for channel in (StdoutChannel, WebhookChannel)}
)
