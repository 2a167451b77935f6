"""Embedding on a real journal: what is counted, once, and what is told of it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
import sqlalchemy as sa
from numpy.typing import NDArray

from monitor.drift import DriftSettings, EmbedderSettings
from monitor.drift.topics import EmbeddedSlice
from monitor.loops import drifting
from monitor.loops.embed import TO_FIT, EmbedLoop, EmbedSettings
from monitor.loops.situation import Serving
from monitor.store import embedding, labelling
from schemas import tables
from schemas.errors import DependencyDownError, FencedError
from schemas.samples import Sample
from schemas.signals import Signal
from schemas.windows import WindowSummary
from tests.factories import sample
from tests.hashing_embedder import HashingEmbedder

HOUR = 3600.0
SETTINGS = DriftSettings(reference=60, embedder=EmbedderSettings(model="somewhere", texts=40))
#: hours whose tickets make the map, 100 an hour, and hours in which customers ask as ever
MAKE, CLEAN = TO_FIT // 100, 75
NOW = 1e9
OLD = ("where is my parcel", "i want a refund", "how do i change my address", "the shoe is small")


def fill(engine: sa.Engine, hours: range, texts: Sequence[str] = OLD, drawn: int = 100) -> None:
    """Windows of each hour, and tickets of the uniform draw with these texts in turn."""
    rows = [WindowSummary(segment="*", start=h * HOUR, length=HOUR, pairs=2000) for h in hours]
    rng = np.random.default_rng(hours.start)
    with engine.begin() as connection:
        connection.execute(
            sa.insert(tables.window),
            [
                {"segment": "*", "start": w.start, "shard": 0, "body": msgspec.json.encode(w)}
                for w in rows
            ],
        )
        found = [
            sample(
                f"{hour}-{n}",
                at=hour * HOUR + n,
                window=hour * HOUR,
                text=str(rng.choice(texts)),
                inclusion_probability=1.0,
            )
            for hour in hours
            for n in range(drawn)
        ]
        labelling.add_samples(connection, found, 0.0)
        set_watermark(connection, (hours.stop + 2) * HOUR)


def set_watermark(connection: sa.Connection, at: float) -> None:
    connection.execute(sa.delete(tables.shard))
    row = {"shard": 0, "owner": "o", "epoch": 1, "watermark": at, "counters": {}, "memory": b""}
    connection.execute(sa.insert(tables.shard).values(**row, updated_at=NOW))


def loop(
    engine: sa.Engine,
    embedder: HashingEmbedder | None = None,
    *,
    owner: str = "a",
    settings: DriftSettings = SETTINGS,
) -> EmbedLoop:
    assert settings.embedder is not None
    return EmbedLoop(
        engine,
        embedder or HashingEmbedder(),
        EmbedSettings(owner=owner, drift=settings, texts=settings.embedder.texts, salt="k"),
    )


def run(of: EmbedLoop, now: float = NOW) -> int:
    """Let the loop do all that is due; return how many turns that took."""
    turns = 0
    while of.once(now):
        turns += 1
    return turns


def counted(engine: sa.Engine) -> list[EmbeddedSlice]:
    with engine.begin() as connection:
        return embedding.slices(connection, topic_map="", since=0.0, limit=10**6)


def watch(engine: sa.Engine, until: float = -np.inf) -> list[Signal]:
    """Let the drift watch read what there is; no window of it is judged by default."""
    found: list[Signal] = []
    for _ in range(10):
        with engine.begin() as connection:
            found += drifting.watch(
                connection,
                until=until,
                champion=Serving("m1", 0.0),
                settings=SETTINGS,
                contract="c1",
                now=NOW,
            )
    return found


def test_the_first_tickets_make_the_map_and_the_others_are_counted_by_slice(
    engine: sa.Engine,
) -> None:
    fill(engine, range(MAKE + 5))
    embedder = HashingEmbedder()
    run(loop(engine, embedder))
    assert [one.start / HOUR for one in counted(engine)] == [MAKE + n for n in range(5)]
    for one in counted(engine):
        assert [reading.n for reading in one.readings.values()] == [40, 40]
    assert len(embedder.texts) == TO_FIT + 5 * 40


def test_a_crash_at_any_moment_repeats_a_slice_and_counts_none_twice(engine: sa.Engine) -> None:
    class Broken(HashingEmbedder):
        def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            self.texts.append("a call")
            if self.texts.count("a call") % 23 == 0:
                raise DependencyDownError("the embedder failed")
            return super().embed(texts)

    fill(engine, range(MAKE + 8))
    broken, crashes = Broken("hashing"), 0
    process = loop(engine, broken)
    for _ in range(100):
        try:
            process.once(NOW)
        except DependencyDownError:
            process, crashes = loop(engine, broken), crashes + 1
    assert crashes > 1
    found = counted(engine)
    assert [one.start / HOUR for one in found] == [MAKE + n for n in range(8)]
    assert {one.readings["topics"].n for one in found} == {40}


def test_a_process_that_stops_leaves_the_slice_for_the_next_start(engine: sa.Engine) -> None:
    fill(engine, range(MAKE + 3))
    stopped = loop(engine)
    for _ in range(MAKE + 5):
        stopped.once(NOW)
    assert counted(engine) == []
    run(loop(engine))
    assert len(counted(engine)) == 3


def test_another_embedder_makes_a_map_of_its_own_and_counts_anew(engine: sa.Engine) -> None:
    fill(engine, range(MAKE + 30))
    run(loop(engine))
    watch(engine)
    before = counted(engine)
    run(loop(engine, HashingEmbedder("another")))
    after = counted(engine)
    assert [one.start for one in after] == [one.start for one in before]
    assert {one.topic_map for one in after}.isdisjoint(one.topic_map for one in before)
    watch(engine)
    with engine.begin() as connection:
        report = drifting.drifting.report(connection)
    assert report is not None
    assert report.learning["topics"] == 60 - 30


def test_tickets_of_a_new_kind_are_told_by_example(engine: sa.Engine) -> None:
    fill(engine, range(MAKE + CLEAN))
    run(loop(engine))
    assert watch(engine) == []
    more_refunds = (*OLD, *[OLD[1]] * 4)
    fill(engine, range(MAKE + CLEAN, MAKE + CLEAN + 10), more_refunds)
    run(loop(engine))
    told = next(one for one in watch(engine) if one.metric == "topics")
    assert (told.detector, told.severity, told.contract) == ("drift", "warn", "c1")
    assert told.sentence.startswith("drift of topics: tickets like “i want a refund” 2")
    assert told.at >= (MAKE + CLEAN) * HOUR


def test_nothing_waits_for_a_slow_embedder_and_nothing_is_lost(engine: sa.Engine) -> None:
    fill(engine, range(MAKE + CLEAN))
    fill(engine, range(MAKE + CLEAN, MAKE + CLEAN + 10), ["the parcel locker is full"])
    watch(engine, until=(MAKE + CLEAN + 9) * HOUR)  # all windows were judged
    run(loop(engine))
    assert {one.metric for one in watch(engine)} >= {"novelty"}


def test_two_processes_take_turns_by_a_lease(engine: sa.Engine) -> None:
    fill(engine, range(MAKE + 3))
    assert loop(engine, owner="a").once(NOW)
    assert not loop(engine, owner="b").once(NOW + 1)
    assert loop(engine, owner="b").once(NOW + 16)


def test_a_process_that_was_replaced_while_it_embedded_writes_nothing(engine: sa.Engine) -> None:
    class Slow(HashingEmbedder):
        def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            other.once(NOW + 16)
            return super().embed(texts)

    fill(engine, range(MAKE + 3))
    other = loop(engine, owner="b")
    slow = loop(engine, Slow("hashing"), owner="a")
    with pytest.raises(FencedError):
        slow.once(NOW)
    # back in the lead, it begins the slice that is due then
    run(other, NOW + 17)
    assert not slow.once(NOW + 40)
    assert len(counted(engine)) == 3


def test_old_slices_are_deleted(engine: sa.Engine) -> None:
    fill(engine, range(MAKE + 2))
    run(loop(engine))
    assert len(counted(engine)) == 2
    later = MAKE + 2 * (SETTINGS.reference + 1) + 5
    fill(engine, range(later, later + 3))
    run(loop(engine))
    assert [one.start / HOUR for one in counted(engine)] == [later, later + 1, later + 2]


def test_until_there_are_texts_enough_nothing_is_embedded(engine: sa.Engine) -> None:
    fill(engine, range(20), drawn=3)
    embedder = HashingEmbedder()
    assert run(loop(engine, embedder)) == 20
    assert embedder.texts == []


def test_only_the_uniform_draw_is_embedded(engine: sa.Engine) -> None:
    fill(engine, range(MAKE + 2))
    dear = [
        Sample(
            **{
                **msgspec.structs.asdict(sample(f"risky-{n}", at=1.0)),
                "reason": "risky",
                "window": MAKE * HOUR,
                "text": "a dear ticket",
            }
        )
        for n in range(50)
    ]
    with engine.begin() as connection:
        labelling.add_samples(connection, dear, 0.0)
    embedder = HashingEmbedder()
    run(loop(engine, embedder))
    assert len(counted(engine)) == 2
    assert "a dear ticket" not in embedder.texts
