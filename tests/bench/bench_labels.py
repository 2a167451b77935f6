"""Labels that an estimate of +-1 point needs, and what a calibration that became wrong costs.

    python -m tests.bench.bench_labels [--size small|full]

A student errs in 8 % of its tickets; 5 % of the tickets are labelled. Its confidence tells right
from wrong with an area under the curve of .85, in two worlds: `sure` (the probability of an error
is Beta(0.4, 4.6): it knows most of the easy tickets) and `normal` (two normal scores, 1.466
standard deviations apart). What it states is too sure of itself: its log-odds are twice the true
ones.

Each run is a life: 3,000 labels of the uniform draw, from which `calibration.fit` learns; 2,000
more under the plan that comes of it, from which `Trust` learns; then the labels that are counted.
`fresh`: the confidence means what it meant. `half`: in half of the tickets errors no longer have
to do with it. `none`: in no ticket they have. `refit`: as `none`, a day later.

Labels: those of the estimate times (half width of its 95 % interval / .01) squared. Covered: the
share of runs whose interval holds 8 %. The first row is the shipped code; the peers are simulated
in the same runs. The draws are numpy's, not keyed hashes.

Exit code 1: the vectorised form and the shipped code disagree, or a target is missed by more than
chance explains at the small size (3 standard errors, 4 %).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri

from monitor.estimation.calibration import TRUST_LABELS, Outcome, Trust, fit
from monitor.estimation.scores import DEEPEST, Belief, expectation, score
from monitor.planning import REFIT_LABELS
from monitor.sampling import SUREST, Risk, SamplingPlan, Stratum

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RATE = 0.08
SHARE = 0.05
WIDTH = 0.01
APART = float(np.sqrt(2) * ndtri(0.85))
LEARNED, TRUSTED, COUNTED = REFIT_LABELS, TRUST_LABELS, 1850
SIZES = {"small": 60, "full": 400}
TARGET = 1850


class Tickets(NamedTuple):
    """What the student states, and whether it was wrong."""

    confidence: Floats
    losses: Floats


World = Callable[[np.random.Generator, int, float], Tickets]


def sure(rng: np.random.Generator, number: int, related: float) -> Tickets:
    """Probability of an error from Beta(0.4, 4.6)."""
    return _tickets(rng, rng.beta(0.4, 0.4 * (1 / RATE - 1), number), related)


def normal(rng: np.random.Generator, number: int, related: float) -> Tickets:
    """A normal score, shifted where the student is wrong."""
    score_ = rng.normal(size=number) + APART * (rng.random(number) < RATE)
    return _tickets(rng, expit(logit(RATE) + APART * score_ - APART**2 / 2), related)


def _tickets(rng: np.random.Generator, wrong: Floats, related: float) -> Tickets:
    """Return tickets; in a share `related` of them errors have to do with the confidence."""
    wrong = np.clip(wrong, 1e-9, 1 - 1e-9)
    chance = np.where(rng.random(len(wrong)) < related, wrong, RATE)
    losses = (rng.random(len(wrong)) < chance).astype(float)
    return Tickets(expit(2 * logit(1 - wrong)), losses)


class Asked(NamedTuple):
    """How a method treats tickets: what it expects of each, and how likely it asks."""

    expected: Floats
    probability: Floats


Method = Callable[[Tickets, Risk, Belief], Asked]


def levels(risk: Risk, confidence: Floats) -> Ints:
    """`Risk.level` of many tickets at once, whose answers have no offset."""
    kept = np.clip(confidence, SUREST, 1 - SUREST)
    return np.searchsorted(risk.edges, risk.intercept + risk.slope * logit(kept), side="right")


def shipped(tickets: Tickets, risk: Risk, belief: Belief) -> Asked:
    """Calibrated levels, half of the rate for all, the expectation as far as it is trusted."""
    strata = SamplingPlan(random_rate=SHARE, students={"m": risk}).strata("m")
    expected = [expectation(s.expected or 0.0, s.probability, belief) for s in strata]
    level = levels(risk, tickets.confidence)
    return Asked(np.array(expected)[level], np.array([s.probability for s in strata])[level])


def uniform(tickets: Tickets, _risk: Risk, _belief: Belief) -> Asked:
    """All alike, and no expectation: the mean of the labels."""
    alike = np.full(len(tickets.losses), SHARE)
    return Asked(np.full(len(alike), RATE), alike)


def without_floor(tickets: Tickets, risk: Risk, belief: Belief) -> Asked:
    """As shipped, but asking in proportion to the deviation alone (from 1/50 of the rate on)."""
    expected = np.array(risk.levels)[levels(risk, tickets.confidence)]
    weight = np.maximum(np.sqrt(expected * (1 - expected)) / risk.spread, 0.02)
    probability = SHARE * weight
    believed = belief.base + belief.trust * expected
    capped = np.minimum(believed, DEEPEST * probability / (1 - probability))
    return Asked(capped, probability)


def all_trust(tickets: Tickets, risk: Risk, _belief: Belief) -> Asked:
    """As shipped, but believing the calibration whatever became of it."""
    return shipped(tickets, risk, Belief(0.0, 1.0))


def weights_only(tickets: Tickets, risk: Risk, _belief: Belief) -> Asked:
    """As shipped, but expecting nothing (Horvitz and Thompson)."""
    return shipped(tickets, risk, Belief(0.0, 0.0))


def as_stated(tickets: Tickets, _risk: Risk, _belief: Belief) -> Asked:
    """No calibration: an error is as likely as the student states; all trust, half for all."""
    stated = 1 - tickets.confidence
    deviation = np.sqrt(stated * (1 - stated))
    probability = np.minimum(1.0, SHARE * (0.5 + 0.5 * deviation / deviation.mean()))
    return Asked(np.minimum(stated, DEEPEST * probability / (1 - probability)), probability)


METHODS: Mapping[str, Method] = {
    "shipped": shipped,
    "uniform": uniform,
    "without a floor": without_floor,
    "without trust": all_trust,
    "weights only": weights_only,
    "confidence as stated": as_stated,
}
#: share of the tickets whose errors have to do with the confidence
CASES: Mapping[str, float] = {"fresh": 1.0, "half": 0.5, "none": 0.0, "refit": 0.0}


class Found(NamedTuple):
    """Over runs: labels for +-1 point, and whether the interval held the truth."""

    labels: Floats
    covered: NDArray[np.bool_]

    @property
    def median(self) -> float:
        """Labels that half of the runs need at most."""
        return float(np.median(self.labels))


def calibrated(rng: np.random.Generator, world: World, related: float) -> Risk:
    """A calibration on labels of the uniform draw."""
    seen = world(rng, LEARNED, related)
    pairs = zip(seen.confidence.tolist(), seen.losses.tolist(), strict=True)
    # no two answers are alike, so that there are no classes to tell apart
    answers = [Outcome(said, str(n), loss, SHARE) for n, (said, loss) in enumerate(pairs)]
    return fit(answers, now=0.0)


def trusted(rng: np.random.Generator, world: World, related: float, risk: Risk) -> Belief:
    """What is believed after some labels under the plan."""
    strata = SamplingPlan(random_rate=SHARE, students={"m": risk}).strata("m")
    seen = world(rng, round(TRUSTED / SHARE), related)
    level = levels(risk, seen.confidence)
    asked = rng.random(len(level)) < np.array([s.probability for s in strata])[level]
    trust = Trust()
    for place, loss in zip(level[asked].tolist(), seen.losses[asked].tolist(), strict=True):
        trust = trust.told(strata[place], loss)
    return trust.belief


def estimate(rng: np.random.Generator, tickets: Tickets, asked: Asked) -> tuple[float, bool]:
    """Return the labels that +-1 point would need, and whether the interval holds the rate."""
    drawn = rng.random(len(tickets.losses)) < asked.probability
    x = np.where(
        drawn,
        asked.expected + (tickets.losses - asked.expected) / asked.probability,
        asked.expected,
    )
    half = 1.96 * x.std() / np.sqrt(len(x))
    return float(drawn.sum() * (half / WIDTH) ** 2), bool(abs(x.mean() - RATE) <= half)


def measure(world: World, case: str, runs: int, seed: int = 1) -> dict[str, Found]:
    """Return what each method needs in one case."""
    found: dict[str, list[tuple[float, bool]]] = {name: [] for name in METHODS}
    for run in range(runs):
        rng = np.random.default_rng((seed, run))
        risk = calibrated(rng, world, CASES[case] if case == "refit" else 1.0)
        belief = trusted(rng, world, CASES[case], risk)
        tickets = world(rng, round(COUNTED / SHARE), CASES[case])
        for name, method in METHODS.items():
            found[name].append(estimate(rng, tickets, method(tickets, risk, belief)))
    return {
        name: Found(np.array([n for n, _ in rows]), np.array([held for _, held in rows]))
        for name, rows in found.items()
    }


def disagreements() -> list[str]:
    """Hold the vectorised forms against the shipped code, ticket by ticket."""
    rng = np.random.default_rng(5)
    risk = calibrated(rng, sure, 1.0)
    plan = SamplingPlan(random_rate=SHARE, students={"m": risk})
    tickets = sure(rng, 500, 1.0)
    belief = Belief(0.02, 0.7)
    asked = shipped(tickets, risk, belief)
    wrong = []
    for n, confidence in enumerate(tickets.confidence.tolist()):
        stratum: Stratum = plan.strata("m")[risk.level(confidence, "")]
        g = expectation(stratum.expected or 0.0, stratum.probability, belief)
        if (g, stratum.probability) != (asked.expected[n], asked.probability[n]):
            wrong.append(f"ticket {n}: {g}, {stratum} and {asked.expected[n]}")
        if score(g, stratum.probability, 0.0) < -DEEPEST * (1 + 1e-9):
            wrong.append(f"ticket {n} has a score below {-DEEPEST}")
    again = msgspec.json.decode(msgspec.json.encode(plan), type=SamplingPlan)
    return wrong if again.strata("m") == plan.strata("m") else [*wrong, "the journal changed it"]


WORLDS: Mapping[str, World] = {"sure": sure, "normal": normal}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="small")
    runs = SIZES[parser.parse_args().size]
    missed = disagreements()
    for world_name, world in WORLDS.items():
        print(f"{world_name}: labels for +-1 point (median), share of intervals that cover")
        print(f"{'':24}" + "".join(f"{case:>16}" for case in CASES))
        table = {case: measure(world, case, runs) for case in CASES}
        for name in METHODS:
            cells = [table[case][name] for case in CASES]
            row = "".join(f"{cell.median:10.0f} {cell.covered.mean():5.3f}" for cell in cells)
            print(f"{name:24}{row}")
        missed += targets(world_name, table)
    for line in missed:
        print(line)
    sys.exit(bool(missed))


def targets(world: str, table: Mapping[str, Mapping[str, Found]]) -> list[str]:
    """Return what is not as it should be."""
    missed = []
    ours = {case: found["shipped"] for case, found in table.items()}
    uniform_ = table["half"]["uniform"].median
    fresh = ours["fresh"].median
    print(f"{world}: {fresh:.0f} labels, target {TARGET}: {'met' if fresh <= TARGET else 'MISSED'}")
    if world == "sure" and fresh > 1.04 * TARGET:
        missed.append(f"{world}: {fresh:.0f} labels, far more than {TARGET}")
    if ours["half"].median > uniform_:
        missed.append(f"{world}: stale, {ours['half'].median:.0f} labels; uniform {uniform_:.0f}")
    covered = float(np.concatenate([found.covered for found in ours.values()]).mean())
    if covered < 0.94 - 2 * (0.06 / sum(len(found.covered) for found in ours.values())) ** 0.5:
        missed.append(f"{world}: intervals cover in {covered:.3f} of the runs")
    return missed


if __name__ == "__main__":
    main()
