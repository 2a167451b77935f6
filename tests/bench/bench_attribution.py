"""Attribution: each cause is injected into a simulated shop, and what comes out is counted.

    python -m tests.bench.bench_attribution [--size small|full]

A shop with twelve intents, of which the student confuses some. For a day all is well; then, for
two hours, one thing changes. Some customers write the same short texts again and again, and
sentinels are asked in both periods, unless a row says otherwise. The table counts which cause came
first; "left: x" is the only one that nothing speaks against. The null row is the false alarms.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, replace
from random import Random
from zlib import crc32

from monitor.attribution import Answered, Attribution, Period, attribute
from monitor.features import Features
from schemas.samples import Label, Sample
from schemas.windows import Moments, WindowSummary

RUNS = {"small": 4, "full": 25}
WINDOW = 600.0
BEFORE, NOW = 144, 12  # windows
TICKETS = 90  # in a window
RATE = 0.1  # of them labelled
SENTINELS = 200
INTENTS = [f"intent{n}" for n in range(12)]
HARD, NEW = INTENTS[3], "locker"
WORDS = {name: [f"{name}word{n}" for n in range(25)] for name in (*INTENTS, NEW)}
COMMON = [f"common{n}" for n in range(60)]
CANNED = {name: [f"please help with {name} number {n}" for n in range(3)] for name in INTENTS}


@dataclass(frozen=True)
class World:
    """How the shop is at one time."""

    shares: tuple[float, ...] = tuple(1 / 12 for _ in INTENTS)
    #: share of the tickets that are about something the student never learned
    novel: float = 0.0
    #: share of the tickets with one of the short texts
    canned: float = 0.15
    #: chance that the student errs, on most intents and on the hard one
    error: float = 0.05
    hard_error: float = 0.4
    #: versions of the student and their shares; a worse one errs by so much more
    version: str = "m1"
    other: str = ""
    other_share: float = 0.0
    other_error: float = 0.0
    #: the serving: chance that an answer is taken from a text that was cut, and how long it takes
    cut: float = 0.0
    milliseconds: float = 30.0
    #: the teacher: answers of two intents that it exchanged since, its name, its prompt
    swapped: bool = False
    prompt: str = "p1"
    #: the judge: what of a spelling it forgives
    comparator: str = "label"
    #: sentinels asked
    sentinels: int = SENTINELS


def text_of(intent: str, rng: Random) -> str:
    words = [*rng.choices(WORDS[intent], k=4), *rng.choices(COMMON, k=6)]
    rng.shuffle(words)
    return " ".join(words)


def wrong(intent: str, rng: Random) -> str:
    return rng.choice([name for name in INTENTS if name != intent])


def student_answers(
    world: World, text: str, intent: str, error: float, rng: Random
) -> tuple[str, float]:
    """What the student says, and how sure it is: of one text always the same, unless it was cut."""
    if rng.random() < world.cut:
        return wrong(intent, rng), rng.betavariate(3, 3)
    own = Random(crc32(text.encode()))
    if intent == NEW:
        return INTENTS[5], own.betavariate(4, 2)
    if own.random() < (world.hard_error if intent == HARD else error):
        return wrong(intent, own), own.betavariate(4, 2)
    return intent, own.betavariate(12, 1)


def teacher_answers(world: World, text: str, intent: str, rng: Random) -> str:
    if world.swapped:
        intent = {INTENTS[0]: INTENTS[1], INTENTS[1]: INTENTS[0]}.get(intent, intent)
    if rng.random() < 0.02:  # it is not quite sure of itself
        return wrong(intent, rng)
    # it spells some of them its own way
    return intent.upper() if crc32(text.encode()) % 5 == 0 else intent


def loss_of(world: World, answer: str, label: str) -> float:
    forgiven = world.comparator == "label"
    return float((answer.lower() != label.lower()) if forgiven else answer != label)


def simulate(world: World, windows: int, start: int, rng: Random) -> Period:
    summaries, answered = [], []
    for number in range(start, start + windows):
        summary, asked = one_window(world, number, rng)
        summaries.append(summary)
        answered += asked
    for n in range(world.sentinels):
        intent = INTENTS[n % 12]
        text = f"{intent} sentinel {n}"
        first = intent  # the answer that is known
        label = teacher_answers(world, text, intent, rng).lower()
        answered.append(made(world, f"s{start}-{n}", text, first, label, "sentinel", 0.0, "m1"))
    return Period(summaries, answered)


def one_window(world: World, number: int, rng: Random) -> tuple[WindowSummary, list[Answered]]:
    empty = WindowSummary(segment="*", start=number * WINDOW, length=WINDOW)
    features = Features(empty)
    classes: Counter[str] = Counter()
    models: Counter[str] = Counter()
    answered, sure, taken = [], 0.0, 0.0
    count = round(rng.gauss(TICKETS, TICKETS**0.5))
    for n in range(count):
        text, intent = asked(world, rng)
        model, error = world.version, world.error
        if rng.random() < world.other_share:
            model, error = world.other, world.other_error
        output, confidence = student_answers(world, text, intent, error, rng)
        milliseconds = world.milliseconds * rng.lognormvariate(0, 0.3)
        features.add(text, text_length=len(text), confidence=confidence, latency_ms=milliseconds)
        sure, taken = sure + confidence, taken + milliseconds
        classes[output] += 1
        models[model] += 1
        if rng.random() < RATE:
            label = teacher_answers(world, text, intent, rng)
            ticket_id = f"{number}-{n}"
            answered.append(
                made(world, ticket_id, text, output, label, "random", confidence, model)
            )
    summary = WindowSummary(
        segment="*",
        start=number * WINDOW,
        length=WINDOW,
        pairs=count,
        models=dict(models),
        classes=dict(classes),
        confidence=Moments(count, sure, sure),
        latency_ms=Moments(count, taken, taken),
        **features.summary(),
    )
    return summary, answered


def asked(world: World, rng: Random) -> tuple[str, str]:
    if rng.random() < world.novel:
        return text_of(NEW, rng), NEW
    intent = rng.choices(INTENTS, world.shares)[0]
    if rng.random() < world.canned:
        return rng.choice(CANNED[intent]), intent
    return text_of(intent, rng), intent


def made(
    world: World,
    ticket_id: str,
    text: str,
    output: str,
    label: str,
    reason: str,
    confidence: float,
    model: str,
) -> Answered:
    sample = Sample(
        ticket_id=ticket_id,
        at=0.0,
        text=text,
        output=output,
        model=model,
        served_by="student",
        confidence=confidence,
        segments=("*",),
        reason=reason,
        inclusion_probability=RATE,
    )
    given = Label(
        ticket_id=ticket_id,
        at=0.0,
        teacher="large",
        prompt_hash=world.prompt,
        output=label,
        abstained="",
        probabilities=(),
        disagreement=loss_of(world, output, label),
        comparator=world.comparator,
        latency_ms=0.0,
        input_tokens=0,
        output_tokens=0,
        cost_usd=0.0,
    )
    return Answered(sample, given, RATE)


CALM = World()
#: what the world is before and now, and what should come first
CASES: dict[str, tuple[World, World, tuple[str, ...]]] = {
    "nothing": (CALM, CALM, ("none",)),
    "inputs: more of a hard intent": (
        CALM,
        replace(CALM, shares=tuple(0.4 if i == HARD else 0.6 / 11 for i in INTENTS)),
        ("inputs",),
    ),
    "inputs: a new topic": (CALM, replace(CALM, novel=0.15), ("inputs",)),
    "teacher: another model, same name": (CALM, replace(CALM, swapped=True), ("teacher",)),
    "teacher: without sentinels": (
        replace(CALM, sentinels=0, canned=0.4),
        replace(CALM, sentinels=0, canned=0.4, swapped=True),
        ("teacher", "left: teacher"),
    ),
    "teacher: and nothing repeats": (
        replace(CALM, sentinels=0, canned=0.0),
        replace(CALM, sentinels=0, canned=0.0, swapped=True),
        ("left: teacher",),
    ),
    "teacher: another prompt": (CALM, replace(CALM, swapped=True, prompt="p2"), ("teacher",)),
    "student: a worse version": (
        CALM,
        replace(CALM, other="m2", other_share=0.5, other_error=0.35),
        ("student",),
    ),
    "serving: texts are cut": (CALM, replace(CALM, cut=0.15, milliseconds=15.0), ("serving",)),
    "serving: and nothing repeats": (
        replace(CALM, canned=0.0),
        replace(CALM, canned=0.0, cut=0.15, milliseconds=15.0),
        ("serving",),
    ),
    "judge: spelling counts": (CALM, replace(CALM, comparator="exact"), ("judge",)),
}
OUTCOMES = ("inputs", "teacher", "student", "serving", "judge", "left: teacher", "none")
#: share of the runs of a row that must come out as expected
ENOUGH = 0.75


def first(found: Attribution) -> str:
    """Name the cause that comes first, or the only one that is left."""
    changed = [cause.name for cause in found.causes if cause.verdict == "changed"]
    if changed:
        return changed[0]
    if "what is left is" in found.sentence:
        return "left: " + next(c.name for c in found.causes if c.verdict == "unknown")
    return "none"


def run(before: World, now: World, seed: str) -> Attribution:
    """Let a day and then two hours pass, and ask what changed."""
    rng = Random(seed)
    return attribute(simulate(before, BEFORE, 0, rng), simulate(now, NOW, BEFORE, rng))


def main() -> None:
    """Inject each cause and print how often which came first."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=RUNS, default="small")
    runs = RUNS[parser.parse_args().size]
    print(f"{'injected':36}" + "".join(f"{name:>15}" for name in OUTCOMES) + f"{'other':>8}")
    sentences, missed = [], []
    for name, (before, now, expected) in CASES.items():
        found: Counter[str] = Counter()
        for seed in range(runs):
            told = run(before, now, f"{name} {seed}")
            found[first(told)] += 1
        sentences.append((name, told.sentence))
        other = found.total() - sum(found[outcome] for outcome in OUTCOMES)
        print(f"{name:36}" + "".join(f"{found[o]:15}" for o in OUTCOMES) + f"{other:8}")
        right = sum(found[outcome] for outcome in expected)
        if right < ENOUGH * runs:
            missed.append(f"{name}: right in {right} of {runs} runs")
    print("\nthe last run of each:")
    for name, sentence in sentences:
        print(f"  {name}\n      {sentence}")
    if missed:
        sys.exit("target missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
