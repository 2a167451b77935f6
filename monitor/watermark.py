"""The event time up to which everything has been seen."""

from __future__ import annotations


class Watermark:
    """The event time before which nothing is expected any more.

    It follows the *slower* of the two streams, less a lateness: while a backlog is read, the
    ticket topic can run hours ahead of the answer topic, and a watermark that followed the
    newest event would call every pair late (the same minimum over inputs as in Akidau et al.,
    The Dataflow Model, 2015). A stream that falls more than `skew` behind the other is taken
    for dead and no longer waited for. It never goes back.

    >>> mark = Watermark(lateness=60.0, skew=86_400.0)
    >>> mark.see_ticket(10_000.0)
    >>> mark.see_answer(7_000.0)
    >>> mark.value
    6940.0
    """

    def __init__(
        self,
        lateness: float,
        skew: float,
        *,
        value: float = 0.0,
        ticket: float = 0.0,
        answer: float = 0.0,
    ) -> None:
        self._lateness = lateness
        self._skew = skew
        #: newest event time of each stream, seconds UTC
        self.ticket = ticket
        self.answer = answer
        self.value = value

    def see_ticket(self, at: float) -> None:
        """Take a ticket's event time into account."""
        if at > self.ticket:
            self.ticket = at
            self._advance()

    def see_answer(self, at: float) -> None:
        """Take an answer's event time into account."""
        if at > self.answer:
            self.answer = at
            self._advance()

    def _advance(self) -> None:
        slower, faster = self.ticket, self.answer
        if slower > faster:
            slower, faster = faster, slower
        self.value = max(self.value, slower - self._lateness, faster - self._skew - self._lateness)
