"""Read production's events and checkpoint what they leave behind, with the offsets.

The order of one turn matters. What could not be written last time is written first; then new
shards are taken over, before any of their records is read; records of a lost shard, and all that
was derived from them since the last checkpoint, are dropped: the new owner reads them again.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from monitor.loops.slices import judged_until
from monitor.pipeline import Pipeline, PipelineSettings
from monitor.sampling import Sampler, SamplingPlan
from monitor.sources import Record, Source
from monitor.store import consuming, health, planning
from monitor.store.consuming import Checkpoint, Refused
from monitor.taxonomy import known_answer
from schemas.errors import DecodeError
from schemas.events import Event, Feedback, decode


class ConsumeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How this consumer works."""

    #: this process, as the journal knows it
    owner: str
    pipeline: PipelineSettings
    #: the secret of the draw
    salt: str
    #: the plan to begin with, where the journal holds none yet
    first_plan: SamplingPlan
    #: the labels that people's answers are to be one of; empty: they answer in free text
    taxonomy: tuple[str, ...] = ()
    #: a checkpoint is due after so many seconds, or so many records
    checkpoint_seconds: float = 2.0
    checkpoint_records: int = 20_000


class ConsumeTurn(NamedTuple):
    """What one turn came to."""

    records: int
    checkpointed: bool


class _Shard:
    """One owned shard: its pipeline, and what was read since the last checkpoint."""

    def __init__(self, epoch: int, pipeline: Pipeline) -> None:
        self.epoch = epoch
        self.pipeline = pipeline
        self.events: list[Event] = []
        self.positions: dict[str, int] = {}
        self.refused: list[Refused] = []
        #: taken from the pipeline and not written yet: the database did not answer
        self.unwritten: Checkpoint | None = None


class ConsumeLoop:
    """Feeds each owned shard's pipeline and writes its checkpoints."""

    def __init__(self, engine: sa.Engine, source: Source, settings: ConsumeSettings) -> None:
        self._engine = engine
        self._source = source
        self._settings = settings
        self._shards: dict[int, _Shard] = {}
        self._read = 0
        self._checkpointed_at = 0.0

    def once(self, now: float, timeout: float = 0.5) -> ConsumeTurn:
        """Read one batch; checkpoint when one is due.

        Raises
        ------
        FencedError: another process owns a shard now. Nothing was written of any shard; close
            the loop, build another with a fresh source, and it reads again from there.
        """
        self._write_unwritten()
        poll = self._source.poll(timeout)
        for shard in poll.lost:
            self._shards.pop(shard, None)
        for shard in sorted(poll.gained):
            self._take_over(shard, now)
        for partition, offset in poll.began.items():
            self._shards[self._source.shard_of(partition)].positions[partition] = offset
        self._take(poll.records, now)
        due = now - self._checkpointed_at >= self._settings.checkpoint_seconds
        if due or self._read >= self._settings.checkpoint_records:
            self.checkpoint(now)
            return ConsumeTurn(len(poll.records), checkpointed=True)
        return ConsumeTurn(len(poll.records), checkpointed=False)

    def checkpoint(self, now: float) -> None:
        """Write what every owned shard holds, all of it or nothing."""
        for shard in self._shards.values():
            if not shard.positions:
                continue  # nothing was read, so nothing changed: `updated_at` tells idle shards
            shard.unwritten = Checkpoint(
                shard.epoch,
                shard.pipeline.checkpoint(now),
                dict(shard.positions),
                tuple(shard.refused),
            )
            shard.positions.clear()
            shard.refused.clear()
        self._read = 0
        self._checkpointed_at = now
        self._write_unwritten()
        if self._shards:
            self._exchange(now)

    @property
    def watermark(self) -> float | None:
        """Event time up to which every owned shard is done; None before the first event."""
        marks = [shard.pipeline.watermark for shard in self._shards.values()]
        return min((mark for mark in marks if mark > 0), default=None)

    def close(self) -> None:
        """Leave the source; what was not checkpointed is read again by whoever comes next."""
        self._source.close()

    def _take_over(self, shard: int, now: float) -> None:
        settings = self._settings
        with self._engine.begin() as connection:
            owned = consuming.take_over(
                connection, shard, settings.owner, settings.pipeline.window_seconds, now
            )
            sampler, judged = self._look_up(connection, now)
        pipeline = Pipeline(settings.pipeline, sampler, owned.state)
        pipeline.judged(judged)
        self._shards[shard] = _Shard(owned.epoch, pipeline)
        self._source.seek(shard, owned.positions)

    def _look_up(self, connection: sa.Connection, now: float) -> tuple[Sampler, float]:
        """Return the newest plan, ready to choose, and the start of the last judged slice."""
        plan = planning.newest_or(connection, self._settings.first_plan, now)
        return Sampler(plan, self._settings.salt), judged_until(connection)

    def _take(self, records: list[Record], now: float) -> None:
        shards = self._shards
        for record in records:
            shard = shards[record.shard]
            shard.positions[record.partition] = record.next_offset
            try:
                event = decode(record.stream, record.value, record.headers)
                if isinstance(event, Feedback):
                    event = known_answer(event, self._settings.taxonomy)
                shard.events.append(event)
            except DecodeError as error:
                shard.refused.append(Refused(record, error, self._source.place(record.partition)))
                shard.pipeline.count("dead_letters")
        for shard in shards.values():
            if shard.events:
                shard.pipeline.feed(shard.events, now)
                shard.events.clear()
        self._read += len(records)

    def _write_unwritten(self) -> None:
        """One transaction for all shards: each commit waits for the disk."""
        unwritten = [s.unwritten for s in self._shards.values() if s.unwritten is not None]
        if not unwritten:
            return
        with self._engine.begin() as connection:
            for checkpoint in unwritten:
                consuming.write_checkpoint(connection, self._settings.owner, checkpoint)
        # only now: had the commit failed, the same checkpoints are written at the next turn
        for shard in self._shards.values():
            shard.unwritten = None
        self._source.commit(
            {name: at for checkpoint in unwritten for name, at in checkpoint.positions.items()}
        )

    def _exchange(self, now: float) -> None:
        """Tell how far behind each shard is; hear the newest plan, and what was judged.

        For idle shards too: what they read next is to be counted where it still counts.
        """
        behind: dict[str, int] = {}
        for partition, count in self._source.lag().items():
            shard = str(self._source.shard_of(partition))
            behind[shard] = behind.get(shard, 0) + count
        with self._engine.begin() as connection:
            health.report(connection, "consume", self._settings.owner, {"behind": behind}, now)
            sampler, judged = self._look_up(connection, now)
        for owned in self._shards.values():
            owned.pipeline.sampler = sampler
            owned.pipeline.judged(judged)
