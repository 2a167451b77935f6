"""The tables of `proctord.toml` that the monitor reads; deploy/proctord.toml explains each key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from monitor.canaries import CanarySettings
from monitor.comparators import COMPARATORS
from monitor.drift import DriftSettings
from monitor.gold import GoldSettings
from monitor.pipeline import PipelineSettings
from monitor.planning import SamplingSettings
from monitor.sources.kafka_settings import KafkaSettings
from monitor.teachers.http_settings import HttpTeacherSettings
from schemas.errors import ConfigError
from schemas.settings import FilePath, ProgramSettings, Section, table_of


class TaskTable(Section):
    """`[task]`: what the student is asked to do."""

    #: the labels it chooses from; empty: it answers in free text
    labels: tuple[str, ...] = ()
    #: how an answer is held against the teacher's: one of `monitor.comparators`
    comparator: str = "label"

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.comparator not in COMPARATORS:
            raise ValueError(
                f"there is no comparator {self.comparator!r}; known: {', '.join(COMPARATORS)}"
            )
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("a label stands twice in `labels`")
        return self


class SourceTable(Section):
    """`[source]`: where production's events come from."""

    model_config = ConfigDict(arbitrary_types_allowed=True)  # Kafka's settings are a msgspec type

    kind: Literal["jsonl", "kafka"] = "jsonl"
    #: of `jsonl`: a directory that holds `tickets/`, `answers/` and `feedback/`
    root: FilePath = Path("events")
    #: of `jsonl`: where files begin that were there before the first start
    start: Literal["earliest", "latest"] = "earliest"
    #: of `kafka`: brokers, group, topics, log-in
    kafka: Annotated[
        KafkaSettings | None,
        table_of(KafkaSettings, paths=("sasl_password_file", "ssl_cafile")),
    ] = Field(default=None, validate_default=False)
    #: a checkpoint is due after so many seconds, or so many records
    checkpoint_seconds: float = Field(default=2.0, gt=0)
    checkpoint_records: int = Field(default=20_000, ge=1)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind == "kafka" and self.kafka is None:
            raise ValueError("kind is kafka: write a table [source.kafka] with bootstrap_servers")
        return self


class SamplingTable(Section):
    """`[sampling]`: how much of the traffic the teacher is asked about."""

    #: mean probability that a ticket is drawn; estimates and alarms rest on these
    random_rate: float = Field(default=0.05, gt=0, le=1)
    #: whether tickets on which the student is likely to be wrong are drawn more often
    active: bool = True
    #: segments that matter more, by name (`channel=mail`), and their rate
    segments: dict[str, float] = Field(default_factory=dict)
    #: probability of the extra draw while a retraining wants labels
    requested_rate: float = Field(default=0.25, ge=0, le=1)
    #: the environment variable, or the file, that holds the secret of the draw. Without one the
    #: draw can be foreseen by whoever reads this source: fine for a trial, not for adversaries
    salt_env: str | None = None
    salt_file: FilePath | None = None

    @model_validator(mode="after")
    def _more_for_segments(self) -> Self:
        for name, rate in self.segments.items():
            if not self.random_rate <= rate <= 1:
                raise ValueError(
                    f"the rate of segment {name!r} is {rate}; it must lie between random_rate, "
                    f"which is {self.random_rate}, and 1"
                )
        return self

    @property
    def settings(self) -> SamplingSettings:
        """These rates, without the secret."""
        return SamplingSettings(
            random_rate=self.random_rate,
            requested_rate=self.requested_rate,
            segments=self.segments,
            active=self.active,
        )

    def salt(self) -> str:
        """Return the secret of the draw.

        Raises
        ------
        ConfigError: the variable is not set, or the file cannot be read.
        """
        if self.salt_env is not None:
            found = os.environ.get(self.salt_env)
            if not found:
                raise ConfigError(f"`sampling.salt_env`: ${self.salt_env} is not set")
            return found
        if self.salt_file is not None:
            try:
                return self.salt_file.read_text(encoding="utf-8").strip()
            except OSError as error:
                raise ConfigError(f"`sampling.salt_file`: {error}") from error
        return "proctord"


class TeacherTable(Section):
    """`[teacher]`: whom proctord asks."""

    model_config = ConfigDict(arbitrary_types_allowed=True)  # HTTP's settings are a msgspec type

    kind: Literal["http", "scripted"] = "http"
    #: of `http`: an OpenAI-compatible chat-completions server
    http: Annotated[
        HttpTeacherSettings | None, table_of(HttpTeacherSettings, paths=("key_file",))
    ] = Field(default=None, validate_default=False)
    #: of `scripted`: a file of recorded answers, `{id, text, teacher: {label, ...}}` a line
    file: FilePath | None = None
    #: questions under way at once, and claimed in one turn
    concurrency: int = Field(default=4, ge=1, le=64)
    batch: int = Field(default=64, ge=1)
    #: age in seconds at which an unanswered sample is given up
    deadline_seconds: float = Field(default=86_400.0, gt=0)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind == "http" and self.http is None:
            raise ValueError("kind is http: write a table [teacher.http] with base_url and model")
        if self.kind == "scripted" and self.file is None:
            raise ValueError("kind is scripted: name the `file` of recorded answers")
        return self


class EvaluationTable(Section):
    """`[evaluation]`: how often the evaluator looks, and on what its recent figure rests."""

    tick_seconds: float = Field(default=2.0, gt=0)
    recent_labels: int = Field(default=500, ge=50)
    #: how long after its queueing a sample may hold its window back, seconds
    label_wait_seconds: float = Field(default=3600.0, gt=0)
    #: a shard that wrote nothing for so long holds no window open, seconds
    idle_seconds: float = Field(default=60.0, gt=0)
    #: without events for so long the source is called stale, seconds
    stale_seconds: float = Field(default=900.0, gt=0)


class ChannelTable(Section):
    """`[alerts.channels.NAME]`: one way to reach people."""

    kind: Literal["stdout", "webhook"]
    #: of `webhook`: the URL, or the environment variable that holds it
    url: str | None = None
    url_env: str | None = None
    #: of `webhook`: the environment variable that holds the secret which signs the body
    secret_env: str | None = None
    #: of `webhook`: networks that the receiver may be in although they are not public
    allow: tuple[str, ...] = ()


class AlertsTable(Section):
    """`[alerts]`: who is told, and how often."""

    #: names this proctord among several that report to the same people
    instance: str = "proctord"
    #: an alert that goes on is told again after this, seconds
    repeat_seconds: float = Field(default=4 * 3600.0, gt=0)
    #: where people can look at this proctord, for links
    external_url: str = ""
    #: their names stand in keys of the journal's outbox, which hold 128 characters
    channels: dict[Annotated[str, Field(max_length=60)], ChannelTable] = Field(
        default_factory=lambda: {"terminal": ChannelTable(kind="stdout")}
    )


class MonitorSettings(ProgramSettings):
    """All that the monitor reads, beside the shared `[journal]` and `[contract]`."""

    task: TaskTable = TaskTable()
    source: SourceTable = SourceTable()
    pipeline: Annotated[PipelineSettings, table_of(PipelineSettings)] = PipelineSettings()
    sampling: SamplingTable = SamplingTable()
    teacher: TeacherTable
    gold: Annotated[GoldSettings, table_of(GoldSettings)] = GoldSettings()
    canaries: Annotated[CanarySettings, table_of(CanarySettings)] = CanarySettings()
    evaluation: EvaluationTable = EvaluationTable()
    drift: Annotated[DriftSettings, table_of(DriftSettings, paths=("embedder.model",))] = (
        DriftSettings()
    )
    alerts: AlertsTable = AlertsTable()

    @model_validator(mode="after")
    def _segments_of_the_traffic(self) -> Self:
        for segment in self.contract.segments:
            attribute = segment.split("=", 1)[0]
            if attribute not in self.pipeline.segment_by:
                raise ValueError(
                    f"contract.segments names `{segment}`, and `{attribute}` is not in "
                    "pipeline.segment_by: nobody would hold that traffic to it"
                )
        return self

    @model_validator(mode="after")
    def _whole_windows(self) -> Self:
        slice_seconds, window = self.drift.slice_seconds, self.pipeline.window_seconds
        if slice_seconds % window:
            raise ValueError(
                f"drift.slice_seconds is {slice_seconds:g}; it must be a multiple of "
                f"pipeline.window_seconds, which is {window:g}"
            )
        return self
