"""Which labelled rows a student learns from: all recent ones, and a capped, balanced archive."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

from retrain.order import LabelledRow

#: rows of each class that the archive keeps where it has them, however rare the class
CLASS_FLOOR = 50


def keyed(seed: int, ticket_id: str) -> int:
    """Return a number that is random over tickets but the same at each call: a keyed draw."""
    raw = hashlib.blake2b(f"{seed}:{ticket_id}".encode(), digest_size=8).digest()
    return int.from_bytes(raw, "big")


def usable(rows: Sequence[LabelledRow]) -> list[LabelledRow]:
    """Return the rows that may be learned from, oldest first, one for each ticket.

    Planted tickets are left out: their answers are known, so they say nothing about traffic.
    When a ticket appears twice its last line counts.
    """
    last = {row.ticket_id: row for row in rows if row.reason != "sentinel"}
    return sorted(last.values(), key=lambda row: (row.at, row.ticket_id))


def select(
    rows: Sequence[LabelledRow], *, recent_since: float, archive_rows: int, seed: int
) -> tuple[list[LabelledRow], list[LabelledRow]]:
    """Return the archive and the recent rows, each oldest first.

    The archive is cut to `archive_rows` by a keyed draw that spares `CLASS_FLOOR` rows of each
    class first: rare classes are what a student forgets.
    """
    clean = usable(rows)
    recent = [row for row in clean if row.at >= recent_since]
    archive = [row for row in clean if row.at < recent_since]
    return _capped(archive, archive_rows, seed), recent


def _capped(archive: list[LabelledRow], limit: int, seed: int) -> list[LabelledRow]:
    drawn = sorted(archive, key=lambda row: keyed(seed, row.ticket_id))
    seen: Counter[str] = Counter()
    floor: list[LabelledRow] = []
    rest: list[LabelledRow] = []
    for row in drawn:
        seen[row.output] += 1
        (floor if seen[row.output] <= CLASS_FLOOR else rest).append(row)
    kept = (floor + rest)[: max(limit, len(floor))]
    return sorted(kept, key=lambda row: (row.at, row.ticket_id))
