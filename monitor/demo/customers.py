"""Who writes to the shop, and when: the rows of history, and the stream in which things change."""

from __future__ import annotations

import random
from typing import Final

import msgspec

from monitor.demo.grammar import Phrases, expand
from monitor.demo.shop import INTENTS, NEW_INTENTS, NEW_PHRASES, PHRASES

#: The shop's teacher is good, and not perfect: it names a neighbouring intent this often.
TEACHER_SLIPS: Final = 0.02
#: What one call to a large model costs here, US dollars, and how long it takes, milliseconds.
TEACHER_USD, TEACHER_MS = 0.0006, 650.0
#: After the change: how many tickets have a new intent, and how many speak of new things.
NEW_INTENT_SHARE, NEW_WORDS_SHARE = 0.30, 0.60


class Recorded(msgspec.Struct, frozen=True):
    """What the teacher says of a ticket."""

    label: str | None
    latency_ms: float = TEACHER_MS
    cost_usd: float = TEACHER_USD
    #: (label, probability), most probable first; may be empty
    probabilities: tuple[tuple[str, float], ...] = ()


class Row(msgspec.Struct, frozen=True):
    """One ticket, with the teacher's answer for when it is asked."""

    id: str
    text: str
    teacher: Recorded
    gold: str | None = None
    attributes: dict[str, str] = {}


class Scenario(msgspec.Struct, frozen=True):
    """A story: what the first student learned from, what comes then, and when it turns."""

    name: str
    taxonomy: tuple[str, ...]
    history: tuple[Row, ...]
    stream: tuple[Row, ...]
    #: index into `stream` of the first ticket after the change; None: nobody knows of one
    change_at: int | None
    #: customers after whom the story ends as soon as no alert fires; all of the stream: never
    #: before its end
    enough: int


def shoe_shop(seed: int, *, history: int, before: int, after: int, more: int = 0) -> Scenario:
    """Write a scenario of the shoe shop: the same seed tells the same story.

    `more` customers come after those of `after` as long as an alert still fires.
    """
    rng = random.Random(seed)  # noqa: S311 - a story, no secret
    old = tuple(_ticket(rng, f"h{n:06}", changed=False) for n in range(history))
    enough = before + after
    stream = tuple(_ticket(rng, f"s{n:06}", changed=n >= before) for n in range(enough + more))
    return Scenario(
        name="shoe shop",
        taxonomy=(*INTENTS, *NEW_INTENTS),
        history=old,
        stream=stream,
        change_at=before,
        enough=enough,
    )


def _ticket(rng: random.Random, ticket_id: str, *, changed: bool) -> Row:
    new_intent = changed and rng.random() < NEW_INTENT_SHARE
    intents = NEW_INTENTS if new_intent else INTENTS
    intent = rng.choice(list(intents))
    phrases = dict(PHRASES)
    if changed and rng.random() < NEW_WORDS_SHARE:
        phrases |= NEW_PHRASES
    return Row(
        id=ticket_id,
        text=_text(rng, intents[intent], phrases),
        teacher=_teacher(rng, intent, list(intents)),
        gold=intent,
        attributes={"channel": rng.choice(["mail", "chat", "chat"])},
    )


def _text(rng: random.Random, patterns: tuple[str, ...], phrases: Phrases) -> str:
    parts = ("<hello>", rng.choice(patterns), "<bye>")
    text = "".join(expand(part, phrases, rng) for part in parts)
    return text[0].upper() + text[1:] if rng.random() < 0.5 else text


def _teacher(rng: random.Random, intent: str, neighbours: list[str]) -> Recorded:
    said = rng.choice(neighbours) if rng.random() < TEACHER_SLIPS else intent
    latency = TEACHER_MS * rng.lognormvariate(0.0, 0.35)
    return Recorded(label=said, latency_ms=round(latency, 1), cost_usd=TEACHER_USD)


def from_rows(name: str, rows: list[Row], history: int) -> Scenario:
    """Make a scenario of recorded tickets: the first `history` of them taught the student."""
    # a label that only people give is one all the same: else their answers would not count
    labels = {label for row in rows for label in (row.teacher.label, row.gold) if label}
    return Scenario(
        name=name,
        taxonomy=tuple(sorted(labels)),
        history=tuple(rows[:history]),
        stream=tuple(rows[history:]),
        change_at=None,
        enough=len(rows) - history,
    )
