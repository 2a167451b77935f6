"""What the daemon hands to a training child, and what the child leaves behind.

A run's directory holds `order.json`, `labels.jsonl` (`LabelledRow`, one a line: everything that
may be learned from, redacted, chosen by the daemon), then what the child writes: `heartbeat.json`,
`dataset/`, checkpoints, `result.json` (written last).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.samples import SampleReason

#: `train`: build the dataset, train, register, score. `score`: only score, on fresh rows.
Task = Literal["train", "score"]
Phase = Literal["building", "training", "evaluating", "done"]


class LabelledRow(msgspec.Struct, frozen=True, kw_only=True):
    """One labelled ticket."""

    ticket_id: str
    #: event time of the ticket, seconds UTC
    at: float
    text: str
    #: the teacher's answer, and its distribution (most probable first, may be cut off or empty)
    output: str
    probabilities: tuple[tuple[str, float], ...]
    reason: SampleReason
    inclusion_probability: float
    #: a human's answer, where there is one
    gold: str | None = None


class TrainSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a student is taught. Defaults were measured on two CPU cores; see LOG.md."""

    #: `scratch`, or the directory of a model to start the first student from
    base: str = "scratch"
    #: layers of a base model that are taught, from the top; 0: all of them
    taught_layers: int = 2
    #: size of a student that starts from scratch
    layers: int = 2
    hidden: int = 128
    vocabulary: int = 4096
    max_tokens: int = 64
    #: tokens of one batch, padding included
    token_budget: int = 512
    #: passes over the data: from scratch or a base model, and when going on from a champion
    epochs: float = 6.0
    epochs_warm: float = 2.0
    learning_rate: float = 1e-3
    learning_rate_warm: float = 1e-3
    #: share of the teacher's distribution in the loss, and its temperature
    alpha: float = 0.5
    temperature: float = 2.0
    #: how much more a recent row weighs than an archived one
    recent_weight: float = 3.0
    #: rows of the archive that are rehearsed
    archive_rows: int = 20_000
    #: a checkpoint every so many seconds
    save_seconds: float = 30.0


class WorkOrder(msgspec.Struct, frozen=True, kw_only=True):
    """`order.json`."""

    task: Task
    run_id: str
    lane: str
    #: the daemon that wrote this order; a child of an older epoch registers nothing
    epoch: int
    seed: int
    threads: int
    #: directory of the registry's artefacts, and the artefacts to load, "" for none
    artefacts: str
    champion: str
    #: only for `score`: the artefact that the run made
    challenger: str = ""
    #: rows newer than this are recent; older ones are the archive, seconds UTC
    recent_since: float
    settings: TrainSettings
    #: hash of the contract, for the lineage
    contract: str = ""


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """`heartbeat.json`: replaced every few seconds while the child lives."""

    epoch: int
    pid: int
    #: seconds UTC
    at: float
    phase: Phase
    step: int
    steps: int
    loss: float | None
    tokens_per_second: float
    rss_bytes: int


class ScoredRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `scores.jsonl`: a held-out row as both students answer it."""

    ticket_id: str
    #: which set: `holdout_recent`, `fresh`
    part: str
    label: str
    gold: str | None
    challenger: str
    challenger_confidence: float
    #: None when there is no champion
    champion: str | None
    champion_confidence: float | None
    inclusion_probability: float


class WorkResult(msgspec.Struct, frozen=True, kw_only=True):
    """`result.json`: present and whole, or the child did not finish."""

    run_id: str
    epoch: int
    ok: bool
    #: why not, for people
    failure: str = ""
    artefact_id: str = ""
    dataset: str = ""
    rows_train: int = 0
    rows_recent: int = 0
    rows_holdout: int = 0
    steps: int = 0
    seconds: float = 0.0
