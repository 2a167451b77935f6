"""How often the bands of an estimate ever miss the truth while somebody looks on.

    python -m tests.bench.bench_bands [--size small|full]

Tickets as in `streams`; 5 % are labelled. People look at 80 moments between the 100th label and
the last. `ever`: share of runs in which the band misses the rate at one look at least; `width`:
half of the band's width at 1,000 labels, and at the last look. Bands: the asymptotic sequence
that ships for weighted samples, the exact one that ships for uniform samples, and the interval
for one look, which is not made for this.

Exit code 1: a band that ships misses in more than 5 % of the runs, and chance does not explain it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from monitor.estimation.asymp_cs import asymptotic_sequence, one_look
from monitor.estimation.beta_binomial import confidence_sequence
from schemas.signals import Interval
from schemas.windows import Moments
from tests.bench.streams import (
    LABELS,
    Floats,
    Plan,
    World,
    active_plan,
    base_world,
    uniform_plan,
    windows,
)

ALPHA = 0.05
RATES = (0.02, 0.08)


class Size(NamedTuple):
    """How much is simulated."""

    labels: int
    runs: int


SIZES = {"small": Size(5_000, 150), "full": Size(100_000, 1000)}


class Look(NamedTuple):
    """What one run knows at one look."""

    scores: Moments
    labels: int
    #: labels that showed a loss
    wrong: int


Band = Callable[[Look], Interval]

#: the bands, and whether they are to hold at every look
BANDS: dict[str, tuple[Band, bool]] = {
    "asymptotic": (lambda look: asymptotic_sequence(look.scores, look.labels), True),
    "exact": (lambda look: confidence_sequence(look.wrong, look.labels), True),
    "one look": (lambda look: one_look(look.scores, look.labels), False),
}


def looks(world: World, plan: Plan, size: Size) -> Iterator[list[Look]]:
    """What each run knows, at one look after the other."""
    last = size.labels // LABELS
    at = set(np.unique(np.geomspace(100 / LABELS, last, 80).astype(int)).tolist())
    counts: Floats = np.zeros((size.runs, 3 * len(world.share)))
    labels = np.zeros(size.runs, dtype=int)
    x = plan.scores
    for number, seen in enumerate(windows(world, plan, last, size.runs, seed=31), 1):
        counts += seen.counts
        labels += seen.labels
        if number in at:
            wrong = counts[:, -len(world.share) :].sum(axis=1)
            sums = np.stack([counts.sum(axis=1), counts @ x, counts @ x**2, labels, wrong], axis=1)
            yield [
                Look(Moments(int(n), total, squares), int(told), int(hits))
                for n, total, squares, told, hits in sums.tolist()
                if told >= 100
            ]


class Figures(NamedTuple):
    """One band in one world under one plan."""

    ever: float
    width_at_1000: float
    width_at_last: float


def measure(band: Band, world: World, history: list[list[Look]], size: Size) -> Figures:
    """Share of runs that ever miss, and widths."""
    missed = np.zeros(size.runs, dtype=bool)
    widths: list[tuple[int, float]] = []
    for known in history:
        if len(known) < size.runs:
            continue  # some runs do not have 100 labels yet
        bounds = [band(look) for look in known]
        missed |= [not one.lower <= world.mean <= one.upper for one in bounds]
        half = float(np.median([one.upper - one.lower for one in bounds])) / 2
        widths.append((known[0].labels, half))
    near = min(widths, key=lambda width: abs(width[0] - 1000))
    return Figures(float(missed.mean()), near[1], widths[-1][1])


def main() -> int:
    """Print the table; say what is wrong with it."""
    parser = argparse.ArgumentParser(description="How often bands ever miss.")
    parser.add_argument("--size", choices=SIZES, default="small")
    size = SIZES[parser.parse_args().size]
    print(f"{size.runs} runs, {size.labels:,} labels: ever missed, half width at 1,000 and at last")
    allowed = ALPHA + 3 * (ALPHA * (1 - ALPHA) / size.runs) ** 0.5
    complaints = []
    for rate in RATES:
        world = base_world(rate)
        for plan in (uniform_plan(0.1), active_plan(world)):
            history = list(looks(world, plan, size))
            kind = "uniform" if plan.uniform else "active"
            for name, (band, holds) in BANDS.items():
                if name == "exact" and not plan.uniform:
                    continue
                found = measure(band, world, history, size)
                print(
                    f"rate {rate:.2f} {kind:<8} {name:<11}{found.ever:7.3f}"
                    f"{found.width_at_1000:8.4f}{found.width_at_last:8.4f}"
                )
                if holds and found.ever > allowed:
                    complaints.append(f"{name}, {kind}, {rate}: missed in {found.ever:.3f}")
    for complaint in complaints:
        print(f"WRONG: {complaint}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
