"""History once more, as fast as it can be read: the same core under a virtual clock.

Events come from files, the teacher's answers from a recording, and the time from the events'
watermark. So two replays of the same files print the same bytes, and a changed contract can be
tried on what has been. Nothing leaves: a replay has no channels and starts no training.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, Protocol

import msgspec
import sqlalchemy as sa

from monitor.app import Monitor
from schemas import tables
from schemas.decisions import Decision
from schemas.signals import Signal

#: empty polls in a row after which the files are at their end
_AT_THE_END = 2


class Policy(Protocol):
    """The retraining policy, as far as a replay needs it."""

    def serve(self, model: str, now: float) -> None:
        """Let the policy know which student serves from now on."""

    def decide(self, now: float) -> Decision | None:
        """Return the decision of this moment; None when it is the last one again."""


class Finding(NamedTuple):
    """Something that proctord would have said."""

    kind: Literal["signal", "decision"]
    record: Signal | Decision

    def line(self) -> str:
        """Return it as one line of JSON, keys sorted."""
        body = {"kind": self.kind, **msgspec.to_builtins(self.record)}
        return msgspec.json.encode(body, order="sorted").decode()


def replay(
    monitor: Monitor, engine: sa.Engine, policy: Policy, *, every: float
) -> Iterator[Finding]:
    """Read everything there is and yield what would have been said, in its order.

    Parameters
    ----------
    every: seconds of event time between two looks at what was read: a window's length, because
        what is judged are windows that closed.
    """
    empty, student, looked_at = 0, "", 0.0
    while empty < _AT_THE_END:
        # the clock stands still while reading: event times are not held against it
        turn = monitor.consume.once(monitor.consume.watermark or 0.0, timeout=0.0)
        empty = 0 if turn.records else empty + 1
        now = monitor.consume.watermark
        if now is None or (turn.records and now // every == looked_at // every):
            continue
        looked_at = now
        monitor.consume.checkpoint(now)
        while monitor.label.once(now).labelled:
            pass
        while monitor.embed is not None and monitor.embed.once(now):
            pass
        yield from (Finding("signal", signal) for signal in monitor.evaluate.once(now).signals)
        serving = _newest_student(engine, now)
        if serving != student:
            student = serving
            policy.serve(student, now)
        decision = policy.decide(now)
        if decision is not None:
            yield Finding("decision", decision)


def _newest_student(engine: sa.Engine, now: float) -> str:
    """Return the student that answered the newest labelled ticket by now; "" for none."""
    table = tables.label
    with engine.begin() as connection:
        found = connection.scalar(
            sa.select(table.c.model)
            .where(table.c.reason != "sentinel", table.c.at <= now)
            .order_by(table.c.at.desc(), table.c.ticket_id.desc())
            .limit(1)
        )
    return found or ""
