"""Streams whose truth is known, for the benchmarks of the alarms: labels alone, and tickets.

Labels are drawn one by one, 0 or 1. Tickets come in windows of 200, of which about ten are
labelled, and are counted rather than drawn: every ticket belongs to a stratum, which is all that
a sampling plan knows of it, and how many of a stratum were asked about and found wrong is drawn
in one go.

The student's confidence tells right from wrong with an area under the curve of 0.85: a normal
score, shifted by 1.466 standard deviations where it was wrong, cut into 16 strata.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr, ndtri

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WINDOW = 200
#: share of the tickets that is labelled
RATE = 0.05
#: labels of a window that the budget pays for
LABELS = round(WINDOW * RATE)
STRATA = 16
#: normal scores this far apart have an area under the curve of .85
APART = float(np.sqrt(2) * ndtri(0.85))

DAY = 500


def draw(rates: Iterable[float], runs: int, seed: int) -> Floats:
    """Labels of some runs, whose rates go through `rates`."""
    chance = np.fromiter(rates, dtype=float)
    return (np.random.default_rng(seed).random((runs, len(chance))) < chance).astype(float)


def wobble(rate: float, labels: int, deviation: float) -> Floats:
    """Rates of labels whose logit has daily noise; a day has 500 labels."""
    noise = np.random.default_rng(99).normal(0, deviation, -(-labels // DAY))
    daily: Floats = np.asarray(expit(logit(rate) + noise))
    return np.repeat(daily, DAY)[:labels]


class World(NamedTuple):
    """How tickets fall into strata, and how often the student is wrong in each."""

    share: Floats
    rate: Floats

    @property
    def mean(self) -> float:
        """The rate of all tickets."""
        return float(self.share @ self.rate)


class Plan(NamedTuple):
    """What the sampling plan expects of each stratum, and how often it asks."""

    expected: Floats
    probability: Floats
    uniform: bool

    @property
    def scores(self) -> Floats:
        """Scores of tickets that were not asked about, were right, were wrong; strata in each."""
        g, pi = self.expected, self.probability
        return np.concatenate([g, g - g / pi, g + (1 - g) / pi])

    @property
    def lowest(self) -> float:
        """How far below 0 a score can lie."""
        return float(max(0.0, -self.scores.min()))

    def rate_among_labels(self, world: World) -> float:
        """How often a labelled ticket is wrong: what a detector sees that knows no weights."""
        return float(world.share * self.probability @ world.rate / (world.share @ self.probability))


def base_world(rate: float) -> World:
    """The world that the plan was calibrated in."""
    # strata of equal size in the mix of right and wrong tickets
    grid = np.linspace(-6, 8, 4001)
    mix = (1 - rate) * ndtr(grid) + rate * ndtr(grid - APART)
    edges = np.interp(np.linspace(0, 1, STRATA + 1)[1:-1], mix, grid)
    right = np.diff(np.concatenate([[0.0], ndtr(edges), [1.0]]))
    wrong = np.diff(np.concatenate([[0.0], ndtr(edges - APART), [1.0]]))
    share = (1 - rate) * right + rate * wrong
    return World(share, rate * wrong / share)


def covariate(base: World, rate: float) -> World:
    """More tickets of the kinds that the student is bad at; its confidence knows."""
    tilted = base.share * base.rate / base.mean
    part = (rate - base.mean) / (float(tilted @ base.rate) - base.mean)
    return World((1 - part) * base.share + part * tilted, base.rate)


def concept(base: World, rate: float) -> World:
    """Errors in every stratum alike, of which the confidence knows nothing."""
    return World(base.share, base.rate + (1 - base.rate) * (rate - base.mean) / (1 - base.mean))


def uniform_plan(prior: float) -> Plan:
    """Asks about all alike, and expects the tolerance of each."""
    return Plan(np.full(STRATA, prior), np.full(STRATA, RATE), uniform=True)


def active_plan(base: World) -> Plan:
    """Half of the labels at random, half in proportion to sqrt(g (1 - g)); g as calibrated."""
    spread = np.sqrt(base.rate * (1 - base.rate))
    pi = RATE * (0.5 + 0.5 * spread / float(base.share @ spread))
    return Plan(np.minimum(base.rate, 3 * pi / (1 - pi)), pi, uniform=False)


class Windows(NamedTuple):
    """One window of each run: how many tickets have each score, and how many were labelled."""

    counts: Ints
    labels: Ints


def windows(world: World, plan: Plan, number: int, runs: int, seed: int) -> Iterator[Windows]:
    """Windows of some runs, one after the other."""
    rng = np.random.default_rng(seed)
    for _ in range(number):
        tickets = rng.multinomial(WINDOW, world.share, size=runs)
        asked = rng.binomial(tickets, plan.probability)
        wrong = rng.binomial(asked, world.rate)
        counts = np.concatenate([tickets - asked, asked - wrong, wrong], axis=1)
        yield Windows(counts, asked.sum(axis=1))
