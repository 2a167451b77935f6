"""When a notification that did not arrive is tried again."""

from __future__ import annotations

from schemas.errors import DeliveryError

#: seconds between attempts: doubling from the first, then even
FIRST_WAIT, LONGEST_WAIT = 10.0, 1800.0
#: a notification that could not be delivered for so long is old news, seconds
GIVE_UP_AFTER = 86400.0


def next_attempt(attempts: int, now: float, error: DeliveryError) -> float | None:
    """Return when to try again (seconds UTC), or None to give up.

    `attempts` have been made, the last one just now. The waits double from 10 s to 30 minutes
    and add up to a day at most; time that the daemon was down does not count against them. A
    receiver's Retry-After is kept to, but for no longer than 30 minutes: it may not silence us.

    >>> next_attempt(1, 100.0, DeliveryError("503", retryable=True))
    110.0
    >>> next_attempt(1, 100.0, DeliveryError("400", retryable=False)) is None
    True
    """
    waits = [_wait(attempt) for attempt in range(1, attempts + 1)]
    if not error.retryable or sum(waits) > GIVE_UP_AFTER:
        return None
    asked = min(error.retry_after or 0.0, LONGEST_WAIT)
    return now + max(waits[-1], asked)


def _wait(attempt: int) -> float:
    # the exponent is capped: 2.0 ** 1024 is an OverflowError
    return float(min(FIRST_WAIT * 2.0 ** min(attempt - 1, 16), LONGEST_WAIT))
