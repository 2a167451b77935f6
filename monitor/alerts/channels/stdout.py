"""The terminal, or whatever the service manager makes of the standard output."""

from __future__ import annotations

from typing import ClassVar, TextIO

from monitor.alerts.text import render
from schemas.alerts import Notification
from schemas.errors import DeliveryError


class StdoutChannel:
    """Writes each notification as plain text, a blank line after it."""

    kind: ClassVar[str] = "stdout"

    def __init__(self, name: str, stream: TextIO) -> None:
        self.name = name
        self._stream = stream

    def send(self, notification: Notification) -> None:
        """Write it and flush, in one piece, so that two writers do not interleave within it.

        Raises
        ------
        DeliveryError: the stream is closed or its reader is gone; a later one may be open.
        """
        # a terminal in the C locale knows no umlauts: better a question mark than no alert
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        text = f"{render(notification)}\n\n".encode(encoding, "replace").decode(encoding)
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError) as error:
            what = f"channel {self.name}: the stream does not take text: {type(error).__name__}"
            raise DeliveryError(what, retryable=True) from error

    def close(self) -> None:
        """Do nothing: the stream is the caller's."""
