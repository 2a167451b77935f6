"""How figures are written in sentences for people, in one place so that they read alike."""

from __future__ import annotations

from schemas.signals import Interval


def number(value: int) -> str:
    """Write a count: `12,345`."""
    return f"{value:,}"


def percent(share: float) -> str:
    """Write a share in per cent.

    >>> percent(0.1825)
    '18.2 %'
    """
    return f"{100 * share:.1f} %"


def span(interval: Interval) -> str:
    """Write the bounds of an interval of 95 %: `95 % interval 14.1 to 23.0 %`."""
    return f"95 % interval {100 * interval.lower:.1f} to {100 * interval.upper:.1f} %"


def bounds(interval: Interval, looks: str = "") -> str:
    """Write an estimate with what it lies between, and for how many looks that holds.

    >>> bounds(Interval(0.182, 0.141, 0.23), "one look")
    '18.2 % (95 % interval 14.1 to 23.0 %, one look)'
    """
    held = f", {looks}" if looks else ""
    return f"{percent(interval.estimate)} ({span(interval)}{held})"
