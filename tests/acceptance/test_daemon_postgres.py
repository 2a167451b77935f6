"""`proctord run` with its journal on PostgreSQL: the same files give what they give on SQLite."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from monitor.store import reading
from schemas import tables
from schemas.journal import open_journal, reader
from tests.daemon_rig import FileHouse, pairs
from tests.postgres_rig import Server


@pytest.fixture
def houses(tmp_path: Path, postgres: Server) -> Iterator[list[FileHouse]]:
    """Two houses with the same production, one with its journal in a file, one on PostgreSQL."""
    with postgres.database() as url:
        found = []
        for name, place in (("file", ""), ("server", url)):
            (tmp_path / name).mkdir()
            found.append(FileHouse(tmp_path / name, place))
        yield found
        for house in found:
            house.close()


def found_out(house: FileHouse) -> dict[str, Any]:
    """What stands in a journal that does not hang on how the turns of the loops interleaved."""
    engine = open_journal(house.url)
    judged, sample, label = tables.judged_window.c, tables.sample.c, tables.label
    columns = (judged.segment, judged.model, judged.start, judged.uniform_n, judged.uniform_total)
    drawn = sa.select(sample.ticket_id, sample.state).where(sample.reason == "random")
    labelled = sa.select(label.c.ticket_id, label.c.disagreement).where(label.c.reason == "random")
    with reader(engine).connect() as connection:
        found = {
            "counters": reading.counters(connection) | {"samples": None},  # some were risky
            "drawn": sorted(connection.execute(drawn).all()),
            "labelled": sorted(connection.execute(labelled).all()),
            "judged": sorted(connection.execute(sa.select(*columns)).all()),
            "alerts": sorted(connection.scalars(sa.select(tables.alert.c.name)).all()),
        }
    engine.dispose()
    return found


def settled(house: FileHouse) -> dict[str, Any]:
    """Wait until nothing changes any more."""
    before: dict[str, Any] = {}
    while before != (now := found_out(house)) or {state for _, state in now["drawn"]} != {
        "labelled"
    }:
        before = now
        time.sleep(2.0)  # ten turns of the evaluator
    return now


def test_a_journal_on_postgresql_holds_what_one_in_a_file_does(houses: list[FileHouse]) -> None:
    for house in houses:
        house.write(["a"] * 200)
        house.start()
    for house in houses:
        house.until("the first tickets", pairs(200))
        # after the restart the recording is a longer one, and so another teacher than this
        house.until("a look at the teacher", lambda status: status["teacher"]["name"])
        house.daemons[-1].send_signal(signal.SIGTERM)
    for house in houses:
        assert house.daemons[-1].wait(timeout=25) == 0, house.log()
        house.write(["a", "b"] * 100)
        house.start()
    for house in houses:
        house.until(
            "a page", lambda status: "QualityOutOfBounds of all traffic" in status["firing"]
        )
    file, server = (settled(house) for house in houses)
    assert server["counters"]["tickets"] == server["counters"]["pairs"] == 400
    assert len(server["labelled"]) == len(server["drawn"]) > 150
    assert server == file
    assert [line for line in houses[1].log().splitlines() if "loop_failed" in line] == []
