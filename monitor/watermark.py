"""The event time up to which everything has been seen."""

from __future__ import annotations

import math
from typing import Final

import msgspec

#: Where there is no clock to hold event times against, an event that is further ahead of its stream
#: than this is from the future, seconds: a wrong clock is likelier than a month of silence.
LEAP: Final = 30 * 86_400.0
#: So many more events that are ahead than others are no single wrong clock. Where a third of the
#: events are wrong, they come to lead by 50 once in 2^50 times (gambler's ruin).
MAJORITY: Final = 50


class Newest(msgspec.Struct):
    """How far one stream has come: the newest of its event times that can be believed.

    It begins where two events in a row agree, to `LEAP`. An event from the future moves it only
    when such events outnumber the others by `MAJORITY`: then a whole fleet's clocks are wrong, or
    ours is. It moves to the least of them, and never beyond now.

    >>> stream = Newest()
    >>> for at in [1e9, 1e9 + 5, 250e9, 1e9 + 7]:
    ...     stream.see(at, latest=1e9 + 360, now=1e9 + 60)
    >>> stream.at - 1e9
    7.0
    """

    #: seconds UTC; 0 before it began
    at: float = 0.0
    #: the event before, until it began
    before: float = 0.0
    #: by how many the events from the future outnumber the others, 0 to `MAJORITY`
    ahead: int = 0
    #: the least time of those, since the last time there were none
    least: float = 0.0

    @property
    def latest(self) -> float:
        """What is later is from the future, where there is no clock."""
        return self.at + LEAP if self.at else math.inf

    def see(self, at: float, latest: float, now: float) -> None:
        """Take an event's time into account.

        Parameters
        ----------
        latest: what is later is from the future.
        now: what no event can be later than, whatever it says; infinite without a clock.
        """
        if at > latest:
            self._see_ahead(at, now)
            return
        if self.ahead:
            self.ahead -= 1
        if at <= self.at:
            return
        if self.at:
            self.at = at
        elif abs(at - self.before) <= LEAP:
            self.at = max(at, self.before)
        else:
            self.before = at

    def _see_ahead(self, at: float, now: float) -> None:
        self.least = min(at, self.least) if self.ahead else at
        self.ahead = min(self.ahead + 1, MAJORITY)
        if self.ahead == MAJORITY:
            self.at = max(self.at, min(self.least, now))


class Watermark:
    """The event time before which nothing is expected any more.

    It follows the *slower* of the two streams, less a lateness: while a backlog is read, the
    ticket topic can run hours ahead of the answer topic, and a watermark that followed the
    newest event would call every pair late (the same minimum over inputs as in Akidau et al.,
    The Dataflow Model, 2015). A stream that falls more than `skew` behind the other is taken
    for dead and no longer waited for. It never goes back.

    >>> mark = Watermark(lateness=60.0, skew=86_400.0)
    >>> mark.see_ticket(10_000.0, latest=20_300.0, now=20_000.0)
    >>> mark.see_answer(7_000.0, latest=20_300.0, now=20_000.0)
    >>> mark.value
    6940.0
    """

    def __init__(
        self,
        lateness: float,
        skew: float,
        *,
        value: float = 0.0,
        ticket: Newest | None = None,
        answer: Newest | None = None,
    ) -> None:
        self._lateness = lateness
        self._skew = skew
        self.ticket = ticket or Newest()
        self.answer = answer or Newest()
        self.value = value

    def see_ticket(self, at: float, latest: float, now: float) -> None:
        """Take a ticket's event time into account, as `Newest.see`."""
        self.ticket.see(at, latest, now)
        self._advance()

    def see_answer(self, at: float, latest: float, now: float) -> None:
        """Take an answer's event time into account, as `Newest.see`."""
        self.answer.see(at, latest, now)
        self._advance()

    def _advance(self) -> None:
        slower, faster = self.ticket.at, self.answer.at
        if slower > faster:
            slower, faster = faster, slower
        self.value = max(self.value, slower - self._lateness, faster - self._skew - self._lateness)
