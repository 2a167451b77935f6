"""What the journal holds of a stretch of event time, for whoever asks what changed in it."""

from __future__ import annotations

import math
from typing import Final

import msgspec
import sqlalchemy as sa

from monitor.attribution import Answered, Period
from monitor.sampling import SamplingPlan
from monitor.store import evaluation, planning
from schemas import tables
from schemas.samples import ESTIMATED, Label, Sample
from schemas.windows import WindowSummary

#: Newest samples of a period: enough to say where a difference comes from, and quickly read.
MOST_SAMPLES: Final = 3000
#: Windows of segments beyond this are left out: the segment mix is then not known.
MOST_WINDOWS: Final = 20_000

_decode_sample = msgspec.json.Decoder(Sample).decode
_decode_label = msgspec.json.Decoder(Label).decode


def period(connection: sa.Connection, *, since: float, until: float, segment: str) -> Period:
    """Return what is known of the traffic asked in `[since, until)`.

    Of a segment the windows are its own, read as if they were of all traffic: they hold its
    classes, and no words.
    """
    return Period(
        _windows(connection, since, until, segment),
        [
            one
            for one in _answered(connection, since, until)
            # sentinels are asked for the teacher's sake, which is the same in every segment
            if segment in one.sample.segments or one.sample.reason == "sentinel"
        ],
    )


def _windows(
    connection: sa.Connection, since: float, until: float, segment: str
) -> list[WindowSummary]:
    bounds = {"after": math.nextafter(since, -math.inf), "until": math.nextafter(until, -math.inf)}
    if segment != "*":
        own = evaluation.windows(connection, **bounds, segment=segment)
        return [msgspec.structs.replace(window, segment="*") for window in own]
    few = _count(connection, since, until) <= MOST_WINDOWS
    return evaluation.windows(connection, **bounds, segment=None if few else "*")


def _count(connection: sa.Connection, since: float, until: float) -> int:
    table = tables.window
    rows = sa.select(table.c.start).where(table.c.start >= since, table.c.start < until)
    counted = sa.select(sa.func.count()).select_from(rows.limit(MOST_WINDOWS + 1).subquery())
    return int(connection.scalar(counted) or 0)


def _answered(connection: sa.Connection, since: float, until: float) -> list[Answered]:
    """Return the newest samples with their labels, oldest of them first."""
    sample, label = tables.sample, tables.label
    rows = connection.execute(
        sa.select(sample.c.body, label.c.body)
        .join(label, label.c.ticket_id == sample.c.ticket_id)
        .where(
            label.c.at >= since,
            label.c.at < until,
            label.c.reason.in_((*ESTIMATED, "sentinel")),
        )
        .order_by(label.c.at.desc(), label.c.ticket_id.desc())
        .limit(MOST_SAMPLES)
    )
    found = [(_decode_sample(one), _decode_label(two)) for one, two in rows][::-1]
    plans = planning.by_versions(connection, {one.plan for one, _ in found})
    return [Answered(one, two, _probability(one, plans)) for one, two in found]


def _probability(sample: Sample, plans: dict[int, SamplingPlan]) -> float:
    plan = plans.get(sample.plan)
    if plan is None or sample.reason not in ESTIMATED:
        return sample.inclusion_probability
    # a ticket is drawn `random` or `risky`: both together have the probability of its stratum
    return plan.strata(sample.model)[sample.stratum].probability
