"""How fast the monitor's core is, and whether its memory stays flat.

    python -m tests.bench.bench_pipeline [--size small|full]

Half tickets and half answers, JSON of 634 bytes, two segment attributes, 5 % sampling, a
checkpoint every 20 000 events (its records are dropped). One core, one shard. Rows take turns
over the rounds and the best counts; making the messages is not timed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from random import Random
from typing import Literal

from monitor.pipeline import Pipeline, PipelineSettings, ShardState
from monitor.sampling import Sampler, SamplingPlan
from schemas.events import Stream, decode

SIZES = {"small": 100_000, "full": 400_000}
ROUNDS = 3
CHECKPOINT = 20_000  # events
START = 1_760_000_000.0  # seconds UTC
#: seconds of event time between two tickets, and tickets between a ticket and its answer
EVERY = 0.05
BEHIND = 20
EVENT_BYTES = 634
SETTINGS = PipelineSettings(segment_by=("channel", "language"))
SAMPLER = Sampler(SamplingPlan(random_rate=0.05), "bench")

Message = tuple[Stream, bytes]


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _padded(event: dict[str, object], field: str, words: str) -> bytes:
    missing = EVENT_BYTES - len(json.dumps(event))
    return json.dumps({**event, field: (words * EVENT_BYTES)[:missing]}).encode()


def _ticket(number: int, random: Random) -> bytes:
    event = {
        "ticket_id": f"ticket-{number:09d}",
        "at": _stamp(START + number * EVERY),
        "text": "",
        "attributes": {
            "channel": random.choice(["mail", "chat", "web", "phone"]),
            "language": random.choice(["de", "en", "fr", "es", "it"]),
        },
    }
    contact = " write to jo@example.org or call +49 30 1234567." if random.random() < 0.1 else ""
    return _padded(event, "text", f"My order {number} has not arrived, size 42,{contact} please. ")


def _answer(number: int, random: Random) -> bytes:
    intent = random.randrange(20) if random.random() < 0.08 else number % 20
    event = {
        "ticket_id": f"ticket-{number:09d}",
        "at": _stamp(START + number * EVERY + 0.9),
        "output": f"intent_{intent}",
        "model": "3f2a" * 16,
        "confidence": random.random(),
        "latency_ms": random.expovariate(0.05),
        "cost_usd": 0.00002,
        "trace": "",
    }
    return _padded(event, "trace", "a producer's own field, which we ignore; ")


def messages(events: int) -> Iterator[Message]:
    """Yield tickets, and their answers 20 tickets later; the teacher of ticket n says n % 20."""
    random = Random(7)
    tickets = events // 2
    for number in range(tickets + BEHIND):
        if number < tickets:
            yield "tickets", _ticket(number, random)
        if number >= BEHIND:
            yield "answers", _answer(number - BEHIND, random)


def chunks(events: int) -> Iterator[list[Message]]:
    """Yield the messages, a checkpoint's worth at a time."""
    stream = messages(events)
    while chunk := list(islice(stream, CHECKPOINT)):
        yield chunk


def measure_decode(events: int) -> float:
    """Return the events per second of decoding alone."""
    return _measure(events, "decode")


def measure_pipeline(events: int) -> float:
    """Return the events per second of decoding, feeding and taking checkpoints."""
    return _measure(events, "pipeline")


def _measure(events: int, what: Literal["decode", "pipeline"]) -> float:
    pipeline = Pipeline(SETTINGS, SAMPLER, ShardState(shard=0))
    now = START + events * EVERY / 2
    seen, spent = 0, 0.0
    for chunk in chunks(events):
        began = time.perf_counter()
        decoded = [decode(stream, value) for stream, value in chunk]
        if what == "pipeline":
            pipeline.feed(decoded, now)
            pipeline.checkpoint(now)
        spent += time.perf_counter() - began
        seen += len(chunk)
    return seen / spent


def measure_memory(marks: tuple[int, ...]) -> list[float]:
    """Return the resident megabytes after so many events of one pipeline."""
    pipeline = Pipeline(SETTINGS, SAMPLER, ShardState(shard=0))
    now = START + max(marks) * EVERY / 2
    resident, fed = [], 0
    for chunk in chunks(max(marks)):
        pipeline.feed([decode(stream, value) for stream, value in chunk], now)
        pipeline.checkpoint(now)
        fed += CHECKPOINT
        if fed in marks:
            resident.append(_resident())
    return resident


def _resident() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="small")
    size = parser.parse_args().size
    # first, while nothing else has left memory behind
    early, late = measure_memory((200_000, 1_000_000))
    rows = {"decode": measure_decode, "decode + pipeline": measure_pipeline}
    best = dict.fromkeys(rows, 0.0)
    for _ in range(ROUNDS):
        for name, measure in rows.items():
            best[name] = max(best[name], measure(SIZES[size]))
    print(f"{'':20}{'events/s':>10}{'us/event':>10}{'of decode':>10}")
    for name, rate in best.items():
        print(f"{name:20}{rate:10.0f}{1e6 / rate:10.2f}{rate / best['decode']:10.2f}")
    print(
        f"RSS after 200 k events {early:.0f} MB, after 1 M {late:.0f} MB: {late / early - 1:+.1%}"
    )


if __name__ == "__main__":
    main()
