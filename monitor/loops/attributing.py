"""Say with a finding what raised the disagreement, as far as the journal tells."""

from __future__ import annotations

import math
from typing import Final

import msgspec
import sqlalchemy as sa

from monitor.attribution import attribute, beginning
from monitor.store import attributing, evaluation, judging
from schemas.signals import Signal

#: newest judged windows in which the beginning of the rise is looked for
LOOK_BACK: Final = 2000
#: The time before is so many times as long as the rise lasts, and within these bounds, seconds.
TIMES: Final = 8.0
LEAST_BEFORE: Final = 86_400.0
MOST_BEFORE: Final = 60 * 86_400.0


def explained(connection: sa.Connection, signal: Signal, *, until: float | None = None) -> Signal:
    """Return a finding about disagreement with its causes.

    The time since the rise, up to `until` or else to the finding, is held against the time
    before. Reads the journal's windows, samples and labels alone; what they do not hold is said to
    be not known.
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
        for first, last in ((began - span, began), (began, signal.at if until is None else until))
    )
    return msgspec.structs.replace(signal, causes=attribute(before, now).sentence)


def explain_anew(connection: sa.Connection, model: str, now: float) -> None:
    """Say again what raised the pages of a student, with all that became known until now.

    For when the teacher's canaries have answered: whether the teacher changed is what a finding
    can seldom know, and what people ask first.
    """
    until = math.nextafter(now, math.inf)
    for signal in evaluation.signals(connection, model=model):
        if signal.metric == "disagreement" and signal.severity == "page":
            evaluation.restate(connection, explained(connection, signal, until=until))
