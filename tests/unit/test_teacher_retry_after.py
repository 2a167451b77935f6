"""Reading how long a server wants to be left alone."""

from __future__ import annotations

import pytest

from monitor.teachers.retry_after import retry_after

NOW = 1_000_000_000.0  # Sun, 09 Sep 2001 01:46:40 GMT


@pytest.mark.parametrize(
    ("stated", "seconds", "why"),
    [
        ("1", 1.0, "seconds"),
        (" 9999 ", 9999.0, "many seconds: the caller caps them"),
        ("Sun, 09 Sep 2001 01:47:10 GMT", 30.0, "a date"),
        ("Sun, 09 Sep 2001 01:00:00 GMT", 0.0, "a date that is past"),
        ("Sunday, 09-Sep-01 01:47:10 GMT", 30.0, "the obsolete form of a date"),
        ("", None, "empty"),
        ("soon", None, "garbage"),
        ("-5", None, "a negative number is not in the grammar"),
        ("nan", None, "not a number"),
        ("inf", None, "nor is this"),
        ("1e9", None, "nor this"),
        ("9" * 400, None, "more than the age of anything"),
        ("\u0663", None, "a digit, but not ASCII"),
        ("Sun, 99 Sep 2001 01:47:10 GMT", None, "no such day"),
    ],
)
def test_the_header_is_read_or_left(stated: str, seconds: float | None, why: str) -> None:
    assert retry_after({"retry-after": stated}, NOW) == seconds, why


def test_without_the_header_there_is_no_wish() -> None:
    assert retry_after({}, NOW) is None
