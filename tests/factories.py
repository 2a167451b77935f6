"""What tests are made of: events, records and a small world in which the student errs on cue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from monitor.sources import Record
from schemas.events import Answer, Event, Feedback, Ticket, encode
from schemas.samples import Label, Sample
from schemas.signals import Signal

#: Tuesday, 2 June 2026, 08:00 UTC: where the tests' clocks begin
START = 1780387200.0

_STREAM = {Ticket: "tickets", Answer: "answers", Feedback: "feedback"}


def when(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def ticket(
    ticket_id: str, at: float = START, text: str = "where is my parcel", **more: Any
) -> Ticket:
    return Ticket(ticket_id=ticket_id, at=when(at), text=text, **more)


def answer(
    ticket_id: str, at: float = START + 1, output: str = "tracking", model: str = "m1", **more: Any
) -> Answer:
    more.setdefault("confidence", 0.9)
    return Answer(ticket_id=ticket_id, at=when(at), output=output, model=model, **more)


def records(events: Iterable[Event], shard: int = 0) -> list[Record]:
    """One partition a stream, offsets from 0 in the order of the events."""
    offsets: dict[str, int] = {}
    found = []
    for event in events:
        stream = _STREAM[type(event)]
        offset = offsets.get(stream, 0)
        offsets[stream] = offset + 1
        found.append(
            Record(
                stream=stream,
                shard=shard,
                partition=f"{stream}/{shard}",
                offset=offset,
                next_offset=offset + 1,
                timestamp=None,
                key=None,
                value=encode(event),
                headers=(),
            )
        )
    return found


def traffic(
    outputs: Sequence[str], start: float = START, model: str = "m1", step: float = 1.0
) -> list[Event]:
    """A ticket every `step` seconds, each answered after half a second with the given output."""
    events: list[Event] = []
    for n, output in enumerate(outputs):
        at = start + n * step
        ticket_id = f"{model}-{n:06}"
        events.append(ticket(ticket_id, at, text=f"question number {n}"))
        events.append(answer(ticket_id, at + step / 2, output, model))
    return events


def sample(ticket_id: str, at: float = START, **more: Any) -> Sample:
    """A pair that the uniform draw chose."""
    known = {
        "text": f"text of {ticket_id}",
        "output": "tracking",
        "model": "m1",
        "served_by": "student",
        "confidence": 0.9,
        "segments": ("*",),
        "reason": "random",
        "inclusion_probability": 0.2,
    }
    return Sample(ticket_id=ticket_id, at=at, **(known | more))


def label(ticket_id: str, at: float = START, output: str | None = "tracking", **more: Any) -> Label:
    """What the teacher said; with `output` None it abstained."""
    known = {
        "teacher": "large",
        "prompt_hash": "p1",
        "abstained": "" if output else "invalid",
        "probabilities": (),
        "disagreement": None if output is None else 0.0,
        "comparator": "label",
        "latency_ms": 0.0,
        "input_tokens": 0,
        "output_tokens": 0,
        "cost_usd": 0.0,
    }
    return Label(ticket_id=ticket_id, at=at, output=output, **(known | more))


def signal(**more: Any) -> Signal:
    """The level detector pages for all traffic."""
    known = {
        "at": START,
        "detector": "level",
        "metric": "disagreement",
        "segment": "*",
        "model": "m1",
        "severity": "page",
        "statistic": 5.0,
        "threshold": 4.6,
        "n": 200,
        "interval": None,
        "sentence": "disagreement 20.0 %, limit 10.0 %",
    }
    return Signal(**(known | more))
