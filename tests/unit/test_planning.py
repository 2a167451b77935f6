import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.planning import (
    DAY,
    HOUR,
    MOST_STEPS,
    STEP,
    Facts,
    Money,
    SamplingSettings,
    calibration_due,
    expected_by_midnight,
    money_due,
    next_plan,
    samples_at_full_rates,
)
from monitor.sampling import Risk, SamplingPlan

NOON = 20_000.5 * DAY
SETTINGS = SamplingSettings(
    random_rate=0.1, requested_rate=0.4, segments={"channel=mail": 0.2}, active=True
)
RISK = Risk(
    at=NOON - 2 * HOUR,
    labels=400,
    intercept=-2.0,
    slope=-1.0,
    unknown=-2.0,
    edges=(-2.0,),
    levels=(0.05, 0.3),
    spread=0.3,
)


def in_force(**changes: Any) -> SamplingPlan:
    plan = SETTINGS.plan(students={"m1": RISK})
    return msgspec.structs.replace(plan, version=3, at=NOON - HOUR, **changes)


def facts(**changes: Any) -> Facts:
    usual = {"plan": in_force(), "settings": SETTINGS, "champion": "m1", "wanted": False}
    return Facts(**{**usual, **changes})


def money(*, left: float = 10.0, usd: float = 0.01, waiting: int = 0, expected: float) -> Money:
    return Money(
        daily_usd=12.0, left_usd=left, usd_per_label=usd, waiting=waiting, expected=expected
    )


# --- what a new version is published for ---------------------------------------------------


def test_nothing_new_is_published_while_nothing_changed() -> None:
    assert next_plan(facts(money=money(expected=900)), NOON) == (None, "nothing changed")


def test_labels_for_a_retraining_are_asked_for_and_no_longer_asked_for() -> None:
    more, why = next_plan(facts(wanted=True), NOON)
    assert more is not None
    assert (more.requested_rate, why) == (0.4, "a retraining wants labels")
    less, why = next_plan(facts(plan=more), NOON)
    assert less is not None
    assert (less.requested_rate, why) == (0.0, "a retraining no longer wants labels")


def test_other_settings_are_taken_up() -> None:
    other = msgspec.structs.replace(SETTINGS, segments={"channel=mail": 0.5})
    plan, why = next_plan(facts(settings=other), NOON)
    assert plan is not None
    assert plan.segment_rates == {"channel=mail": 0.5}
    assert why == "the settings' rates changed"
    assert plan.students == {"m1": RISK}


def test_another_rate_for_training_holds_while_a_retraining_wants_labels() -> None:
    wanting, _ = next_plan(facts(wanted=True), NOON)
    other = msgspec.structs.replace(SETTINGS, requested_rate=0.8)
    assert next_plan(facts(settings=other), NOON)[0] is None
    plan, why = next_plan(facts(plan=wanting, settings=other, wanted=True), NOON)
    assert plan is not None
    assert (plan.requested_rate, why) == (0.8, "the settings' rate for training changed")


def test_switched_off_all_tickets_are_asked_about_alike() -> None:
    off = msgspec.structs.replace(SETTINGS, active=False)
    plan, why = next_plan(facts(settings=off), NOON)
    assert plan is not None
    assert (plan.students, why) == ({}, "all tickets are asked about alike")
    assert next_plan(facts(settings=off, plan=plan), NOON)[0] is None


def test_a_published_plan_says_why() -> None:
    plan, why = next_plan(facts(wanted=True), NOON)
    assert plan is not None
    assert plan.reason == why


# --- calibration -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "model", "age", "due"),
    [
        (SETTINGS, "m2", 0.0, True),  # a student that nothing is known of
        (SETTINGS, "m1", DAY - 1, False),  # learned within the last day
        (SETTINGS, "m1", DAY, True),  # a day ago
        (SETTINGS, "", 0.0, False),  # nobody knows who serves
        (msgspec.structs.replace(SETTINGS, active=False), "m2", 0.0, False),  # not wanted
    ],
)
def test_a_student_is_calibrated_once_a_day(
    settings: SamplingSettings,
    model: str,
    age: float,
    due: bool,  # noqa: FBT001 - pytest passes it by name
) -> None:
    assert calibration_due(in_force(), settings, model, RISK.at + age) is due


# --- money -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "waiting", "left", "steps"),
    [
        (1000, 0, 10.0, 0),  # to the cent
        (1001, 0, 10.0, 1),  # a little too much
        (1414, 0, 10.0, 1),
        (2000, 0, 10.0, 2),  # twice: half of the rates
        (0, 0, 0.0, 0),  # nobody asks anything
        (1000, 500, 10.0, 2),  # what waits already is paid for first
        (1000, 1000, 10.0, MOST_STEPS),  # and leaves nothing
        (1, 0, -3.0, MOST_STEPS),  # the day's money is spent
        (1e9, 0, 10.0, MOST_STEPS),  # never less than a sixteenth
    ],
)
def test_rates_are_lowered_as_far_as_money_needs_it(
    expected: float, waiting: int, left: float, steps: int
) -> None:
    plan, _ = next_plan(facts(money=money(expected=expected, waiting=waiting, left=left)), NOON)
    found = in_force() if plan is None else plan
    assert found.thinned == steps
    assert found.random_rate == pytest.approx(0.1 * math.sqrt(0.5) ** steps)
    assert found.segment_rates["channel=mail"] == pytest.approx(2 * found.random_rate)


def test_no_rate_falls_below_a_sixteenth_of_the_settings() -> None:
    assert pytest.approx(1 / 16) == STEP**MOST_STEPS


def test_a_teacher_that_costs_nothing_is_asked_as_configured() -> None:
    assert next_plan(facts(money=money(expected=1e9, usd=0.0)), NOON)[0] is None


def lowered(*, wanted: bool = False, daily_usd: float = 12.0) -> SamplingPlan:
    plan = SETTINGS.plan(wanted=wanted, thinned=3, students={"m1": RISK})
    return msgspec.structs.replace(plan, at=NOON - HOUR, daily_usd=daily_usd)


def test_within_a_day_rates_only_fall() -> None:
    low, plenty = lowered(), money(expected=1)
    assert next_plan(facts(plan=low, money=plenty), NOON)[0] is None
    tomorrow, why = next_plan(facts(plan=low, money=plenty), NOON + DAY)
    assert tomorrow is not None
    assert (tomorrow.thinned, tomorrow.random_rate) == (0, 0.1)
    assert why == "the money reaches further: rates at 100 % of the settings"


def test_rates_may_rise_when_a_retraining_has_its_labels() -> None:
    plan, why = next_plan(facts(plan=lowered(wanted=True), money=money(expected=1)), NOON)
    assert plan is not None
    assert plan.thinned == 0
    assert why.startswith("a retraining no longer wants labels; the money reaches further")


def test_rates_may_rise_when_a_person_allows_more_money() -> None:
    plan, _ = next_plan(facts(plan=lowered(daily_usd=6.0), money=money(expected=1)), NOON)
    assert plan is not None
    assert (plan.thinned, plan.daily_usd) == (0, 12.0)


def test_the_reason_names_the_money() -> None:
    _, why = next_plan(facts(money=money(expected=2000)), NOON)
    assert why == (
        "$20.00 would be asked for by midnight and $10.00 are left: rates at 50 % of the settings"
    )


def test_what_the_money_allowed_stays_until_it_is_looked_at_again() -> None:
    low = SETTINGS.plan(thinned=3, students={"m1": RISK})
    plan, _ = next_plan(facts(plan=low, wanted=True), NOON)
    assert plan is not None
    assert (plan.thinned, plan.requested_rate) == (3, 0.4 * STEP**3)


@given(
    st.floats(0, 1e6), st.floats(-10, 1e4), st.floats(0, 1.0), st.integers(0, 1000), st.booleans()
)
def test_what_is_asked_fits_the_money_or_the_rates_are_at_their_lowest(
    expected: float,
    left: float,
    usd: float,
    waiting: int,
    wanted: bool,  # noqa: FBT001 - hypothesis passes it by place
) -> None:
    sums = money(left=left, usd=usd, waiting=waiting, expected=expected)
    plan, _ = next_plan(facts(money=sums, wanted=wanted), NOON)
    thinned = 0 if plan is None else plan.thinned
    cost = (waiting + expected * STEP**thinned) * usd
    assert thinned == MOST_STEPS or cost <= left + 1e-6 * (1 + abs(left)) or expected * usd == 0


@pytest.mark.parametrize(
    ("looked_at", "wanted", "due"),
    [
        (NOON - 1, False, False),
        (NOON - 601, False, True),  # ten minutes ago
        (NOON - DAY / 2 - 1, False, True),  # yesterday
        (NOON - 1, True, True),  # more is wanted since
    ],
)
def test_money_is_looked_at_now_and_then_and_when_more_is_wanted(
    looked_at: float,
    wanted: bool,  # noqa: FBT001 - pytest passes it by name
    due: bool,  # noqa: FBT001
) -> None:
    assert money_due(facts(wanted=wanted), looked_at, NOON) is due


def test_a_day_that_began_a_second_ago_is_looked_at_anew() -> None:
    assert money_due(facts(), NOON + DAY / 2 - 1, NOON + DAY / 2)


# --- how much is to come -----------------------------------------------------------------------

EVEN = [(NOON - DAY + HOUR * n, 10.0) for n in range(-1, 24)]


def test_as_many_samples_are_expected_as_yesterday_from_this_hour_on() -> None:
    evening = [(start, 30.0 if start >= NOON - DAY + 6 * HOUR else 10.0) for start, _ in EVEN]
    quiet = [(start, 10.0 if start >= NOON - DAY / 2 else n) for start, n in evening]
    assert expected_by_midnight(quiet, NOON) == 6 * 10.0 + 6 * 30.0


def test_a_busier_hour_than_yesterday_raises_what_is_expected() -> None:
    busy = [(start, 25.0 if start >= NOON - HOUR else n) for start, n in EVEN]
    assert expected_by_midnight(busy, NOON) == 2.5 * 12 * 10.0


def test_a_quieter_hour_than_yesterday_promises_no_quiet_day() -> None:
    assert expected_by_midnight(EVEN[:-1], NOON) == 12 * 10.0


def test_without_a_yesterday_the_last_hours_pace_is_what_is_known() -> None:
    assert expected_by_midnight([(NOON - HOUR, 6.0), (NOON - 600.0, 4.0)], NOON) == 12 * 10.0
    assert expected_by_midnight([(NOON - 600.0, 4.0)], NOON) == 12 * 24.0
    assert expected_by_midnight([], NOON) == 0.0


def test_pairs_of_a_lowered_plan_count_as_if_it_had_not_been() -> None:
    full, low = (SETTINGS.plan(thinned=n, students={"m1": RISK}) for n in (0, 4))
    counted = {0: 100, 1: 10, 2: 50}
    pairs = sum(n * full.strata("m1")[stratum].probability for stratum, n in counted.items())
    for plan in (full, low):
        assert samples_at_full_rates(plan, "m1", counted, 0.0) == pytest.approx(pairs)
    wanted = samples_at_full_rates(full, "m1", counted, 0.4)
    assert wanted == pytest.approx(pairs + 0.4 * (160 - pairs))
