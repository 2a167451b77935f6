"""The journal: the tables in which the two programs meet.

Rules of the house: times are epoch seconds (Float), records that are read whole are JSON bytes
of the `schemas` type named beside them, and columns exist for what SQL has to find, order or
guard. No column holds text that was not redacted, except `dead_letter`, whose bytes must stay
as they came.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

#: 64-bit everywhere; SQLite gives rowids to INTEGER primary keys only
BigId: Final = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _column(name: str, kind: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=options.pop("nullable", False), **options)


def _key(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=True)


# --- consuming -----------------------------------------------------------------------------

#: One row a shard: who owns it, and the state of its pipeline that is not in other tables.
shard = sa.Table(
    "shard",
    metadata,
    _key("shard", sa.Integer),
    _column("owner", sa.String(128)),
    #: raised by each new owner: a write under an older epoch is refused
    _column("epoch", sa.Integer),
    #: newest event time seen, less the lateness that is waited for
    _column("watermark", sa.Float),
    #: totals since the first start: pairs, late, duplicate, expired, evicted, dead letters, ...
    _column("counters", sa.JSON),
    #: what else the pipeline needs to go on: its clocks and the segments it admitted
    _column("memory", sa.LargeBinary),
    _column("updated_at", sa.Float),
)

#: Where each partition of the source goes on: the offset of the next record to read.
source_position = sa.Table(
    "source_position",
    metadata,
    _key("partition", sa.String(512)),
    _column("shard", sa.Integer, index=True),
    _column("next_offset", sa.BigInteger),
)

#: Tickets that wait for their answer, and answers that came first (`monitor.pairing.Waiting`).
pending = sa.Table(
    "pending",
    metadata,
    _key("shard", sa.Integer),
    _key("ticket_id", sa.String(256)),
    _column("body", sa.LargeBinary),
)

#: Identities of finished tickets, 8 bytes each, in blocks that are written once when full.
seen_block = sa.Table(
    "seen_block",
    metadata,
    _key("shard", sa.Integer),
    _key("sequence", sa.Integer),
    _column("hashes", sa.LargeBinary),
)

#: `schemas.windows.WindowSummary`, one row a shard; readers merge the shards.
window = sa.Table(
    "window",
    metadata,
    _key("segment", sa.String(256)),
    _key("start", sa.Float),
    _key("shard", sa.Integer),
    _column("body", sa.LargeBinary),
    sa.Index("ix_window_start", "start"),
)

#: Messages that could not be used, as they came.
dead_letter = sa.Table(
    "dead_letter",
    metadata,
    _key("id", BigId),
    _column("at", sa.Float, index=True),
    _column("topic", sa.String(256)),
    _column("partition", sa.String(512)),
    _column("offset", sa.BigInteger),
    #: where people find the partition: a file's path, as it was then
    _column("place", sa.String(1024)),
    _column("stage", sa.String(32)),
    _column("field", sa.String(256)),
    _column("message", sa.String(1024)),
    _column("key", sa.LargeBinary, nullable=True),
    _column("value", sa.LargeBinary, nullable=True),
    #: [[name, base64 of the value], ...]
    _column("headers", sa.JSON),
    #: when the producer or broker stamped it, seconds UTC
    _column("timestamp", sa.Float, nullable=True),
    sa.UniqueConstraint("partition", "offset"),
)

#: `monitor.sampling.SamplingPlan`: the newest version holds; windows and samples name theirs.
plan = sa.Table(
    "plan",
    metadata,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    _column("at", sa.Float),
    _column("body", sa.LargeBinary),
)

# --- labels --------------------------------------------------------------------------------

#: `schemas.samples.Sample`. state: waiting -> claimed -> labelled | abstained | lost
sample = sa.Table(
    "sample",
    metadata,
    _key("ticket_id", sa.String(256)),
    _column("at", sa.Float, index=True),
    _column("reason", sa.String(16)),
    _column("model", sa.String(128)),
    #: start of the window in whose strata the ticket is counted
    _column("window", sa.Float, index=True),
    #: when it was written here, seconds UTC: what patience with a silent teacher is counted from
    _column("queued_at", sa.Float),
    _column("state", sa.String(16), index=True),
    _column("claimed_by", sa.String(128)),
    #: a claim older than this may be taken by another labeller
    _column("claimed_until", sa.Float),
    _column("attempts", sa.Integer),
    #: not before this: the teacher asked us to wait
    _column("not_before", sa.Float),
    #: money set aside for the call that is under way, and the day whose budget it came from
    _column("reserved_usd", sa.Float),
    _column("reserved_day", sa.String(10)),
    _column("body", sa.LargeBinary),
)

#: `schemas.samples.Label`
label = sa.Table(
    "label",
    metadata,
    _key("ticket_id", sa.String(256)),
    #: event time of the ticket, not of the label
    _column("at", sa.Float, index=True),
    _column("labelled_at", sa.Float),
    _column("reason", sa.String(16)),
    _column("model", sa.String(128)),
    #: NULL for an abstention
    _column("disagreement", sa.Float, nullable=True),
    _column("body", sa.LargeBinary),
    sa.Index("ix_label_model_at", "model", "at"),
)

#: `schemas.samples.Gold`
gold = sa.Table(
    "gold",
    metadata,
    _key("ticket_id", sa.String(256)),
    _column("at", sa.Float, index=True),
    _column("body", sa.LargeBinary),
)

#: `schemas.teachers.TeacherStanding`, one row a generation of the teacher.
teacher = sa.Table(
    "teacher",
    metadata,
    _key("generation", sa.String(32)),
    #: when it took over, the last time: the newest row is the teacher of now
    _column("since", sa.Float, index=True),
    _column("body", sa.LargeBinary),
)

#: `monitor.estimation.gold.Agreement`: sums of the labels that people may be asked about.
agreement = sa.Table(
    "agreement",
    metadata,
    _key("teacher", sa.String(32)),
    _key("model", sa.String(128)),
    _column("body", sa.LargeBinary),
)

#: Labelled tickets that were drawn for a person to check, and what became of it.
gold_draw = sa.Table(
    "gold_draw",
    metadata,
    _key("ticket_id", sa.String(256)),
    _column("at", sa.Float),
    _column("drawn_at", sa.Float, index=True),
    #: generation of the teacher and version of the student that are checked
    _column("teacher", sa.String(32)),
    _column("model", sa.String(128)),
    #: that it was asked of the teacher, and that it was then shown to a person
    _column("inclusion_probability", sa.Float),
    _column("gold_probability", sa.Float),
    _column("disagreement", sa.Float),
    #: time of the person's answer that was counted; NULL while there is none
    _column("gold_at", sa.Float, nullable=True),
    #: losses against the person's answer
    _column("student_loss", sa.Float, nullable=True),
    _column("teacher_loss", sa.Float, nullable=True),
    sa.Index("ix_gold_draw_teacher_model", "teacher", "model"),
)

#: Tickets that a generation of the teacher answered, kept to ask it again.
canary = sa.Table(
    "canary",
    metadata,
    _key("teacher", sa.String(32)),
    _key("number", sa.Integer),
    #: `schemas.samples.Sample` with the teacher's first answer as its output
    _column("body", sa.LargeBinary),
)

#: The times that they were asked again.
canary_round = sa.Table(
    "canary_round",
    metadata,
    #: whose canaries they are
    _key("teacher", sa.String(32)),
    _key("round", sa.Integer),
    _column("asked_at", sa.Float, index=True),
    #: NULL while answers are missing; then how many there were, and how many differed
    _column("judged_at", sa.Float, nullable=True),
    _column("answers", sa.Integer),
    _column("changed", sa.Integer),
)

#: What the teacher cost: reserved before a call, settled after it.
spend = sa.Table(
    "spend",
    metadata,
    _key("day", sa.String(10)),
    _column("reserved_usd", sa.Float),
    _column("settled_usd", sa.Float),
    _column("calls", sa.Integer),
)

# --- judging -------------------------------------------------------------------------------

#: State of one detector on one stream of one student's generation.
detector_state = sa.Table(
    "detector_state",
    metadata,
    _key("detector", sa.String(32)),
    _key("metric", sa.String(32)),
    _key("segment", sa.String(256)),
    _key("model", sa.String(128)),
    _column("body", sa.LargeBinary),
    _column("updated_at", sa.Float),
)

#: `monitor.drift.topics.EmbeddedSlice`: what sampled tickets of a slice are about, in counts.
embedded_slice = sa.Table(
    "embedded_slice",
    metadata,
    sa.Column("start", sa.Float, primary_key=True),
    #: name of the map that it was counted by
    _column("topic_map", sa.String(128)),
    _column("body", sa.LargeBinary),
)

#: `monitor.estimation.quality.JudgedWindow`: what each window said of a student in a segment.
judged_window = sa.Table(
    "judged_window",
    metadata,
    _key("segment", sa.String(256)),
    _key("model", sa.String(128)),
    _key("start", sa.Float),
    _column("end", sa.Float),
    _column("tickets", sa.BigInteger),
    _column("labels", sa.BigInteger),
    _column("lost", sa.BigInteger),
    #: of the scores of all tickets: their sum, and that of their squares
    _column("total", sa.Float),
    _column("squares", sa.Float),
    #: of the losses of the uniform draw
    _column("uniform_n", sa.BigInteger),
    _column("uniform_total", sa.Float),
    _column("uniform_squares", sa.Float),
)

#: Named numbers that the evaluator keeps: how far windows were read, how many labels training
#: wants, and the like.
number = sa.Table(
    "number",
    metadata,
    _key("name", sa.String(64)),
    _column("value", sa.Float),
)

#: `schemas.signals.Signal`
signal = sa.Table(
    "signal",
    metadata,
    _key("id", BigId),
    _column("at", sa.Float, index=True),
    _column("detector", sa.String(32)),
    _column("metric", sa.String(32)),
    _column("segment", sa.String(256)),
    _column("model", sa.String(128)),
    _column("severity", sa.String(8)),
    _column("body", sa.LargeBinary),
)

#: `monitor.estimation.QualityEstimate`: one point of the quality curve
estimate = sa.Table(
    "estimate",
    metadata,
    _key("id", BigId),
    _column("at", sa.Float, index=True),
    _column("segment", sa.String(256)),
    _column("model", sa.String(128)),
    #: whether no newer point of this student in this segment is there
    _column("newest", sa.Boolean),
    _column("body", sa.LargeBinary),
    sa.Index("ix_estimate_newest", "newest", "model", "segment"),
)

# --- telling -------------------------------------------------------------------------------

#: `schemas.alerts.Alert`: a condition and what became of it
alert = sa.Table(
    "alert",
    metadata,
    _key("id", BigId),
    _column("dedup_key", sa.String(32)),
    _column("name", sa.String(64)),
    _column("severity", sa.String(8)),
    _column("state", sa.String(16)),
    _column("started_at", sa.Float),
    _column("ended_at", sa.Float, nullable=True),
    _column("updated_at", sa.Float),
    _column("body", sa.LargeBinary),
    #: at most one alert fires for one condition
    sa.Index(
        "uq_alert_firing",
        "dedup_key",
        unique=True,
        sqlite_where=sa.text("state = 'firing'"),
        postgresql_where=sa.text("state = 'firing'"),
    ),
)

#: `schemas.alerts.Notification`: what has to leave, and whether it did
outbox = sa.Table(
    "outbox",
    metadata,
    _key("id", BigId),
    #: one delivery for each alert, change of state and channel
    _column("idempotency_key", sa.String(128), unique=True),
    _column("channel", sa.String(64)),
    _column("created_at", sa.Float),
    _column("next_attempt_at", sa.Float),
    _column("attempts", sa.Integer),
    _column("sent_at", sa.Float, nullable=True),
    #: True when no attempt is left: counted, shown, never tried again
    _column("given_up", sa.Boolean),
    _column("last_error", sa.String(1024)),
    _column("body", sa.LargeBinary),
)

# --- retraining ----------------------------------------------------------------------------

#: `schemas.decisions.Decision`
decision = sa.Table(
    "decision",
    metadata,
    _key("id", BigId),
    _column("at", sa.Float, index=True),
    _column("lane", sa.String(64)),
    _column("action", sa.String(16)),
    _column("rule", sa.String(32)),
    _column("body", sa.LargeBinary),
)

#: `schemas.runs.Run`
run = sa.Table(
    "run",
    metadata,
    _key("run_id", sa.String(64)),
    _column("lane", sa.String(64)),
    _column("state", sa.String(16), index=True),
    _column("requested_at", sa.Float),
    _column("updated_at", sa.Float),
    _column("body", sa.LargeBinary),
    #: one live run a lane, whatever two processes believe
    sa.Index(
        "uq_run_live",
        "lane",
        unique=True,
        sqlite_where=sa.text(
            "state IN ('requested', 'building', 'training', 'evaluating', 'gated')"
        ),
        postgresql_where=sa.text(
            "state IN ('requested', 'building', 'training', 'evaluating', 'gated')"
        ),
    ),
)

#: Artefacts whose manifest was verified: the sha256 of the manifest is the name.
artefact = sa.Table(
    "artefact",
    metadata,
    _key("artefact_id", sa.String(64)),
    _column("lane", sa.String(64)),
    _column("run_id", sa.String(64)),
    _column("parent", sa.String(64)),
    _column("created_at", sa.Float),
)

#: One row for each change of champion; the newest version of a lane is the champion.
champion = sa.Table(
    "champion",
    metadata,
    _key("lane", sa.String(64)),
    _key("version", sa.Integer),
    _column("artefact_id", sa.String(64)),
    _column("since", sa.Float),
    _column("actor", sa.String(128)),
    _column("reason", sa.Text),
)

#: Due times that were claimed: a second process that wants the same one gets a conflict.
schedule = sa.Table(
    "schedule",
    metadata,
    _key("name", sa.String(64)),
    _key("due_at", sa.Float),
    _column("claimed_at", sa.Float),
)

# --- both ----------------------------------------------------------------------------------

#: `schemas.acceptance.Acceptance`: contracts that people accepted; the newest one counts. Rows
#: are only ever added.
contract = sa.Table(
    "contract",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    _column("body", sa.LargeBinary),
)

#: Who leads: a lease with a token that grows at each change of holder.
lease = sa.Table(
    "lease",
    metadata,
    _key("name", sa.String(64)),
    _column("holder", sa.String(128)),
    _column("token", sa.Integer),
    _column("expires_at", sa.Float),
)

#: How each part of each process fares: written by the part itself, read by status and alerts.
health = sa.Table(
    "health",
    metadata,
    _key("component", sa.String(32)),
    _key("instance", sa.String(128)),
    _column("updated_at", sa.Float),
    _column("body", sa.JSON),
)

#: Who did what, when and why. Rows are only ever added.
audit = sa.Table(
    "audit",
    metadata,
    _key("id", BigId),
    _column("at", sa.Float, index=True),
    _column("actor", sa.String(128)),
    _column("action", sa.String(64)),
    _column("subject", sa.String(256)),
    _column("reason", sa.Text),
    _column("detail", sa.JSON),
)
