"""Gaps that somebody accepted: positions move, and the audit says from where to where."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from monitor.store.positions import accept_gaps, positions
from monitor.store.reading import audit
from schemas import tables


@pytest.fixture(autouse=True)
def _read_so_far(engine: sa.Engine) -> None:
    rows = [
        {"partition": "t/0", "shard": 0, "next_offset": 2},
        {"partition": "t/1", "shard": 1, "next_offset": 9},
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(tables.source_position), rows)


def test_a_gap_that_was_accepted_is_gone_on_behind_and_audited(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        moved = accept_gaps(connection, {"t/0": (2, 6)}, actor="jo", reason="too slow", now=5.0)
        assert moved == {"t/0": (2, 6)}
        assert positions(connection) == {"t/0": 6, "t/1": 9}
        [row] = audit(connection)
    assert (row["actor"], row["action"], row["subject"]) == ("jo", "accept-gap", "t/0")
    assert row["reason"] == "too slow (goes on from 6 instead of 2)"


def test_a_position_that_moved_meanwhile_stays(engine: sa.Engine) -> None:
    gaps = {"t/1": (8, 20), "t/2": (0, 5)}
    with engine.begin() as connection:
        assert not accept_gaps(connection, gaps, actor="jo", reason="x", now=5.0)
        assert positions(connection) == {"t/0": 2, "t/1": 9}
        assert not audit(connection)
