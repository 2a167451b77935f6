"""`proctord replay`: a journal in memory, recorded answers, and the core as it always is."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import sqlalchemy as sa

from monitor.app import Monitor, make_source, make_teacher
from monitor.canaries import NO_CANARIES
from monitor.config import MonitorSettings
from monitor.garbage import calm_collector
from monitor.replay import Policy, replay
from monitor.store import evaluation, labelling, reading
from monitor.teachers import Teacher
from monitor.teachers.scripted import ScriptedTeacher
from monitor.watermark import LEAP
from schemas.errors import ConfigError
from schemas.journal import ensure_schema, open_journal


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """How much was replayed."""

    records: int
    labels: int
    #: tickets and answers dated a month after the others, which were not believed
    from_future: int


def run_backtest(
    root: Path,
    settings: MonitorSettings,
    *,
    lane: str,
    labels: Path | None,
    policy: Callable[[sa.Engine], Policy],
    write: Callable[[str], None],
) -> Replayed:
    """Replay the events below `root` and write one line for each signal and decision.

    Raises
    ------
    ConfigError: there are no events there, or no recorded answers to judge them by.
    """
    if not (root / "tickets").is_dir():
        raise ConfigError(
            f"{root} holds no directory `tickets`",
            next_step="name the directory that holds tickets/, answers/ and feedback/",
        )
    engine = open_journal("sqlite://")
    ensure_schema(engine)
    source = settings.source.model_copy(update={"kind": "jsonl", "root": root})
    monitor = Monitor(
        _for_history(settings),
        engine,
        lane=lane,
        source=lambda: make_source(source),
        teacher=_recorded(settings, labels),
        channels={},
        daily_usd=math.inf,  # recorded answers were paid for once
    )
    calm_collector()
    every = settings.pipeline.window_seconds
    for finding in replay(monitor, engine, policy(engine), every=every):
        write(finding.line())
    monitor.close()
    with engine.begin() as connection:
        counted = reading.counters(connection)
        # those at the very beginning, before there was anything to hold them against
        beyond = (monitor.consume.watermark or math.inf) + LEAP
        stray = evaluation.windows(connection, after=beyond, until=math.inf, segment="*")
        states = labelling.sample_states(connection)
    return Replayed(
        records=sum(counted.get(stream, 0) for stream in ("tickets", "answers", "feedback")),
        labels=states.get("labelled", 0),
        from_future=counted.get("clock_skew", 0) + sum(window.pairs for window in stray),
    )


def _for_history(settings: MonitorSettings) -> MonitorSettings:
    """Take event times as they are, and ask nothing that was not recorded.

    History is not too old, and there is no clock to hold its times against but its own.
    """
    pipeline = msgspec.structs.replace(
        settings.pipeline, max_past_seconds=math.inf, max_future_seconds=math.inf
    )
    return settings.model_copy(update={"pipeline": pipeline, "canaries": NO_CANARIES})


def _recorded(settings: MonitorSettings, labels: Path | None) -> Teacher:
    if labels is not None:
        return ScriptedTeacher.from_file(labels)
    if settings.teacher.kind == "scripted":
        return make_teacher(settings.teacher, settings.task.labels)
    raise ConfigError(
        "a replay asks no teacher, and there are no recorded answers",
        next_step="name them: `--labels FILE`, rows of {id, text, teacher: {label}}",
    )
