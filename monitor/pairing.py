"""Joining tickets with their answers, whichever comes first."""

from __future__ import annotations

import msgspec


class WaitingTicket(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="ticket"):
    """A ticket without its answer yet."""

    ticket_id: str
    #: event time, clamped, seconds UTC
    at: float
    #: redacted in every record that leaves the pipeline; raw only in its memory
    text: str
    #: characters of the ticket as it came, before it was cut or redacted
    text_length: int
    #: `*` first, then one `name=value` for each configured attribute
    segments: tuple[str, ...]


class WaitingAnswer(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="answer"):
    """An answer that came before its ticket."""

    ticket_id: str
    #: event time, clamped, seconds UTC
    at: float
    #: redacted in every record that leaves the pipeline; raw only in its memory
    output: str
    model: str
    served_by: str
    confidence: float | None
    latency_ms: float | None
    cost_usd: float | None


#: One half of a pair: what the journal's `pending` rows hold, as tagged JSON.
Waiting = WaitingTicket | WaitingAnswer
