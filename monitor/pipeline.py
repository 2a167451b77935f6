"""From events to records: what one shard's traffic leaves behind in the journal.

A deterministic core: the same events give the same records, however they are cut into batches
and wherever the process was stopped and started again from the journal.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from monitor.pairing import Waiting
from monitor.sampling import SamplingPlan
from schemas.events import Event
from schemas.samples import Gold, Sample
from schemas.windows import WindowSummary


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
    #: event times outside `[now - past, now + future]` are clamped
    max_past_seconds: float = 30 * 86_400.0
    max_future_seconds: float = 300.0
    #: characters kept of one text
    max_text_chars: int = 20_000


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
    #: ticket ids of rows that the journal holds and that are finished
    pending_removed: tuple[str, ...]
    #: blocks to insert or replace
    seen: tuple[tuple[int, bytes], ...]
    #: sequences of blocks to delete
    seen_dropped: tuple[int, ...]


class Pipeline:
    """The state of one shard, and nothing else.

    Attributes
    ----------
    plan: how much to sample; a new plan holds from the next event on.
    """

    def __init__(self, settings: PipelineSettings, plan: SamplingPlan, state: ShardState) -> None:
        self.plan = plan

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter, for what the loop counts beside the pipeline (`dead_letters`)."""

    def feed(self, events: Iterable[Event], now: float) -> None:
        """Take events in the order in which they were read; `now` only bounds their times."""

    def checkpoint(self, now: float) -> ShardRecords:
        """Return what changed since the last checkpoint, and count it as written."""
        raise NotImplementedError
