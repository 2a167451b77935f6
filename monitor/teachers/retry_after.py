"""How long a server asked us to wait."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait by the `Retry-After` header (RFC 9110, 10.2.3), never below 0.

    None when there is none, or none that can be read. The caller caps it: a server may ask for
    any wait at all.

    Parameters
    ----------
    headers: with lower-case names, or case-insensitive.
    now: seconds UTC, for the header's date form.

    >>> retry_after({"retry-after": "3"}, now=0.0)
    3.0
    >>> retry_after({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, now=50.0)
    10.0
    >>> retry_after({"retry-after": "soon"}, now=0.0) is None
    True
    """
    stated = headers.get("retry-after", "").strip()
    # digits alone are seconds; ten of them are already three centuries
    if stated.isascii() and stated.isdigit() and len(stated) <= 10:
        return float(stated)
    try:
        return max(0.0, parsedate_to_datetime(stated).timestamp() - now)
    except (ValueError, TypeError, OverflowError, OSError):
        return None
