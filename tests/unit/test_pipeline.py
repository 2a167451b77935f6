from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.pairing import Waiting
from monitor.pipeline import COUNTERS, Pipeline, PipelineSettings, ShardRecords, ShardState
from monitor.sampling import Risk, Sampler, SamplingPlan
from monitor.watermark import MAJORITY
from schemas.events import Answer, Event, Feedback, Ticket
from schemas.samples import Gold, Sample
from schemas.windows import WindowSummary

BASE = datetime(2026, 11, 2, 9, tzinfo=UTC)
NOW = BASE.timestamp() + 3600
#: small, so that short streams reach every bound
SETTINGS = PipelineSettings(
    segment_by=("channel",),
    max_segments=2,
    window_seconds=60.0,
    lateness_seconds=10.0,
    answer_grace_seconds=120.0,
    max_skew_seconds=300.0,
    pending_cap=6,
    seen_cap=4,
    max_past_seconds=2 * 3600.0,
    max_text_chars=60,
    segment_idle_seconds=200.0,
)
#: of one student something is known, and of one segment more is asked
RISK = Risk(
    at=0.0,
    labels=300,
    intercept=-2.0,
    slope=-1.0,
    unknown=-1.0,
    offsets={"size": 1.0},
    edges=(-2.0, -1.0),
    levels=(0.05, 0.15, 0.4),
    spread=0.3,
)
PLAN = SamplingPlan(
    version=2,
    random_rate=0.3,
    segment_rates={"channel=mail": 0.6},
    requested_rate=0.5,
    students={"m1": RISK},
)
ASKS = Sampler(PLAN, "s")
EVERYTHING = Sampler(SamplingPlan(random_rate=1.0), "s")
NOTHING = Sampler(SamplingPlan(random_rate=0.0), "s")


def at(seconds: float) -> datetime:
    return BASE + timedelta(seconds=seconds)


def ticket(name: str = "t", seconds: float = 0, text: str = "hello", **attributes: str) -> Ticket:
    return Ticket(ticket_id=name, at=at(seconds), text=text, attributes=attributes)


def pair(name: str, seconds: float) -> tuple[Ticket, Answer]:
    return ticket(name, seconds), answer(name, seconds)


def answer(name: str = "t", seconds: float = 1, output: str = "refund", **more: Any) -> Answer:
    return Answer(ticket_id=name, at=at(seconds), output=output, model="m1", **more)


class Journal:
    """What a database would hold of one shard: bytes under keys, changed by records alone."""

    def __init__(self) -> None:
        self.pending: dict[str, bytes] = {}
        self.windows: dict[tuple[str, float], bytes] = {}
        self.samples: dict[str, Sample] = {}
        self.gold: list[Gold] = []
        self.seen: dict[int, bytes] = {}
        self.rest: tuple[float, dict[str, int], bytes] = (0.0, {}, b"")

    def write(self, records: ShardRecords) -> None:
        for ticket_id in records.pending_removed:
            del self.pending[ticket_id]
        self.pending.update((h.ticket_id, msgspec.json.encode(h)) for h in records.pending_added)
        self.windows.update((w.key, msgspec.json.encode(w)) for w in records.windows)
        for sample in records.samples:
            self.samples.setdefault(sample.ticket_id, sample)
        self.gold += records.gold
        for sequence in records.seen_dropped:
            del self.seen[sequence]
        self.seen.update(records.seen)
        self.rest = (records.watermark, records.counters, records.memory)

    def state(self) -> ShardState:
        watermark, counters, memory = self.rest
        waiting = [msgspec.json.decode(body, type=Waiting) for body in self.pending.values()]
        windows = [msgspec.json.decode(body, type=WindowSummary) for body in self.windows.values()]
        return ShardState(
            shard=0,
            watermark=watermark,
            counters=counters,
            memory=memory,
            pending=tuple(sorted(waiting, key=lambda half: half.ticket_id)),
            windows=tuple(w for w in windows if w.start + w.length > watermark),
            seen=tuple(self.seen.items()),
        )

    def everything(self) -> dict[str, Any]:
        found = {
            name: dict(sorted(table.items()))
            for name, table in vars(self).items()
            if isinstance(table, dict)
        }
        return {**found, "gold": self.gold, "rest": self.rest}


def run(
    events: Sequence[Event],
    sampler: Sampler = EVERYTHING,
    restarts: Iterable[int] = (),
    configured: PipelineSettings = SETTINGS,
) -> Journal:
    """Feed the events, checkpoint and start again from the journal at each of the places."""
    journal, place = Journal(), 0
    for stop in [*sorted(restarts), len(events)]:
        pipeline = Pipeline(configured, sampler, journal.state())
        pipeline.feed(events[place:stop], NOW)
        journal.write(pipeline.checkpoint(NOW))
        place = stop
    return journal


def summaries(journal: Journal, segment: str = "*") -> list[WindowSummary]:
    windows = [msgspec.json.decode(body, type=WindowSummary) for body in journal.windows.values()]
    return sorted((w for w in windows if w.segment == segment), key=lambda w: w.start)


def counted(journal: Journal) -> dict[str, int]:
    return {name: number for name, number in journal.rest[1].items() if number}


# --- the invariant -------------------------------------------------------------------------

#: mostly in order, sometimes far behind or ahead; the last is beyond `now` and clamped
JUMPS = [0.0, 0.4, 0.9, 1.7, 2.5, 5.3, 20.0, 31.0, -15.0, -90.0, 130.0, 9000.0]
TEXTS = [
    "hello",
    "I am jo@example.org",
    "+49 30 1234567 " * 9,
    "+49 30 1234567de89370400440532013000",
]
OUTPUTS = ["refund", "size", "mail al@example.org", "a long answer " * 9]
CHANNELS = ["mail", "chat", "web", "jo@example.org"]


def made_event(random: Random, moment: datetime) -> Event:
    """Return any event of one of few tickets."""
    pick, name = random.choice, f"t{random.randrange(25)}"
    kind = random.randrange(9)
    if kind == 0:
        return Feedback(ticket_id=name, at=moment, accepted=False, output=pick(OUTPUTS))
    if kind % 2:
        channel = {"channel": pick(CHANNELS)} if random.random() < 0.8 else {}
        return Ticket(ticket_id=name, at=moment, text=pick(TEXTS), attributes=channel)
    return Answer(
        ticket_id=name,
        at=moment,
        output=pick(OUTPUTS),
        served_by=pick(["student", "student", "teacher"]),
        model=pick(["m1", "m2"]),
        confidence=pick([None, random.random()]),
        latency_ms=pick([None, random.expovariate(0.01)]),
        cost_usd=pick([None, random.random() / 3]),
    )


def made_stream(seed: int, length: int, fast: float) -> list[Event]:
    """Return events whose times mostly move on; this share of them is by a clock that is fast.

    Made from a seed: hypothesis drawing each field takes twenty times as long. It still finds
    the shortest stream that fails.
    """
    random, events, seconds = Random(seed), list[Event](), 0.0
    for _ in range(length):
        jump = 9000.0 if random.random() < fast else random.choice(JUMPS)
        events.append(made_event(random, at(seconds + jump)))
        seconds += jump if 0 < jump < 9000 else 0
    return events


streams = st.builds(
    made_stream, st.integers(0, 2**32), st.integers(0, 150), st.sampled_from([0.0, 0.6, 0.95])
)


@given(streams, st.sets(st.integers(0, 150), max_size=12))
def test_restarts_anywhere_change_nothing(events: list[Event], places: set[int]) -> None:
    restarts = [place for place in places if place < len(events)]
    assert run(events, ASKS, restarts).everything() == run(events, ASKS).everything()


@given(streams, st.data())
def test_batches_change_nothing(events: list[Event], data: st.DataObject) -> None:
    pipeline, journal, place = Pipeline(SETTINGS, ASKS, ShardState(shard=0)), Journal(), 0
    while place < len(events):
        size = data.draw(st.integers(1, 20))
        pipeline.feed(iter(events[place : place + size]), NOW)
        if data.draw(st.booleans()):
            journal.write(pipeline.checkpoint(NOW))
        place += size
    journal.write(pipeline.checkpoint(NOW))
    assert journal.everything() == run(events, ASKS).everything()


@given(streams)
def test_every_half_is_accounted_for(events: list[Event]) -> None:
    journal = run(events)
    counters = journal.rest[1]
    halves = counters["tickets"] + counters["answers"] - counters["duplicates"]
    unmatched = counters["unanswered"] + counters["orphans"] + counters["evicted"]
    assert halves == 2 * counters["pairs"] + unmatched + len(journal.pending)
    in_windows = sum(window.pairs for window in summaries(journal))
    assert in_windows == counters["pairs"] - counters["late"]


@given(streams)
def test_nothing_personal_is_written(events: list[Event]) -> None:
    written = repr(run(events).everything())
    assert not [secret for secret in ("example.org", "1234567", "de8937") if secret in written]


@given(
    st.permutations(
        [
            *[ticket(f"t{n}", n) for n in range(4)],
            *[answer(f"t{n}", n, confidence=n / 8) for n in range(4)],
        ]
    )
)
def test_the_order_within_a_window_does_not_matter(events: list[Event]) -> None:
    journal = run(events, configured=msgspec.structs.replace(SETTINGS, pending_cap=8))
    in_order = run(sorted(events, key=lambda event: event.at))
    assert (journal.windows, journal.samples) == (in_order.windows, in_order.samples)


def test_a_replay_writes_the_same_bytes() -> None:
    events: list[Event] = []
    for n in range(200):
        events += ticket(f"t{n}", n * 7.0, channel="mail"), answer(f"t{n}", n * 7.0 + 2)
    pipelines = [Pipeline(SETTINGS, ASKS, ShardState(shard=0)) for _ in range(2)]
    for pipeline in pipelines:
        pipeline.feed(events, NOW)
    first, second = [msgspec.json.encode(p.checkpoint(NOW)) for p in pipelines]
    assert first == second


# --- case by case ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        # a pair, and the same in the other order
        ([ticket(), answer()], {"tickets": 1, "answers": 1, "pairs": 1}),
        ([answer(), ticket()], {"tickets": 1, "answers": 1, "pairs": 1}),
        # a ticket twice before its answer, and an answer twice before its ticket
        ([ticket(), ticket(), answer()], {"tickets": 2, "answers": 1, "pairs": 1, "duplicates": 1}),
        ([answer(), answer(), ticket()], {"tickets": 1, "answers": 2, "pairs": 1, "duplicates": 1}),
        # both again after they met
        (
            [ticket(), answer(), ticket(), answer()],
            {"tickets": 2, "answers": 2, "pairs": 1, "duplicates": 2},
        ),
        # the answer comes when the ticket's window has closed
        (
            [ticket(), *pair("u", 79), *pair("v", 80), answer("t", 81)],
            {"tickets": 3, "answers": 3, "pairs": 3, "late": 1},
        ),
        # an answer never comes, and a ticket never comes
        (
            [ticket(), answer("o", 1), *[e("u", 195) for e in (ticket, answer)]],
            {"tickets": 2, "answers": 2, "pairs": 1, "unanswered": 1, "orphans": 1},
        ),
        # a ticket from next year counts as of now
        (
            [ticket("t", 3e7), answer("t", 3e7)],
            {"tickets": 1, "answers": 1, "pairs": 1, "clock_skew": 2},
        ),
        # and one from before we were born
        (
            [ticket("t", -9000), answer("t", -9000)],
            {"tickets": 1, "answers": 1, "pairs": 1, "too_old": 2},
        ),
        # seven wait where six may
        ([ticket(f"t{n}") for n in range(7)], {"tickets": 7, "evicted": 1}),
        # a text that is too long
        ([ticket(text="a " * 40), answer()], {"tickets": 1, "answers": 1, "pairs": 1, "cut": 1}),
        # a third segment where two may be
        (
            [ticket(f"t{n}", n, channel=channel) for n, channel in enumerate("abca")],
            {"tickets": 4, "other_segments": 1},
        ),
    ],
)
def test_what_is_counted(events: list[Event], expected: dict[str, int]) -> None:
    assert counted(run(events, NOTHING)) == expected


def test_the_first_of_two_answers_wins() -> None:
    journal = run([ticket(), answer(output="refund"), answer(output="size")])
    assert journal.samples["t"].output == "refund"


def test_only_the_students_answers_are_sampled() -> None:
    events = [ticket("a"), ticket("b"), ticket("c")]
    events += [answer("a"), answer("b", served_by="teacher"), answer("c", served_by="human")]
    assert list(run(events).samples) == ["a"]


def test_a_late_pair_is_left_out_of_windows_and_can_still_be_sampled() -> None:
    journal = run([ticket(), *pair("u", 79), *pair("v", 80), answer("t", 81)])
    assert journal.samples["t"].window == BASE.timestamp() + 60
    assert [(w.start - BASE.timestamp(), w.pairs) for w in summaries(journal)] == [(60.0, 2)]
    assert summaries(journal)[0].strata == {"0/m1": {0: 3}}


def test_a_pair_of_a_slice_that_was_judged_meanwhile_is_counted_in_the_next() -> None:
    pipeline = Pipeline(SETTINGS, EVERYTHING, ShardState(shard=0))
    pipeline.judged(BASE.timestamp())
    pipeline.feed([ticket(), answer()], NOW)
    records = pipeline.checkpoint(NOW)
    found = [(w.start - BASE.timestamp(), w.pairs, w.strata) for w in records.windows]
    in_all_and_in_its_channel = 2
    assert found == [
        *[(0.0, 1, {})] * in_all_and_in_its_channel,
        *[(60.0, 0, {"0/m1": {0: 1}})] * in_all_and_in_its_channel,
    ]
    assert records.samples[0].window == BASE.timestamp() + 60
    assert records.counters["late"] == 0


def test_what_others_answered_is_not_counted_for_the_estimates() -> None:
    journal = run([ticket(), answer(served_by="teacher")])
    assert summaries(journal)[0].strata == {}


def test_the_same_draw_that_estimates_count_on_is_journalled_with_the_sample() -> None:
    journal = run([ticket("t", 5, channel="mail"), answer("t", 6, confidence=0.1)], ASKS)
    sample = journal.samples["t"]
    (expected, probability) = PLAN.strata("m1")[sample.stratum]
    assert (expected, probability) == (0.4, min(1.0, 0.6 * (0.5 + 0.5 * 0.24**0.5 / 0.3)))


def test_an_unanswered_ticket_is_counted_where_its_grace_ran_out() -> None:
    journal = run([ticket("t", 30, channel="mail"), *pair("u", 194), *pair("v", 195)])
    for segment in ("*", "channel=mail"):
        found = [(w.start - BASE.timestamp(), w.unanswered) for w in summaries(journal, segment)]
        assert found[0] == (120.0, 1)


def test_a_sample_is_redacted_and_carries_what_learning_needs() -> None:
    events = [ticket("t", 5, "I am jo@example.org", channel="mail"), answer("t", 6, confidence=0.5)]
    assert run(events).samples["t"] == Sample(
        ticket_id="t",
        at=BASE.timestamp() + 5,
        text="I am <EMAIL_1>",
        output="refund",
        model="m1",
        served_by="student",
        confidence=0.5,
        segments=("*", "channel=mail"),
        reason="random",
        inclusion_probability=1.0,
        window=BASE.timestamp(),
    )


def test_a_new_plan_holds_from_the_next_event_on() -> None:
    pipeline = Pipeline(SETTINGS, NOTHING, ShardState(shard=0))
    pipeline.feed([ticket("a"), answer("a")], NOW)
    pipeline.sampler = EVERYTHING
    pipeline.feed([ticket("b"), answer("b")], NOW)
    assert [sample.ticket_id for sample in pipeline.checkpoint(NOW).samples] == ["b"]


def test_a_persons_verdict_becomes_gold() -> None:
    event = Feedback(
        ticket_id="t", at=at(9), accepted=False, output="al@example.org", by="jo@example.org"
    )
    assert run([event]).gold == [
        Gold(
            ticket_id="t",
            at=BASE.timestamp() + 9,
            output="<EMAIL_1>",
            accepted=False,
            by="<EMAIL_1>",
        )
    ]


def test_one_wrong_clock_does_not_close_everybodys_windows() -> None:
    events = [ticket("t", 3e7), answer("t", 3e7), ticket("u", 5), answer("u", 6)]
    assert counted(run(events)).get("late") is None


def fast(clock: str, n: int, now: float = NOW) -> list[Event]:
    """Return a pair of which one clock, or both, are an hour ahead of now."""
    skewed, right = now - BASE.timestamp() + 3600, now - BASE.timestamp()
    return [
        ticket(f"t{n}", right if clock == "answers" else skewed),
        answer(f"t{n}", right if clock == "tickets" else skewed),
    ]


@pytest.mark.parametrize("clock", ["tickets", "answers", "both"])
def test_windows_close_when_the_clocks_of_nearly_all_are_fast(clock: str) -> None:
    pairs = 120
    events = [event for n in range(pairs) for event in fast(clock, n)]
    pipeline = Pipeline(SETTINGS, NOTHING, ShardState(shard=0))
    pipeline.feed(events[: 2 * MAJORITY - 2], NOW)
    assert pipeline.watermark <= NOW - SETTINGS.max_skew_seconds - SETTINGS.lateness_seconds
    pipeline.feed(events[2 * MAJORITY - 2 :], NOW)
    assert pipeline.watermark == NOW - SETTINGS.lateness_seconds
    # they count as of now, where the watermark closes nobody's window too early
    (window,) = {w.start: w for w in pipeline.checkpoint(NOW).windows}.values()
    assert (window.start, window.pairs) == (NOW, pairs)
    # and the next ones as of when they come
    pipeline.feed(fast(clock, pairs, NOW + 120), NOW + 120)
    assert pipeline.watermark == NOW + 120 - SETTINGS.lateness_seconds


@given(st.integers(0, 2**32))
@settings(max_examples=10)
def test_a_third_of_wrong_clocks_loses_no_pair_of_a_backlog(seed: int) -> None:
    random, events = Random(seed), list[Event]()
    for n in range(300):
        events += pair(f"t{n}", n * 5.0)
        if random.random() < 0.5:
            events += fast("both", 1000 + n)
    assert "late" not in counted(run(events, NOTHING))


def test_a_backlog_in_which_tickets_run_ahead_of_answers_loses_no_pair() -> None:
    times = [n * 20.0 for n in range(12)]
    events: list[Event] = [ticket(f"t{n}", seconds) for n, seconds in enumerate(times)]
    events += [answer(f"t{n}", seconds + 1) for n, seconds in enumerate(times)]
    journal = run(events, configured=msgspec.structs.replace(SETTINGS, pending_cap=100))
    assert sum(window.pairs for window in summaries(journal)) == len(times)
    assert "late" not in counted(journal)


def test_a_cut_text_ends_at_a_blank_so_that_no_half_address_stays() -> None:
    text = "word " * 11 + "jo@example.org"
    assert len(text[:60].split("@")) == 2
    journal = run([ticket(text=text), answer()])
    assert journal.samples["t"].text == ("word " * 11).rstrip()
    assert summaries(journal)[0].text_length.total == len(text)


def test_the_loops_own_counters_are_kept() -> None:
    pipeline = Pipeline(SETTINGS, ASKS, ShardState(shard=0, counters={"dead_letters": 2}))
    pipeline.count("dead_letters")
    pipeline.count("refused", 5)
    counters = pipeline.checkpoint(NOW).counters
    assert (counters["dead_letters"], counters["refused"]) == (3, 5)
    assert set(COUNTERS) < set(counters)


def test_a_segment_with_traffic_keeps_its_place() -> None:
    events: list[Event] = []
    for n in range(10):
        events += ticket(f"t{n}", n * 60, channel="mail"), answer(f"t{n}", n * 60)
        events += ticket(f"u{n}", n * 60, channel="web"), answer(f"u{n}", n * 60)
    journal = run(events, configured=msgspec.structs.replace(SETTINGS, max_segments=1))
    assert len(summaries(journal, "channel=mail")) == len(summaries(journal)) == 10
    assert not summaries(journal, "channel=web")


def test_a_segment_without_traffic_gives_its_place_back() -> None:
    events: list[Event] = [ticket("first", channel="mail"), answer("first")]
    for n in range(6):
        events += ticket(f"t{n}", n * 60), answer(f"t{n}", n * 60)
    events += ticket("last", 301, channel="web"), answer("last", 301)
    journal = run(events, configured=msgspec.structs.replace(SETTINGS, max_segments=1))
    assert journal.samples["last"].segments == ("*", "channel=web")


def test_a_checkpoint_without_events_writes_nothing_but_totals() -> None:
    pipeline = Pipeline(SETTINGS, EVERYTHING, run([ticket("u")]).state())
    pipeline.feed([ticket(), answer(), Feedback(ticket_id="t", at=at(2), accepted=True)], NOW)
    records = [pipeline.checkpoint(NOW) for _ in range(2)]
    written, nothing = (
        [v for v in r if isinstance(v, tuple)] for r in map(msgspec.structs.astuple, records)
    )
    assert [len(rows) for rows in written] == [2, 1, 1, 0, 0, 1, 0]
    assert [len(rows) for rows in nothing] == [0] * 7
