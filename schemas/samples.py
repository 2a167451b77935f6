"""What travels between sampling, labelling and learning: pair, sample, label, gold."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

#: Why a pair was chosen: by the uniform draw, because an error is likelier or dearer there, because
#: training asked for it, or planted.
SampleReason = Literal["random", "risky", "requested", "sentinel"]

#: The reasons whose samples estimates rest on, each with its stratum's probability.
ESTIMATED: Final = ("random", "risky")

#: The model of a label that was imported: no student of ours had answered its ticket.
HISTORY: Final = "history"


class Pair(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A ticket joined with its answer by `ticket_id`."""

    ticket_id: str
    #: event time of the ticket and of its answer, seconds UTC
    asked_at: float
    answered_at: float
    #: as the customer wrote it: never stored or shown before redaction
    text: str
    #: what production replied: a label of the taxonomy, or free text
    output: str
    #: version of the model that answered
    model: str
    served_by: str
    confidence: float | None
    latency_ms: float | None
    cost_usd: float | None
    #: `*` first, then one `name=value` for each configured attribute
    segments: tuple[str, ...]


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A pair chosen for the teacher. Its texts are redacted."""

    ticket_id: str
    #: event time of the ticket, seconds UTC
    at: float
    text: str
    output: str
    model: str
    served_by: str
    confidence: float | None
    segments: tuple[str, ...]
    reason: SampleReason
    #: probability with which this pair was drawn for this reason, in (0, 1]
    inclusion_probability: float
    #: version of the sampling plan it was drawn under, and its stratum in that plan
    plan: int = 0
    stratum: int = 0
    #: start of the window in whose `strata` it is counted, event time, seconds UTC
    window: float = 0.0


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """The teacher's answer to a sampled ticket; an abstention when it gave none that is valid."""

    ticket_id: str
    #: when the answer arrived, seconds UTC
    at: float
    #: the model that answered, and the hash of the prompt it was given
    teacher: str
    prompt_hash: str
    #: the label or text; None when the teacher abstained
    output: str | None
    #: why there is no output (`invalid`, `refused`, `truncated`), or ""
    abstained: str
    #: the teacher's distribution, most probable first; what is missing from 1 is spread evenly
    probabilities: tuple[tuple[str, float], ...]
    #: loss in [0, 1] between production's answer and this one; None on abstention
    disagreement: float | None
    comparator: str
    latency_ms: float
    input_tokens: int
    output_tokens: int
    cost_usd: float


class Gold(msgspec.Struct, frozen=True, kw_only=True):
    """A human's answer to a ticket, or their confirmation of production's."""

    ticket_id: str
    at: float
    #: the human's answer; None with `accepted` True: production's answer was right
    output: str | None
    accepted: bool
    by: str
