"""Composition root of the monitor: settings in, five loops out.

One straight line on purpose: whoever wants to know what is connected to what reads this file
from top to bottom. Integrations are listed here in plain code.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import sqlalchemy as sa

from monitor.alerts.channels import Channel
from monitor.alerts.channels.stdout import StdoutChannel
from monitor.alerts.channels.webhook import WebhookChannel
from monitor.alerts.stages import AlertSettings
from monitor.canaries import NO_CANARIES
from monitor.comparators import COMPARATORS
from monitor.config import ChannelTable, MonitorSettings, SourceTable, TeacherTable
from monitor.drift import DriftSettings
from monitor.embedders import Embedder
from monitor.embedders.local import LocalEmbedder
from monitor.loops.consume import ConsumeLoop, ConsumeSettings
from monitor.loops.embed import EmbedLoop, EmbedSettings
from monitor.loops.evaluate import EvaluateLoop, EvaluateSettings
from monitor.loops.label import LabelLoop, LabelSettings
from monitor.loops.notify import NotifyLoop
from monitor.loops.supervisor import Loop, Supervisor
from monitor.loops.teaching import TeachingSettings
from monitor.sources import Source
from monitor.sources.jsonl import JsonlSource
from monitor.teachers import Teacher
from monitor.teachers.http import HttpTeacher
from monitor.teachers.patience import PatientTeacher
from monitor.teachers.scripted import ScriptedTeacher
from schemas.errors import ConfigError
from schemas.journal import tidy

LOOPS: Final = ("consume", "label", "embed", "evaluate", "notify")
#: seconds that questions under way may take once all loops should have ended
GRACE: Final = 8.0
#: seconds between two looks for a slice to embed: they close each hour or so
EMBED_PAUSE: Final = 5.0


def owner_name() -> str:
    """Name this process in the journal: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"[:128]


class Monitor:
    """The loops of the program, built and not turning yet.

    Each `once(now)` may be called by a test, a replay or the demo; `start` hands them to a
    supervisor, which turns them in threads.

    Parameters
    ----------
    daily_usd: what the teacher may cost a day; None: what the contract says.
    stop: set when the process has to end: nobody asks the teacher anew from then on.
    """

    def __init__(
        self,
        settings: MonitorSettings,
        engine: sa.Engine,
        *,
        lane: str,
        source: Callable[[], Source] | None = None,
        teacher: Teacher | None = None,
        channels: Mapping[str, Channel] | None = None,
        daily_usd: float | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        stop = stop or threading.Event()
        owner = owner_name()
        if daily_usd is None:
            daily_usd = settings.contract.daily_teacher_usd
        sampling = msgspec.structs.replace(settings.sampling.settings, daily_usd=daily_usd)
        self._engine = engine
        self._settings = settings
        self._source = source or (lambda: make_source(settings.source))
        self._consume_settings = ConsumeSettings(
            owner=owner,
            pipeline=settings.pipeline,
            salt=settings.sampling.salt(),
            first_plan=sampling.plan(),
            taxonomy=settings.task.labels,
            checkpoint_seconds=settings.source.checkpoint_seconds,
            checkpoint_records=settings.source.checkpoint_records,
        )
        self.consume = self._new_consumer()
        self.label = LabelLoop(
            engine,
            teacher or make_teacher(settings.teacher, settings.task.labels, wait=stop.wait),
            COMPARATORS[settings.task.comparator],
            LabelSettings(
                owner=owner,
                taxonomy=settings.task.labels,
                concurrency=settings.teacher.concurrency,
                batch=settings.teacher.batch,
                daily_usd=daily_usd,
                comparator=settings.task.comparator,
                deadline_seconds=settings.teacher.deadline_seconds,
            ),
            stopping=stop.is_set,
        )
        self.embed = self._new_embed_loop(owner)
        self.evaluate = EvaluateLoop(
            engine,
            settings.contract,
            EvaluateSettings(
                owner=owner,
                lane=lane,
                alerts=AlertSettings(
                    instance=settings.alerts.instance,
                    channels=tuple(settings.alerts.channels),
                    repeat_seconds=settings.alerts.repeat_seconds,
                ),
                teaching=TeachingSettings(
                    salt=settings.sampling.salt(),
                    random_rate=settings.sampling.random_rate,
                    compare=COMPARATORS[settings.task.comparator],
                    gold=settings.gold,
                    # a recording says the same for ever, and nothing to ids that are not in it
                    canaries=settings.canaries if settings.teacher.kind == "http" else NO_CANARIES,
                ),
                drift=settings.drift,
                recent_labels=settings.evaluation.recent_labels,
                label_wait_seconds=settings.evaluation.label_wait_seconds,
                sampling=sampling,
                idle_seconds=settings.evaluation.idle_seconds,
                stale_seconds=settings.evaluation.stale_seconds,
            ),
        )
        self.notify = NotifyLoop(
            engine, make_channels(settings) if channels is None else channels, owner
        )

    def start(self, supervisor: Supervisor, only: frozenset[str] = frozenset(LOOPS)) -> None:
        """Let the named loops turn, each in a thread of its own."""
        tick = self._settings.evaluation.tick_seconds
        loops = (
            Loop("consume", lambda now: bool(self.consume.once(now).records), 0.0, self._rejoin),
            Loop("label", lambda now: bool(self.label.once(now).labelled), 0.5, _nothing),
            Loop("evaluate", self._evaluate, tick, _nothing),
            Loop("notify", lambda now: bool(self.notify.once(now)), 1.0, _nothing),
        )
        for loop in loops:
            if loop.name in only:
                supervisor.start(loop)
        if self.embed is not None and "embed" in only:
            supervisor.start(Loop("embed", self.embed.once, EMBED_PAUSE, _nothing))

    def drain(self, now: float) -> None:
        """After the loops ended: checkpoint what was read, send what is due, let go."""
        self.consume.checkpoint(now)
        self.notify.once(now)
        self.close()

    def close(self) -> None:
        """Let go of broker, teacher and threads; what was not checkpointed is read again."""
        # a question under way may take long: its claim expires, and its cost counts as spent
        waiting = threading.Thread(target=self.label.close, daemon=True)
        waiting.start()
        waiting.join(GRACE)
        self.consume.close()

    def _evaluate(self, now: float) -> bool:
        turn = self.evaluate.once(now)
        tidy(self._engine)
        return turn.judged > 0

    def _new_embed_loop(self, owner: str) -> EmbedLoop | None:
        """Build the loop that reads what tickets are about; None where nobody asks for it."""
        settings = self._settings
        embedder = make_embedder(settings.drift)
        if embedder is None or settings.drift.embedder is None:
            return None
        return EmbedLoop(
            self._engine,
            embedder,
            EmbedSettings(
                owner=owner,
                drift=settings.drift,
                texts=settings.drift.embedder.texts,
                salt=settings.sampling.salt(),
                idle_seconds=settings.evaluation.idle_seconds,
            ),
        )

    def _new_consumer(self) -> ConsumeLoop:
        return ConsumeLoop(self._engine, self._source(), self._consume_settings)

    def _rejoin(self) -> None:
        """Another process owns a shard of ours: leave, and join again as a newcomer."""
        with suppress(Exception):  # the source may be broken: it is thrown away
            self.consume.close()
        self.consume = self._new_consumer()


def _nothing() -> None:
    """Do nothing: a loop without a shard has nothing to make new."""


def make_source(table: SourceTable) -> Source:
    """Build the source that `[source]` describes; it connects at its first poll."""
    if table.kind == "kafka":
        from monitor.sources.kafka import KafkaSource  # a fifth of a second that files need not pay

        assert table.kafka is not None
        return KafkaSource(table.kafka)
    return JsonlSource.under(table.root, start=table.start)


def make_teacher(
    table: TeacherTable,
    labels: tuple[str, ...],
    *,
    wait: Callable[[float], bool] | None = None,
) -> Teacher:
    """Build the teacher that `[teacher]` describes.

    Parameters
    ----------
    wait: how it waits between two attempts, as `PatientTeacher` has it.

    Raises
    ------
    ConfigError: its key or file is not there.
    """
    if table.kind == "scripted":
        assert table.file is not None
        return ScriptedTeacher.from_file(table.file)
    assert table.http is not None
    teacher = HttpTeacher(msgspec.structs.replace(table.http, taxonomy=labels))
    return PatientTeacher(teacher, wait=wait)


def make_embedder(drift: DriftSettings) -> Embedder | None:
    """Build the embedder that `[drift.embedder]` describes; None where there is no such table.

    Raises
    ------
    ConfigError: its directory holds no model, or torch and transformers are not installed.
    """
    return None if drift.embedder is None else LocalEmbedder(Path(drift.embedder.model))


def make_channels(settings: MonitorSettings) -> dict[str, Channel]:
    """Build the channels that `[alerts.channels]` describes, by name.

    Raises
    ------
    ConfigError: a webhook without a URL or the secret that it should have, or with one that
        cannot be used.
    """
    return {
        name: _channel(name, table, settings.alerts.external_url)
        for name, table in settings.alerts.channels.items()
    }


def _channel(name: str, table: ChannelTable, external_url: str) -> Channel:
    if table.kind == "stdout":
        return StdoutChannel(name, sys.stdout)
    url = os.environ.get(table.url_env, "") if table.url_env else table.url
    if not url:
        raise ConfigError(
            f"channel {name}: there is no URL",
            next_step=f"set `alerts.channels.{name}.url`, or the variable that `url_env` names",
        )
    secret = os.environ.get(table.secret_env, "") if table.secret_env else ""
    if table.secret_env and not secret:
        raise ConfigError(
            f"channel {name}: ${table.secret_env} is not set, and its messages would go unsigned",
            next_step="set it; or leave `secret_env` out, if the receiver asks for no signature",
        )
    return WebhookChannel(name, url, secret=secret, allow=table.allow, external_url=external_url)
