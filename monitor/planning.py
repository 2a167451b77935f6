"""When to ask the teacher more, when less, and about which tickets: the next version of the plan.

Pure: facts and `now` in, the next `SamplingPlan` out, with the reason. A plan is fixed before the
tickets that it is used on, so that whatever it depends on leaves the estimates true. That is also
how money is saved: by drawing fewer tickets from the next block on, never by dropping one that
was drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from monitor.estimation.calibration import MIN_LABELS, Outcome, fit
from monitor.sampling import Risk, SamplingPlan

DAY: Final = 86400.0
HOUR: Final = 3600.0

#: a student is calibrated anew after this, seconds, on the newest of its labels
REFIT_SECONDS: Final = DAY
REFIT_LABELS: Final = 3000
#: students whose calibration is kept: what was rolled back to need not begin anew
STUDENTS: Final = 4

#: rates are lowered in steps of this factor, and by no more steps than this: to 1/16. Below, too
#: few labels come to notice anything; the daily budget still holds, and samples wait for the next
STEP: Final = math.sqrt(0.5)
MOST_STEPS: Final = 8

#: how often the money is looked at, seconds
MONEY_SECONDS: Final = 600.0
#: calls to the teacher without which nobody knows what one costs
CALLS: Final = 20


class SamplingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How much may be asked, as it was configured: the rates while money lasts."""

    random_rate: float = 0.05
    requested_rate: float = 0.25
    segments: dict[str, float] = {}
    #: whether tickets on which the student is likely to be wrong are asked about more often
    active: bool = True
    #: what the teacher may cost a day, US dollars; infinite: rates are never lowered
    daily_usd: float = math.inf

    def plan(
        self, *, wanted: bool = False, thinned: int = 0, students: dict[str, Risk] | None = None
    ) -> SamplingPlan:
        """Return the plan of these settings.

        Parameters
        ----------
        wanted: whether a retraining wants labels.
        thinned: steps by which the rates are lowered.
        """
        factor = STEP**thinned
        return SamplingPlan(
            random_rate=self.random_rate * factor,
            segment_rates={name: rate * factor for name, rate in self.segments.items()},
            requested_rate=self.requested_rate * factor if wanted else 0.0,
            thinned=thinned,
            students=students or {},
        )


class Money(NamedTuple):
    """What is left for the rest of the UTC day, and what it would be asked for."""

    #: of a whole day, and of this one
    daily_usd: float
    left_usd: float
    usd_per_label: float
    #: samples that were drawn and not asked about yet
    waiting: int
    #: samples that would be drawn until midnight if no rate were lowered
    expected: float


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the next plan depends on."""

    #: the plan that holds
    plan: SamplingPlan
    settings: SamplingSettings
    #: the student that serves; "" when nobody knows
    champion: str
    #: whether a retraining wants labels
    wanted: bool
    #: labels to calibrate the champion on; empty: it is not due, or there are too few
    outcomes: Sequence[Outcome] = ()
    #: None: it was looked at a moment ago
    money: Money | None = None


def next_plan(facts: Facts, now: float) -> tuple[SamplingPlan | None, str]:
    """Return the plan that shall hold from now on, and why; None: the one that holds.

    >>> plan = SamplingSettings().plan()
    >>> facts = Facts(plan=plan, settings=SamplingSettings(), champion="m1", wanted=True)
    >>> new, reason = next_plan(facts, now=0.0)
    >>> new.random_rate, new.requested_rate, reason
    (0.05, 0.25, 'a retraining wants labels')
    >>> next_plan(msgspec.structs.replace(facts, plan=new), now=2.0)
    (None, 'nothing changed')
    """
    students, calibrated = _students(facts, now)
    thinned, saving = _thinned(facts, now)
    new = facts.settings.plan(wanted=facts.wanted, thinned=thinned, students=students)
    reasons = [calibrated, *_changes(facts.plan, new, facts.settings), saving]
    reason = "; ".join(words for words in reasons if words)
    if not reason:
        return None, "nothing changed"
    daily_usd = facts.money.daily_usd if facts.money else facts.plan.daily_usd
    return msgspec.structs.replace(new, reason=reason, daily_usd=daily_usd), reason


def calibration_due(plan: SamplingPlan, settings: SamplingSettings, model: str, now: float) -> bool:
    """Say whether the labels of this student shall be learned from now."""
    risk = plan.students.get(model)
    return settings.active and bool(model) and (risk is None or now - risk.at >= REFIT_SECONDS)


def money_due(facts: Facts, looked_at: float, now: float) -> bool:
    """Say whether the money shall be looked at: from time to time, and when more is wanted."""
    if day_start(looked_at) != day_start(now) or now - looked_at >= MONEY_SECONDS:
        return True
    return _demand_changed(facts)


def day_start(now: float) -> float:
    """Return the beginning of the UTC day."""
    return now // DAY * DAY


def expected_by_midnight(windows: Iterable[tuple[float, float]], now: float) -> float:
    """Return the samples to expect until the UTC day ends.

    Parameters
    ----------
    windows: (start, samples that it was good for) of the last 25 hours.

    As many as yesterday from this hour on, times how much busier the last hour was than the same
    hour yesterday; never less than yesterday, because a quiet hour may be an outage. Without a
    yesterday: at the pace of the last hour.

    >>> now = 1.5 * DAY
    >>> expected_by_midnight([(now - DAY + HOUR * n, 10.0) for n in range(25)], now)
    120.0
    >>> expected_by_midnight([(now - 1800.0, 10.0)], now)
    240.0
    """
    known = [(start, samples) for start, samples in windows if start < now]
    midnight = day_start(now) + DAY

    def between(since: float, until: float) -> float:
        return sum(samples for start, samples in known if since <= start < until)

    recent = between(now - HOUR, now)
    same = between(now - HOUR - DAY, now - DAY)
    if same > 0:
        return between(now - DAY, midnight - DAY) * max(1.0, recent / same)
    first = min((start for start, _ in known), default=now)
    return recent / max(min(HOUR, now - first), 1.0) * (midnight - now)


def samples_at_full_rates(
    plan: SamplingPlan, model: str, counted: Mapping[int, int], requested_rate: float
) -> float:
    """Return the samples that these pairs would be good for if no rate were lowered.

    Parameters
    ----------
    plan, counted: pairs by stratum under a plan, whatever it was lowered by.
    requested_rate: of the extra draw.
    """
    strata, factor = plan.strata(model), STEP**plan.thinned
    total = 0.0
    for stratum, pairs in counted.items():
        drawn = min(1.0, strata[stratum].probability / factor)
        total += pairs * (drawn + (1 - drawn) * requested_rate)
    return total


def _students(facts: Facts, now: float) -> tuple[dict[str, Risk], str]:
    known = facts.plan.students
    if not facts.settings.active:
        return {}, "all tickets are asked about alike" if known else ""
    if len(facts.outcomes) < MIN_LABELS:
        return known, ""
    risk = fit(facts.outcomes, now)
    others = {model: other for model, other in known.items() if model != facts.champion}
    newest = sorted(others, key=lambda model: (others[model].at, model))[1 - STUDENTS :]
    kept = {model: others[model] for model in newest}
    return {**kept, facts.champion: risk}, f"calibrated on {risk.labels:,} labels"


def _thinned(facts: Facts, now: float) -> tuple[int, str]:
    """Return the steps by which rates are lowered: within a day they only grow.

    Unless what is wanted changed, or the money of a day.
    """
    plan, money = facts.plan, facts.money
    if money is None:
        return plan.thinned, ""
    stands = day_start(plan.at) == day_start(now) and plan.daily_usd == money.daily_usd
    kept = plan.thinned if stands and not _demand_changed(facts) else 0
    steps = max(_steps(money), kept)
    if steps == plan.thinned:
        return steps, ""
    return steps, _words(money, steps, plan.thinned)


def _steps(money: Money) -> int:
    """Return how far rates must be lowered for the rest of the day to be paid for."""
    wanted_usd = money.expected * money.usd_per_label
    free_usd = money.left_usd - money.waiting * money.usd_per_label
    if wanted_usd <= max(free_usd, 0.0):
        return 0
    if free_usd <= 0:
        return MOST_STEPS
    # a hair less than a whole step is that step: the quotient of two sums is not exact
    steps = math.ceil(math.log(wanted_usd / free_usd) / -math.log(STEP) - 1e-9)
    return min(steps, MOST_STEPS)


def _words(money: Money, steps: int, before: int) -> str:
    share = f"{100 * STEP**steps:.0f} %"
    if steps < before:
        return f"the money reaches further: rates at {share} of the settings"
    wanted = (money.expected + money.waiting) * money.usd_per_label
    return (
        f"${wanted:.2f} would be asked for by midnight and ${money.left_usd:.2f} are left: "
        f"rates at {share} of the settings"
    )


def _demand_changed(facts: Facts) -> bool:
    same = facts.settings.plan(wanted=facts.wanted, thinned=facts.plan.thinned)
    return _rates(same) != _rates(facts.plan)


def _rates(plan: SamplingPlan) -> tuple[float, dict[str, float], float]:
    return plan.random_rate, plan.segment_rates, plan.requested_rate


def _changes(old: SamplingPlan, new: SamplingPlan, settings: SamplingSettings) -> list[str]:
    """Say what changed in the rates but for money."""
    words = []
    before = settings.plan(thinned=old.thinned)
    if (old.random_rate, old.segment_rates) != (before.random_rate, before.segment_rates):
        words.append("the settings' rates changed")
    if bool(old.requested_rate) != bool(new.requested_rate):
        wants = "wants" if new.requested_rate else "no longer wants"
        words.append(f"a retraining {wants} labels")
    elif old.requested_rate != new.requested_rate and old.thinned == new.thinned:
        words.append("the settings' rate for training changed")
    return words
