"""What production publishes: tickets, the answers they got, and what people thought of them.

Each event comes as plain JSON, or as a CloudEvents 1.0 event (structured JSON, or binary with
the attributes in Kafka headers). The stream that a message came from says which of the three it
must be. Unknown fields are ignored, so that producers may add theirs; an unknown major version
is refused, because its fields may mean something else.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Stream = Literal["tickets", "answers", "feedback"]

#: The major version of the three shapes below: CloudEvents types end in `.v1`.
MAJOR_VERSION = 1

TicketId = Annotated[str, Meta(min_length=1, max_length=200)]
Time = Annotated[datetime, Meta(tz=True)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Ratio = Annotated[float, Meta(ge=0, le=1)]
Amount = Annotated[float, Meta(ge=0)]


class Ticket(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a customer asked."""

    ticket_id: TicketId
    #: when it was asked
    at: Time
    text: str
    #: properties to segment traffic by: `{"channel": "mail", "language": "de"}`
    attributes: dict[str, str] = {}
    #: who asked: never stored or shown as it is
    customer_id: str | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What production replied to a ticket, and who served it."""

    ticket_id: TicketId
    #: when it was answered
    at: Time
    #: a label of the taxonomy, or free text
    output: str
    #: `student`, `teacher` (routed past the student) or `human`
    served_by: Literal["student", "teacher", "human"] = "student"
    #: version of the model that answered: for a student, the artefact's id
    model: Name
    #: the model's own probability that it is right
    confidence: Ratio | None = None
    latency_ms: Amount | None = None
    cost_usd: Amount | None = None


class Feedback(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a person thought of an answer: it arrives late, or never."""

    ticket_id: TicketId
    at: Time
    #: production's answer was right; or `output` is what it should have been
    accepted: bool
    output: str | None = None
    #: who judged: a role or a pseudonym
    by: Name = "agent"


Event = Ticket | Answer | Feedback
