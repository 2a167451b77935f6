"""When a notification is tried again."""

from __future__ import annotations

import itertools

from monitor.alerts.retry import GIVE_UP_AFTER, LONGEST_WAIT, next_attempt
from schemas.errors import DeliveryError

BUSY = DeliveryError("503", retryable=True)


def times(error: DeliveryError = BUSY) -> list[float]:
    """When the attempts after the first one are made, if all fail as soon as they are."""
    now, found = 0.0, []
    for attempts in itertools.count(1):
        later = next_attempt(attempts, now, error)
        if later is None:
            return found
        found.append(now := later)
    raise AssertionError


def test_the_first_waits_double() -> None:
    assert times()[:5] == [10.0, 30.0, 70.0, 150.0, 310.0]


def test_later_waits_are_even_and_it_is_given_up_within_a_day() -> None:
    made = times()
    waits = {b - a for a, b in itertools.pairwise(made[10:])}
    assert waits == {LONGEST_WAIT}
    assert GIVE_UP_AFTER - LONGEST_WAIT < made[-1] <= GIVE_UP_AFTER


def test_what_trying_again_cannot_help_is_given_up_at_once() -> None:
    assert times(DeliveryError("400", retryable=False)) == []


def test_a_retry_after_is_kept_to() -> None:
    error = DeliveryError("429", retryable=True, retry_after=120.0)
    assert next_attempt(1, 5.0, error) == 125.0


def test_a_retry_after_shortens_nothing() -> None:
    error = DeliveryError("429", retryable=True, retry_after=1.0)
    assert next_attempt(4, 0.0, error) == 80.0


def test_a_receiver_cannot_silence_us_for_long() -> None:
    error = DeliveryError("429", retryable=True, retry_after=1e9)
    assert next_attempt(1, 0.0, error) == LONGEST_WAIT


def test_a_count_of_attempts_that_is_absurd_is_given_up() -> None:
    assert next_attempt(5000, 0.0, BUSY) is None
