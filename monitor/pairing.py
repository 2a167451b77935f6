"""Joining tickets with their answers, whichever comes first."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from monitor.features import buckets_in
from monitor.redaction import redact
from schemas.samples import Pair


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
    #: buckets of the words of the text as it came, once it is redacted; None: it is not yet
    words: bytes | None = None

    def redacted(self) -> WaitingTicket:
        """Return what may be stored."""
        return msgspec.structs.replace(self, text=redact(self.text), words=buckets_in(self.text))


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
    #: the class it counts under: of the output as it came, so redaction does not change it
    counted_as: str

    def redacted(self) -> WaitingAnswer:
        """Return what may be stored."""
        return msgspec.structs.replace(self, output=redact(self.output))


#: One half of a pair: what the journal's `pending` rows hold, as tagged JSON.
Waiting = WaitingTicket | WaitingAnswer


class Changes(NamedTuple):
    """What the journal must be told: halves to add, and ticket ids of rows to delete."""

    added: tuple[Waiting, ...]
    removed: tuple[str, ...]


class Pairing:
    """The halves that wait, at most `cap` of them.

    Those that came since the last `take` are held as they came: most meet their other half
    before anything is written, and are never redacted at all.
    """

    def __init__(self, cap: int, stored: Iterable[Waiting] = ()) -> None:
        self._cap = max(1, cap)
        self._fresh: dict[str, Waiting] = {}
        self._stored: dict[str, Waiting] = {half.ticket_id: half for half in stored}
        self._removed: list[str] = []

    def __len__(self) -> int:
        return len(self._fresh) + len(self._stored)

    def get(self, ticket_id: str) -> Waiting | None:
        """Return the half that waits under this id."""
        return self._fresh.get(ticket_id) or self._stored.get(ticket_id)

    def put(self, half: Waiting) -> int:
        """Let a half wait; return how many of the oldest had to go to make room for it.

        A sixteenth of the cap goes at once: finding the oldest takes a look at all of them. The
        oldest by event time, not by arrival, because a restart forgets the order of arrival.
        """
        evicted = 0
        if len(self) >= self._cap:
            evicted = max(1, self._cap // 16)
            self._remove(heapq.nsmallest(evicted, self._halves(), key=_age))
        self._fresh[half.ticket_id] = half
        return evicted

    def remove(self, ticket_id: str) -> None:
        """Take out the half that waits under this id."""
        if self._fresh.pop(ticket_id, None) is None:
            del self._stored[ticket_id]
            self._removed.append(ticket_id)

    def expire(self, before: float) -> list[Waiting]:
        """Take out the halves whose event time is earlier than `before`."""
        expired = [half for half in self._halves() if half.at < before]
        self._remove(expired)
        return expired

    def take(self) -> Changes:
        """Return what changed since the last call, redacted, and hold it as stored."""
        added = {ticket_id: half.redacted() for ticket_id, half in self._fresh.items()}
        changes = Changes(tuple(added.values()), tuple(sorted(self._removed)))
        self._stored.update(added)
        self._fresh.clear()
        self._removed.clear()
        return changes

    def _halves(self) -> list[Waiting]:
        return [*self._fresh.values(), *self._stored.values()]

    def _remove(self, halves: list[Waiting]) -> None:
        for half in halves:
            self.remove(half.ticket_id)


def _age(half: Waiting) -> tuple[float, str]:
    return half.at, half.ticket_id


def join(ticket: WaitingTicket, answer: WaitingAnswer) -> Pair:
    """Return the pair of two halves of the same ticket id."""
    return Pair(
        ticket_id=ticket.ticket_id,
        asked_at=ticket.at,
        answered_at=answer.at,
        text=ticket.text,
        output=answer.output,
        model=answer.model,
        served_by=answer.served_by,
        confidence=answer.confidence,
        latency_ms=answer.latency_ms,
        cost_usd=answer.cost_usd,
        segments=ticket.segments,
    )
