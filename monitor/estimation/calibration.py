"""How likely a student is to be wrong, learned from labels; and how far that may be relied on.

`fit` makes the `Risk` of a sampling plan: which tickets are asked about more often, and what is
expected of those that are not asked about. A wrong one costs labels, never the truth: the mean of
the scores is the mean loss whatever was expected (`estimation.scores`), half of the draw does not
depend on it (`sampling.FLOOR_SHARE`), and `Trust` takes it back as it ceases to hold.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitor.estimation.scores import Belief, expectation
from monitor.sampling import MOST_LEVELS, Risk, Stratum, log_odds

#: fewer labels than this tell too little of one student's errors
MIN_LABELS = 300

#: labels that there must be for each level
LABELS_A_LEVEL = 20

#: classes with an offset of their own: the most frequent, each with so many labels
MAX_CLASSES = 200
LABELS_A_CLASS = 5

#: labels' worth of belief that an offset is 0; the same for what a missing confidence means
OFFSET_RIDGE = 8.0
#: keeps a slope that nothing is known of at 0
SLOPE_RIDGE = 0.1

#: labels' worth of belief that a level errs as the curve says and not as its own labels do
CURVE_LABELS = 100.0

#: labels after which a label counts for a third of what it did in the trust
TRUST_LABELS = 2000

#: variance of expectations below which all tickets count as expected to be alike
LEAST_SPREAD = 1e-9

#: probabilities of an error are kept so far from 0 and 1
LEAST_RISK = 1e-3

Floats = NDArray[np.float64]


class Outcome(NamedTuple):
    """A labelled ticket of the student's: what it said, and how wrong that was."""

    confidence: float | None
    output: str
    #: in [0, 1]
    loss: float
    #: with which it was drawn, `random` or `risky`, in (0, 1]
    probability: float


def fit(outcomes: Sequence[Outcome], now: float) -> Risk:
    """Learn one student's risk from its labels.

    A logistic curve in the log-odds of the confidence, with an offset for each frequent class
    that is shrunk towards 0, fitted by penalised likelihood with weights 1/probability; then cut
    into levels that each stand for the same share of what will be asked, whose probability of an
    error lies between the curve's and that of the level's own labels.

    Deterministic. Without confidences, or with one value for all, the classes alone tell tickets
    apart; a class that was not met counts as the average one.

    Raises
    ------
    ValueError: there are fewer than `MIN_LABELS` outcomes.

    >>> said = [Outcome(0.9, "refund", 0.0, 0.1), Outcome(0.5, "refund", 1.0, 0.1)] * 200
    >>> risk = fit(said, now=0.0)
    >>> [round(g, 2) for g in risk.levels], risk.level(0.95, "refund"), risk.level(0.4, "size")
    ([0.0, 1.0], 0, 1)
    """
    if len(outcomes) < MIN_LABELS:
        raise ValueError(f"{len(outcomes)} outcomes; there must be at least {MIN_LABELS}")
    losses = np.array([one.loss for one in outcomes])
    weights = np.array([1 / one.probability for one in outcomes])
    weights /= weights.mean()
    curve = _curve(outcomes, losses, weights)
    odds = np.array([curve.odds(one) for one in outcomes])
    edges, levels, spread = _cut(odds, losses, weights)
    return Risk(
        at=now,
        labels=len(outcomes),
        intercept=curve.intercept,
        slope=curve.slope,
        unknown=curve.unknown,
        offsets=curve.offsets,
        edges=edges,
        levels=levels,
        spread=spread,
    )


class _Curve(NamedTuple):
    intercept: float
    slope: float
    unknown: float
    offsets: dict[str, float]

    def odds(self, one: Outcome) -> float:
        base = self.unknown
        if one.confidence is not None:
            base = self.intercept + self.slope * log_odds(one.confidence)
        return base + self.offsets.get(one.output, 0.0)


def _curve(outcomes: Sequence[Outcome], losses: Floats, weights: Floats) -> _Curve:
    """Maximise the penalised likelihood; parameters: level, slope, missing, offsets."""
    from scipy.optimize import minimize
    from scipy.special import expit

    known = np.array([one.confidence is not None for one in outcomes])
    stated = np.array([log_odds(one.confidence or 0.5) for one in outcomes])
    centre, scale = _standard(stated[known], weights[known])
    slope_of = np.where(known, (stated - centre) / scale, 0.0)
    classes = _frequent(outcomes)
    class_of = np.array([classes.get(one.output, len(classes)) for one in outcomes])
    base = _logit(float(np.average(losses, weights=weights)))
    ridge = np.array([SLOPE_RIDGE, SLOPE_RIDGE, *[OFFSET_RIDGE] * (1 + len(classes))])

    def objective(found: Floats) -> tuple[float, Floats]:
        offsets = np.append(found[3:], 0.0)
        odds = base + np.where(known, found[0] + found[1] * slope_of, found[2]) + offsets[class_of]
        likelihood = weights * (np.logaddexp(0.0, odds) - losses * odds)
        off = weights * (expit(odds) - losses)
        gradient = np.array([off[known].sum(), (off * slope_of).sum(), off[~known].sum()])
        by_class = np.bincount(class_of, off, len(classes) + 1)[: len(classes)]
        penalty = ridge * found
        return (
            float(likelihood.sum() + found @ penalty / 2),
            np.concatenate([gradient, by_class]) + penalty,
        )

    found = minimize(objective, np.zeros(3 + len(classes)), jac=True, method="L-BFGS-B").x
    slope = float(found[1]) / scale
    return _Curve(
        intercept=base + float(found[0]) - slope * centre,
        slope=slope,
        unknown=base + float(found[2]),
        offsets={name: float(found[3 + index]) for name, index in classes.items()},
    )


def _standard(values: Floats, weights: Floats) -> tuple[float, float]:
    """Return the mean, and the standard deviation or 1 where there is none."""
    if not len(values):
        return 0.0, 1.0
    mean = float(np.average(values, weights=weights))
    deviation = math.sqrt(float(np.average((values - mean) ** 2, weights=weights)))
    return mean, deviation if deviation > 1e-6 else 1.0


def _frequent(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Number the classes that have an offset, in an order that does not depend on the rows'."""
    counted = sorted(Counter(one.output for one in outcomes).items(), key=lambda c: (-c[1], c[0]))
    kept = [name for name, count in counted[:MAX_CLASSES] if count >= LABELS_A_CLASS]
    return {name: index for index, name in enumerate(kept)}


def _logit(share: float) -> float:
    kept = min(max(share, LEAST_RISK), 1 - LEAST_RISK)
    return math.log(kept / (1 - kept))


def _cut(
    odds: Floats, losses: Floats, weights: Floats
) -> tuple[tuple[float, ...], tuple[float, ...], float]:
    """Return the edges of the levels, the probability of each, and the mean deviation."""
    from scipy.special import expit

    curve = expit(odds)
    order = np.argsort(odds, kind="stable")
    asked = np.cumsum((weights * np.sqrt(curve * (1 - curve)))[order])
    count = min(MOST_LEVELS, len(odds) // LABELS_A_LEVEL)
    ends = np.searchsorted(asked, asked[-1] * np.arange(1, count) / count, side="right")
    edges = np.unique(odds[order][np.minimum(ends, len(odds) - 1)])
    edges = edges[edges > odds.min()]  # none lies below the first
    level = np.searchsorted(edges, odds, side="right")
    size = np.bincount(level, weights, len(edges) + 1)
    of_curve = np.bincount(level, weights * curve, len(edges) + 1) / size
    of_labels = np.bincount(level, weights * losses, len(edges) + 1)
    risk = (of_labels + CURVE_LABELS * of_curve) / (size + CURVE_LABELS)
    risk = np.clip(risk, LEAST_RISK, 1 - LEAST_RISK)
    spread = float(np.average(np.sqrt(risk * (1 - risk)), weights=size))
    return tuple(edges.tolist()), tuple(risk.tolist()), spread


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """How far expectations held of late: the line from a calibration to the scores' g.

    The line that would have made the variance of the scores least: base 0 and trust 1 for
    expectations that are right, the mean loss and trust 0 for some that have nothing to do with
    the losses. The sums fade, so that a calibration that held for a year and holds no longer is
    not believed for another. To be fair it must come from tickets that were judged before those
    it is used on.

    Source: Angelopoulos et al., PPI++ (arXiv 2311.01453), for unequal probabilities and with a
    constant beside the prediction.

    >>> before = Trust()
    >>> for _ in range(100):
    ...     before = before.told(Stratum(0.2, 0.5), 0.2).told(Stratum(0.4, 0.5), 0.3)
    ...     before = before.told(Stratum(0.6, 0.5), 0.4)
    >>> before.labels, [round(share, 2) for share in before.belief]
    (300, [0.1, 0.5])
    """

    labels: int = 0
    #: sums over labels of w = (1 / pi) (1 / pi - 1), and of w times the expectation, its square,
    #: the loss, and the product of the two
    weight: float = 0.0
    expected: float = 0.0
    square: float = 0.0
    loss: float = 0.0
    cross: float = 0.0

    def told(self, stratum: Stratum, loss: float) -> Trust:
        """These sums with one more label; nothing is learned where nothing was expected."""
        if stratum.expected is None:
            return self
        pi = stratum.probability
        g = expectation(stratum.expected, pi, Belief(0.0, 1.0))
        weight = (1 / pi - 1) / pi
        kept = 1 - 1 / TRUST_LABELS
        return Trust(
            labels=self.labels + 1,
            weight=kept * self.weight + weight,
            expected=kept * self.expected + weight * g,
            square=kept * self.square + weight * g**2,
            loss=kept * self.loss + weight * loss,
            cross=kept * self.cross + weight * loss * g,
        )

    @property
    def belief(self) -> Belief:
        """The line; nothing is expected until there are `MIN_LABELS`."""
        if self.labels < MIN_LABELS or self.weight <= 0:
            return Belief(0.0, 0.0)
        mean, expected = self.loss / self.weight, self.expected / self.weight
        spread = self.square / self.weight - expected**2
        covariance = self.cross / self.weight - mean * expected
        trust = _share(covariance, spread) if spread > LEAST_SPREAD else 0.0
        if trust * expected > mean:  # the best line would begin below 0
            return Belief(0.0, _share(self.cross, self.square))
        return Belief(mean - trust * expected, trust)


def _share(part: float, whole: float) -> float:
    return min(1.0, max(0.0, part / whole))
