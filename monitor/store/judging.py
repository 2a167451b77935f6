"""Windows on their way to judgement, and what came of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from monitor.estimation.quality import JudgedWindow
from monitor.estimation.tally import Drawn
from monitor.estimation.weights import ALL
from schemas import tables
from schemas.samples import ESTIMATED, Sample
from schemas.windows import Moments

_decode_sample = msgspec.json.Decoder(Sample).decode


def nth_start(connection: sa.Connection, *, after: float, until: float, nth: int) -> float:
    """Return the `nth` start of a window in `(after, until]`; `until` where there are fewer."""
    table = tables.window
    found = connection.scalar(
        sa.select(table.c.start)
        .distinct()
        .where(table.c.segment == ALL, table.c.start > after, table.c.start <= until)
        .order_by(table.c.start)
        .offset(nth - 1)
        .limit(1)
    )
    return until if found is None else float(found)


def last_closed(connection: sa.Connection, *, done: float) -> float:
    """Return the last but one start of a window up to the watermark; minus infinity without one.

    Where the last one began, the one before it had ended. For whoever needs no labels, and must
    not be held up by a silent teacher.
    """
    table = tables.window
    starts = sa.select(sa.func.max(table.c.start)).where(table.c.segment == ALL)
    newest = starts.where(table.c.start <= done).scalar_subquery()
    found = connection.scalar(starts.where(table.c.start < newest))
    return -math.inf if found is None else float(found)


def first_unsettled(
    connection: sa.Connection, *, after: float, until: float, queued_after: float
) -> float | None:
    """Return the start of the first window in `(after, until]` that waits for labels.

    A sample that was queued before `queued_after` has been waited for long enough.
    """
    table = tables.sample
    found = connection.scalar(
        sa.select(sa.func.min(table.c.window)).where(
            table.c.window > after,
            table.c.window <= until,
            table.c.reason.in_(ESTIMATED),
            table.c.state.in_(("waiting", "claimed")),
            table.c.queued_at > queued_after,
        )
    )
    return None if found is None else float(found)


def drawn(connection: sa.Connection, *, after: float, until: float) -> dict[float, list[Drawn]]:
    """Return the tickets that were drawn for the estimates, by the window they were counted in.

    In the order of their event times; `(after, until]` are starts of windows.
    """
    sample, label = tables.sample, tables.label
    rows = connection.execute(
        sa.select(sample.c.body, label.c.disagreement)
        .outerjoin(label, label.c.ticket_id == sample.c.ticket_id)
        .where(sample.c.window > after, sample.c.window <= until, sample.c.reason.in_(ESTIMATED))
        .order_by(sample.c.at, sample.c.ticket_id)
    )
    found: dict[float, list[Drawn]] = {}
    for body, loss in rows:
        one = _decode_sample(body)
        ticket = Drawn(
            plan=one.plan,
            model=one.model,
            stratum=one.stratum,
            segments=one.segments,
            uniform=one.reason == "random",
            loss=loss,
        )
        found.setdefault(one.window, []).append(ticket)
    return found


_SUMS = ("tickets", "labels", "lost", "total", "squares")
_UNIFORM = ("uniform_n", "uniform_total", "uniform_squares")


def add(connection: sa.Connection, windows: Sequence[JudgedWindow]) -> None:
    """Journal what judged windows came to."""
    if not windows:
        return
    connection.execute(
        sa.insert(tables.judged_window),
        [
            {
                "segment": w.segment,
                "model": w.model,
                "start": w.start,
                "end": w.end,
                **{name: getattr(w, name) for name in _SUMS},
                **dict(
                    zip(_UNIFORM, (w.uniform.n, w.uniform.total, w.uniform.squares), strict=True)
                ),
            }
            for w in windows
        ],
    )


def newest(
    connection: sa.Connection, segment: str, model: str, *, until: float, limit: int
) -> list[JudgedWindow]:
    """Return the newest judged windows of one stream that end by `until`, oldest of them first."""
    table = tables.judged_window
    rows = connection.execute(
        sa.select(table)
        .where(*_stream(segment, model), table.c.end <= until)
        .order_by(table.c.start.desc())
        .limit(limit)
    ).mappings()
    return [_window(dict(row)) for row in rows][::-1]


def _window(row: Mapping[str, Any]) -> JudgedWindow:
    uniform = Moments(*(row[name] for name in _UNIFORM))
    kept = {name: value for name, value in row.items() if name not in _UNIFORM}
    return JudgedWindow(**kept, uniform=uniform)


def _stream(segment: str, model: str) -> tuple[Any, Any]:
    table = tables.judged_window
    return table.c.segment == segment, table.c.model == model


def lifetime(
    connection: sa.Connection, segment: str, model: str, *, until: float
) -> JudgedWindow | None:
    """Return the sum of a stream's judged windows that end by `until`; None where there is none."""
    table = tables.judged_window
    # PostgreSQL's sum of 64-bit integers is a decimal number
    sums = [
        sa.cast(sa.func.sum(table.c[name]), table.c[name].type).label(name)
        for name in (*_SUMS, *_UNIFORM)
    ]
    row = (
        connection.execute(
            sa.select(
                sa.func.min(table.c.start).label("start"),
                sa.func.max(table.c.end).label("end"),
                *sums,
            ).where(*_stream(segment, model), table.c.end <= until)
        )
        .mappings()
        .one()
    )
    if row["start"] is None:
        return None
    return _window({"segment": segment, "model": model, **row})
