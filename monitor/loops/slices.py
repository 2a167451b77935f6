"""Slices of event time that can be judged: closed by the watermark, and with their labels there.

They are judged in their order, each as a whole: when every ticket that was drawn from it is
labelled, or was waited for long enough. Whatever comes later is not counted. So the same windows
give the same findings, however often the process was stopped in between, and a label is judged
once because its window is.

Order matters to the guarantee: were tickets that nobody asked about judged before the labels of
the others came, then during an outage of the teacher only the calibration would speak.
"""

from __future__ import annotations

import math
from itertools import groupby
from typing import Final, NamedTuple

import sqlalchemy as sa

from monitor.estimation.tally import Drawn
from monitor.store import evaluation, judging
from schemas.windows import WindowSummary

#: slices of event time that are taken in one turn
SLICES: Final = 200
#: start of the newest window that was judged
JUDGED: Final = "windows_judged"


class Slice(NamedTuple):
    """One slice of event time that is ready to be judged."""

    start: float
    #: one of each segment
    windows: tuple[WindowSummary, ...]
    #: by event time: what was drawn for the estimates, and what the teacher said of it
    drawn: tuple[Drawn, ...]

    @property
    def end(self) -> float:
        """Event time at which it ends, seconds UTC."""
        return self.start + self.windows[0].length


def ready(connection: sa.Connection, *, done: float, now: float, patience: float) -> list[Slice]:
    """Return the slices that can be judged now, oldest first, and count them as judged.

    Parameters
    ----------
    done: the watermark: event time up to which every active shard is done.
    patience: how long after it was queued a sample is waited for, seconds.
    """
    after = judged_until(connection)
    until = judging.nth_start(connection, after=after, until=done, nth=SLICES)
    unsettled = judging.first_unsettled(
        connection, after=after, until=until, queued_after=now - patience
    )
    if unsettled is not None:
        # looked up first: a long wait must not read all that waits behind it at each turn
        until = math.nextafter(unsettled, -math.inf)
    slices = _slices(connection, after, until, done)
    if slices:
        evaluation.set_number(connection, JUDGED, slices[-1].start)
    return slices


def judged_until(connection: sa.Connection) -> float:
    """Return the start of the newest slice that was judged; minus infinity before the first."""
    return evaluation.number(connection, JUDGED, float("-inf"))


def _slices(connection: sa.Connection, after: float, until: float, done: float) -> list[Slice]:
    found = evaluation.windows(connection, after=after, until=until)
    closed = [window for window in found if window.start + window.length <= done]
    if not closed:
        return []
    drawn = judging.drawn(connection, after=after, until=closed[-1].start)
    return [
        Slice(start, tuple(windows), tuple(drawn.get(start, ())))
        for start, windows in groupby(closed, key=lambda window: window.start)
    ]
