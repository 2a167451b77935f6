"""From events to records: what one shard's traffic leaves behind in the journal.

A deterministic core: the same events give the same records, however they are cut into batches
and wherever the process was stopped and started again from the journal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from monitor.pairing import Pairing, Waiting, WaitingAnswer, WaitingTicket, join
from monitor.redaction import redact
from monitor.sampling import Sampler
from monitor.seen import Seen, identity
from monitor.segments import Segments
from monitor.watermark import Newest, Watermark
from monitor.windows import Classes, Windows, slice_start
from schemas.events import Answer, Event, Feedback, Ticket
from schemas.samples import Gold, Pair, Sample
from schemas.windows import WindowSummary

#: What the pipeline counts, in totals since the shard's first start.
COUNTERS = (
    #: events read, of each stream
    "tickets",
    "answers",
    "feedback",
    #: tickets that met their answer, and those of them whose window had closed
    "pairs",
    "late",
    #: tickets and answers that were there already; the first wins
    "duplicates",
    #: tickets, and answers, whose other half did not come within the grace
    "unanswered",
    "orphans",
    #: halves that had to go because too many waited
    "evicted",
    #: events from the future, counted as of now
    "clock_skew",
    #: events older than `max_past_seconds`, counted as of then
    "too_old",
    #: texts that were cut to `max_text_chars`
    "cut",
    #: tickets with a segment beyond the cap
    "other_segments",
    #: pairs chosen for the teacher
    "samples",
)


class PipelineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What to do with events; the bounds of what is remembered."""

    #: ticket attributes that segments are made of
    segment_by: tuple[str, ...] = ()
    #: more segments than this are counted as `name=__other__`
    max_segments: int = 200
    #: length of a window, seconds of event time
    window_seconds: float = 600.0
    #: how far events may be out of order, seconds of event time
    lateness_seconds: float = 60.0
    #: how long a ticket and its answer wait for each other, seconds of event time
    answer_grace_seconds: float = 3600.0
    #: how far tickets may run ahead of answers, or behind them, before the slower of the two
    #: streams no longer holds the watermark back, seconds of event time
    max_skew_seconds: float = 86_400.0
    #: halves of pairs that wait at most; beyond it the oldest go
    pending_cap: int = 100_000
    #: finished tickets that are remembered, to know a duplicate by
    seen_cap: int = 1_000_000
    #: event times before `now - past` count as that, event times after `now + future` as now;
    #: infinite where there is no clock to hold them against (a replay): there an event that leaps
    #: a month ahead of its stream counts as of the newest before it
    max_past_seconds: float = 30 * 86_400.0
    max_future_seconds: float = 300.0
    #: characters kept of one text
    max_text_chars: int = 20_000
    #: a segment without traffic for this long gives its place back, seconds of event time
    segment_idle_seconds: float = 7 * 86_400.0


class ShardState(msgspec.Struct, frozen=True, kw_only=True):
    """What the journal holds of one shard; by default, of one that never ran."""

    shard: int
    watermark: float = 0.0
    counters: dict[str, int] = {}
    #: `shard.memory`: the pipeline's own, opaque to the journal
    memory: bytes = b""
    pending: tuple[Waiting, ...] = ()
    #: the windows that end after the watermark (closed ones do no harm)
    windows: tuple[WindowSummary, ...] = ()
    #: (sequence, hashes) of `seen_block`
    seen: tuple[tuple[int, bytes], ...] = ()


class ShardRecords(msgspec.Struct, frozen=True, kw_only=True):
    """What must be written now, in one transaction: everything since the last checkpoint."""

    shard: int
    #: when this checkpoint was taken, seconds UTC
    at: float
    watermark: float
    #: totals, not increments
    counters: dict[str, int]
    memory: bytes
    #: full values of the windows that changed: they replace their rows
    windows: tuple[WindowSummary, ...]
    samples: tuple[Sample, ...]
    gold: tuple[Gold, ...]
    pending_added: tuple[Waiting, ...]
    #: ticket ids of rows that the journal holds and that are finished: delete before adding,
    #: an id can be in both
    pending_removed: tuple[str, ...]
    #: blocks to insert or replace
    seen: tuple[tuple[int, bytes], ...]
    #: sequences of blocks to delete
    seen_dropped: tuple[int, ...]


class _Memory(msgspec.Struct, frozen=True, kw_only=True):
    """The rest of a shard's state: `ShardState.memory`."""

    ticket: Newest = msgspec.field(default_factory=Newest)
    answer: Newest = msgspec.field(default_factory=Newest)
    segments: dict[str, float] = {}


class Pipeline:
    """The state of one shard, and nothing else.

    Attributes
    ----------
    sampler: whom to ask about; a new one holds from the next event on.

    >>> from datetime import datetime
    >>> from monitor.sampling import SamplingPlan
    >>> everything = Sampler(SamplingPlan(random_rate=1.0), "secret")
    >>> pipeline = Pipeline(PipelineSettings(), everything, ShardState(shard=0))
    >>> at = datetime.fromisoformat("2026-11-02T09:00:00Z")
    >>> ticket = Ticket(ticket_id="t-1", at=at, text="my mail is jo@example.org")
    >>> answer = Answer(ticket_id="t-1", at=at, output="account", model="m1")
    >>> pipeline.feed([answer, ticket], now=at.timestamp())
    >>> records = pipeline.checkpoint(now=at.timestamp())
    >>> records.samples[0].text, records.windows[0].classes
    ('my mail is <EMAIL_1>', {'account': 1})
    """

    def __init__(self, settings: PipelineSettings, sampler: Sampler, state: ShardState) -> None:
        self.sampler = sampler
        self._settings = settings
        self._shard = state.shard
        self._counters = dict.fromkeys(COUNTERS, 0) | state.counters
        memory = msgspec.json.decode(state.memory, type=_Memory) if state.memory else _Memory()
        self._watermark = Watermark(
            settings.lateness_seconds,
            settings.max_skew_seconds,
            value=state.watermark,
            ticket=memory.ticket,
            answer=memory.answer,
        )
        self._segments = Segments(settings.segment_by, settings.max_segments, memory.segments)
        self._classes = Classes()
        self._pairing = Pairing(settings.pending_cap, state.pending)
        self._windows = Windows(settings.window_seconds, state.watermark, state.windows)
        self._seen = Seen(settings.seen_cap, state.seen)
        self._samples: list[Sample] = []
        self._gold: list[Gold] = []

    @property
    def watermark(self) -> float:
        """Event time up to which this shard is done, seconds UTC; 0 before the first event."""
        return self._watermark.value

    def judged(self, start: float) -> None:
        """Note the start of the newest slice that was judged: nothing is counted there any more."""
        self._windows.judged(start)

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter, for what the loop counts beside the pipeline (`dead_letters`)."""
        self._counters[name] = self._counters.get(name, 0) + by

    def feed(self, events: Iterable[Event], now: float) -> None:
        """Take events in the order in which they were read.

        `now` only bounds the events' times. An event from the future counts as of now, and
        does not move the watermark unless most do: one wrong clock cannot close everybody's
        windows, and a wrong clock of all cannot keep them open.
        """
        self._earliest = now - self._settings.max_past_seconds
        self._latest = now + self._settings.max_future_seconds
        self._present = now if self._latest < math.inf else math.inf
        for event in events:
            if isinstance(event, Ticket):
                self._take_ticket(event)
            elif isinstance(event, Answer):
                self._take_answer(event)
            else:
                self._take_feedback(event)

    def checkpoint(self, now: float) -> ShardRecords:
        """Return what changed since the last checkpoint, and count it as written."""
        self._counters["other_segments"] += self._segments.take_others()
        pending = self._pairing.take()
        blocks, dropped = self._seen.take()
        records = ShardRecords(
            shard=self._shard,
            at=now,
            watermark=self._watermark.value,
            counters=dict(self._counters),
            memory=msgspec.json.encode(
                _Memory(
                    ticket=self._watermark.ticket,
                    answer=self._watermark.answer,
                    segments=self._segments.known,
                )
            ),
            windows=self._windows.take(),
            samples=tuple(self._samples),
            gold=tuple(self._gold),
            pending_added=pending.added,
            pending_removed=pending.removed,
            seen=blocks,
            seen_dropped=dropped,
        )
        self._samples.clear()
        self._gold.clear()
        return records

    # --- events ----------------------------------------------------------------------------

    def _take_ticket(self, event: Ticket) -> None:
        self._counters["tickets"] += 1
        ticket_id, at = event.ticket_id, event.at.timestamp()
        stream = self._watermark.ticket
        latest = self._latest_of(stream)
        waiting = self._pairing.get(ticket_id)
        if isinstance(waiting, WaitingTicket) or (waiting is None and self._is_seen(ticket_id)):
            self._counters["duplicates"] += 1
        else:
            clamped = self._clamp(at, latest, stream)
            half = WaitingTicket(
                ticket_id=ticket_id,
                at=clamped,
                text=self._cut(event.text),
                text_length=len(event.text),
                segments=self._segments.of(event.attributes, clamped),
            )
            if waiting is None:
                self._counters["evicted"] += self._pairing.put(half)
            else:
                self._pairing.remove(ticket_id)
                self._finish(half, waiting)
        self._watermark.see_ticket(at, latest, self._present)
        if self._watermark.value >= self._windows.closes_at:
            self._turn()

    def _take_answer(self, event: Answer) -> None:
        self._counters["answers"] += 1
        ticket_id, at = event.ticket_id, event.at.timestamp()
        stream = self._watermark.answer
        latest = self._latest_of(stream)
        waiting = self._pairing.get(ticket_id)
        if isinstance(waiting, WaitingAnswer) or (waiting is None and self._is_seen(ticket_id)):
            self._counters["duplicates"] += 1
        else:
            half = WaitingAnswer(
                ticket_id=ticket_id,
                at=self._clamp(at, latest, stream),
                output=self._cut(event.output),
                model=event.model,
                served_by=event.served_by,
                confidence=event.confidence,
                latency_ms=event.latency_ms,
                cost_usd=event.cost_usd,
                counted_as=self._classes.of(event.output),
            )
            if waiting is None:
                self._counters["evicted"] += self._pairing.put(half)
            else:
                self._pairing.remove(ticket_id)
                self._finish(waiting, half)
        self._watermark.see_answer(at, latest, self._present)
        if self._watermark.value >= self._windows.closes_at:
            self._turn()

    def _take_feedback(self, event: Feedback) -> None:
        self._counters["feedback"] += 1
        stream = self._watermark.answer
        gold = Gold(
            ticket_id=event.ticket_id,
            at=self._clamp(event.at.timestamp(), self._latest_of(stream), stream),
            output=None if event.output is None else redact(self._cut(event.output)),
            accepted=event.accepted,
            by=redact(event.by),
        )
        self._gold.append(gold)

    def _is_seen(self, ticket_id: str) -> bool:
        return identity(ticket_id) in self._seen

    def _latest_of(self, stream: Newest) -> float:
        """Return what is the future for a stream: by the clock, or by the stream alone."""
        return self._latest if self._latest < math.inf else stream.latest

    def _clamp(self, at: float, latest: float, stream: Newest) -> float:
        if at < self._earliest:
            self._counters["too_old"] += 1
            return self._earliest
        if at > latest:
            # it was sent before now, whatever it says
            self._counters["clock_skew"] += 1
            return self._present if self._present < math.inf else stream.at
        return at

    def _cut(self, text: str) -> str:
        limit = self._settings.max_text_chars
        if len(text) <= limit:
            return text
        self._counters["cut"] += 1
        # at a blank: half an address at the end would no longer be recognised and redacted
        return (text[:limit].rsplit(maxsplit=1) or [""])[0]

    # --- pairs -----------------------------------------------------------------------------

    def _finish(self, ticket: WaitingTicket, answer: WaitingAnswer) -> None:
        """Count and perhaps sample a pair, and remember that its ticket is done."""
        self._counters["pairs"] += 1
        self._seen.add(identity(ticket.ticket_id))
        pair = join(ticket, answer)
        windows, at = self._windows, pair.asked_at
        place = self.sampler.place(pair) if pair.served_by == "student" else None
        start = windows.start_of(at)
        here = place if start <= at else None
        opened = windows.add(pair, ticket.text_length, answer.counted_as, ticket.words, here)
        if opened is None:
            self._counters["late"] += 1
            opened = []
        if place and here is None:
            opened += windows.count(pair.segments, place, start)
        for segment in opened:
            self._segments.met(segment, at)
        if place:
            self._sample(pair, place[1], start)

    def _sample(self, pair: Pair, stratum: int, start: float) -> None:
        chosen = self.sampler.choose(pair.ticket_id, pair.model, stratum)
        if chosen is None:
            return
        self._counters["samples"] += 1
        sample = Sample(
            ticket_id=pair.ticket_id,
            at=pair.asked_at,
            text=redact(pair.text),
            output=redact(pair.output),
            model=pair.model,
            served_by=pair.served_by,
            confidence=pair.confidence,
            segments=pair.segments,
            reason=chosen.reason,
            inclusion_probability=chosen.probability,
            plan=self.sampler.plan.version,
            stratum=stratum,
            window=start,
        )
        self._samples.append(sample)

    # --- time ------------------------------------------------------------------------------

    def _turn(self) -> None:
        """The watermark passed the end of a slice: expire what waited, close, forget.

        Expire first: a ticket whose grace ran out in a slice is counted in that slice, which
        must still be open.
        """
        watermark = self._watermark.value
        horizon = slice_start(watermark, self._windows.length)
        grace = self._settings.answer_grace_seconds
        for half in self._pairing.expire(horizon - grace):
            if isinstance(half, WaitingTicket):
                self._counters["unanswered"] += 1
                self._windows.add_unanswered(half.segments, half.at + grace)
            else:
                self._counters["orphans"] += 1
        self._windows.close(watermark)
        self._segments.forget(horizon - self._settings.segment_idle_seconds)
