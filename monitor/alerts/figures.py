"""Numbers and times as people read them, and texts made safe to print."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

from schemas.alerts import Condition

_STEPS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))


def money(dollars: float) -> str:
    """Return US dollars, to the cent.

    >>> money(4.1)
    '$4.10'
    """
    return f"${dollars:,.2f}"


def duration(seconds: float) -> str:
    """Return a length of time in its largest unit that fits, rounded down.

    >>> [duration(s) for s in (-3, 59, 150, 7300, 200_000)]
    ['0 s', '59 s', '2 min', '2 h', '2 d']
    """
    for length, unit in _STEPS:
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s"


def utc(seconds: float) -> str:
    """Return a moment to the second.

    >>> utc(0.0)
    '1970-01-01 00:00:00 UTC'
    """
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def short(artefact_id: str) -> str:
    """Return enough of a student's name to tell it from all others.

    >>> short("dbf07940f1f783bba9c8cbd5a293af88ef020db6c7e00999df22375d12cfbf35")
    'dbf07940f1f7'
    """
    return artefact_id[:12]


def named(condition: Condition) -> str:
    """Return an alert's name with the traffic that it speaks of, where it speaks of some.

    >>> out = Condition(name="QualityOutOfBounds", severity="page", since=0.0, summary="",
    ...     proctord_does="", you_do="", labels={"lane": "shop", "segment": "channel=mail"})
    >>> named(out)
    'QualityOutOfBounds of channel=mail'
    """
    segment = condition.labels.get("segment", "")
    of = {"": "", "*": " of all traffic"}.get(segment, f" of {plain(segment, 100)}")
    return f"{condition.name}{of}"


def rfc3339(seconds: float) -> str:
    """Return a moment to the millisecond, for machines.

    >>> rfc3339(0.5)
    '1970-01-01T00:00:00.500Z'
    """
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def plain(text: str, limit: int = 1500) -> str:
    r"""Return one line without control or invisible characters, cut at `limit` characters.

    Segment names and failures come from outside: an escape sequence in one of them would
    otherwise reach the terminal of the person on call, and a line break would forge a line.

    >>> plain("mail\x1b[2J\nbilling")
    'mail[2J billing'
    """
    words = " ".join(text.split())
    # Cf holds the bidirectional overrides and zero-width characters, Cs lone surrogates
    kept = "".join(c for c in words if unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co"})
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"
