"""Say with a finding what raised the disagreement, as far as the journal tells."""

from __future__ import annotations

from typing import Final

import msgspec
import sqlalchemy as sa

from monitor.attribution import attribute, beginning
from monitor.store import attributing, judging
from schemas.signals import Signal

#: newest judged windows in which the beginning of the rise is looked for
LOOK_BACK: Final = 2000
#: The time before is so many times as long as the rise lasts, and within these bounds, seconds.
TIMES: Final = 8.0
LEAST_BEFORE: Final = 86_400.0
MOST_BEFORE: Final = 60 * 86_400.0


def explained(connection: sa.Connection, signal: Signal) -> Signal:
    """Return a finding about disagreement with its causes in its sentence.

    The time since the rise is held against the time before. Reads the journal's windows, samples
    and labels alone; what they do not hold is said to be not known.
    """
    windows = judging.newest(
        connection, signal.segment, signal.model, until=signal.at, limit=LOOK_BACK
    )
    if not windows:
        return signal
    began = windows[beginning([window.scores for window in windows])].start
    span = min(max(TIMES * (signal.at - began), LEAST_BEFORE), MOST_BEFORE)
    before, now = (
        attributing.period(connection, since=first, until=last, segment=signal.segment)
        for first, last in ((began - span, began), (began, signal.at))
    )
    found = attribute(before, now)
    return msgspec.structs.replace(signal, sentence=f"{signal.sentence}; {found.sentence}")
