"""Publish the next version of the sampling plan, when something calls for one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec
import sqlalchemy as sa

from monitor.planning import (
    CALLS,
    DAY,
    HOUR,
    REFIT_LABELS,
    Facts,
    Money,
    SamplingSettings,
    calibration_due,
    expected_by_midnight,
    money_due,
    next_plan,
    samples_at_full_rates,
)
from monitor.store import evaluation, labelling, planning
from schemas.windows import WindowSummary

#: `number`: when the money was looked at last
LOOKED_AT: Final = "money_looked_at"


def replan(
    connection: sa.Connection,
    settings: SamplingSettings,
    champion: str,
    *,
    wanted: bool,
    now: float,
) -> None:
    """Look at what the plan depends on, and publish another where it shall change.

    Parameters
    ----------
    champion: the student that serves, which is calibrated; "" when nobody knows.
    wanted: whether a retraining wants labels.

    Consumers take a new plan up at their next checkpoint; what was counted under an older one
    stays so. Costs two short queries while nothing is due.
    """
    plan = planning.newest_or(connection, settings.plan(), now)
    facts = Facts(plan=plan, settings=settings, champion=champion, wanted=wanted)
    if calibration_due(plan, settings, champion, now):
        outcomes = planning.outcomes(connection, champion, REFIT_LABELS)
        facts = msgspec.structs.replace(facts, outcomes=outcomes)
    looked_at = evaluation.number(connection, LOOKED_AT, 0.0)
    if math.isfinite(settings.daily_usd) and money_due(facts, looked_at, now):
        facts = msgspec.structs.replace(facts, money=_money(connection, facts, now))
        evaluation.set_number(connection, LOOKED_AT, now)
    new, _ = next_plan(facts, now)
    if new is not None:
        planning.publish(connection, new, now)


def _money(connection: sa.Connection, facts: Facts, now: float) -> Money:
    today, yesterday = labelling.day_of(now), labelling.day_of(now - DAY)
    spent = labelling.spend_on(connection, today)
    windows = evaluation.windows(connection, after=now - DAY - HOUR, until=now, segment="*")
    return Money(
        daily_usd=facts.settings.daily_usd,
        left_usd=facts.settings.daily_usd - spent.settled_usd - spent.reserved_usd,
        usd_per_label=planning.usd_per_call(connection, (today, yesterday), CALLS),
        waiting=planning.waiting(connection),
        expected=expected_by_midnight(_good_for(connection, windows, facts), now),
    )


def _good_for(
    connection: sa.Connection, windows: Sequence[WindowSummary], facts: Facts
) -> list[tuple[float, float]]:
    """Return how many samples each window would have been good for at full rates."""
    counts = [
        (window.start, int(version), model, counted)
        for window in windows
        for key, counted in window.strata.items()
        for version, _, model in [key.partition("/")]
    ]
    plans = planning.by_versions(connection, {version for _, version, _, _ in counts})
    extra = facts.settings.requested_rate if facts.wanted else 0.0
    return [
        (start, samples_at_full_rates(plans[version], model, counted, extra))
        for start, version, model, counted in counts
        if version in plans
    ]
