"""Interleaver: streams side by side, whatever the broker sends first."""

from __future__ import annotations

import pytest

from monitor.sources import Record
from monitor.sources.interleave import PATIENCE, Interleaver
from monitor.sources.memory import record
from schemas.events import Stream

TICKETS, ANSWERS = "tickets/0", "answers/0"


def some(stream: Stream, first: int, count: int, shard: int = 0) -> list[Record]:
    return [record(stream, n, b"", shard=shard) for n in range(first, first + count)]


def counted(found: list[Record]) -> dict[str, int]:
    return {
        name: sum(one.partition == name for one in found)
        for name in sorted({one.partition for one in found})
    }


def test_over_a_long_backlog_no_stream_runs_ahead() -> None:
    """Each fetch brings four times as many answers, which are small, as tickets."""
    streams = Interleaver()
    size = 4000
    fetched = {TICKETS: 0, ANSWERS: 0}
    read = {TICKETS: 0, ANSWERS: 0}
    while sum(read.values()) < 2 * size:
        for name, chunk in ((TICKETS, 100), (ANSWERS, 400)):
            if streams.held(name) < 500:
                new = some(name.split("/")[0], fetched[name], min(chunk, size - fetched[name]))
                streams.add(name, new, now=0.0)
                fetched[name] += len(new)
        left = {name: size - count for name, count in fetched.items()}
        for one in streams.take([left], limit=1000, now=0.0):
            assert one.offset == read[one.partition], "in order within a partition"
            read[one.partition] += 1
        assert abs(read[TICKETS] - read[ANSWERS]) <= 50


def test_all_of_it_goes_when_nothing_is_left_to_come() -> None:
    streams = Interleaver()
    streams.add(TICKETS, some("tickets", 0, 7), now=0.0)
    streams.add(ANSWERS, some("answers", 0, 3), now=0.0)
    found = streams.take([{TICKETS: 0, ANSWERS: 0, "feedback/0": 0}], limit=100, now=0.0)
    assert counted(found) == {ANSWERS: 3, TICKETS: 7}
    assert streams.take([{TICKETS: 0, ANSWERS: 0}], limit=100, now=0.0) == []


def test_no_more_goes_than_the_limit_and_one_of_each_partition() -> None:
    streams = Interleaver()
    streams.add(TICKETS, some("tickets", 0, 1000), now=0.0)
    streams.add(ANSWERS, some("answers", 0, 1000), now=0.0)
    found = streams.take([{TICKETS: 5000, ANSWERS: 5000}], limit=100, now=0.0)
    assert counted(found) == {ANSWERS: 50, TICKETS: 50}


@pytest.mark.parametrize(
    ("prose", "left"),
    [
        ("its next records are at the broker", 10),
        ("nobody knows yet whether there are any", None),
    ],
)
def test_a_partition_whose_records_are_due_is_waited_for_but_not_for_ever(
    prose: str, left: int | None
) -> None:
    streams = Interleaver()
    streams.add(TICKETS, some("tickets", 0, 5), now=0.0)
    lefts = [{TICKETS: 5, ANSWERS: left}]
    assert not streams.take(lefts, limit=100, now=0.0), prose
    assert not streams.take(lefts, limit=100, now=PATIENCE - 0.1), prose
    assert streams.take(lefts, limit=100, now=PATIENCE), prose


def test_the_wait_begins_anew_with_each_record_that_came() -> None:
    streams = Interleaver()
    lefts = [{TICKETS: 5, ANSWERS: 5}]
    streams.add(TICKETS, some("tickets", 0, 5), now=0.0)
    streams.add(ANSWERS, some("answers", 0, 1), now=0.0)
    assert counted(streams.take(lefts, limit=100, now=0.5))[ANSWERS] == 1
    assert not streams.take(lefts, limit=100, now=0.5 + PATIENCE - 0.25)
    assert streams.take(lefts, limit=100, now=0.5 + PATIENCE)


def test_a_shard_waits_for_its_own_partitions_only() -> None:
    streams = Interleaver()
    streams.add(TICKETS, some("tickets", 0, 5), now=0.0)
    streams.add("tickets/1", some("tickets", 0, 5, shard=1), now=0.0)
    lefts = [{TICKETS: 0, ANSWERS: 10}, {"tickets/1": 0, "answers/1": 0}]
    assert counted(streams.take(lefts, limit=100, now=0.0)) == {"tickets/1": 5}


def test_what_is_dropped_is_forgotten() -> None:
    streams = Interleaver()
    streams.add(TICKETS, some("tickets", 0, 5), now=0.0)
    streams.drop([TICKETS, ANSWERS])
    assert streams.held(TICKETS) == 0
    assert not streams.take([{TICKETS: 0, ANSWERS: 0}], limit=100, now=0.0)
