"""Where a difference in disagreement comes from: of which part of the traffic, and in which way.

The mean loss is the sum over parts of share times loss. A part can be met more often (`mix`) or
be answered worse (`within`); with shares w and losses r before (0) and now (1),

    within = (w0 + w1)/2 (r1 - r0),    mix = (w1 - w0) ((r0 + r1)/2 - R),

R the mean of the losses of all before and now. All of them together are exactly the difference,
because the changes of the shares add up to 0 (Kitagawa, 1955, Components of a difference between
two rates).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from monitor.attribution.period import Loss
from monitor.estimation.beta_binomial import clopper_pearson
from schemas.samples import Sample
from schemas.signals import Interval

#: A part with fewer labels than this, before and now together, is counted among all others.
LEAST_PART: Final = 10
OTHERS: Final = "all others"
#: A longer answer is a text, not a class.
LONGEST_CLASS: Final = 100


class Rate(msgspec.Struct, frozen=True):
    """Labels of a part of the traffic, each with its loss and the tickets that it stands for."""

    labels: int = 0
    #: sum of the weights, of their squares, and of weight times loss
    weight: float = 0.0
    squares: float = 0.0
    total: float = 0.0

    def merge(self, other: Rate) -> Rate:
        """Return both sets of labels together."""
        return Rate(
            self.labels + other.labels,
            self.weight + other.weight,
            self.squares + other.squares,
            self.total + other.total,
        )

    @property
    def mean(self) -> float:
        """Mean loss; NaN where there are no labels."""
        return self.total / self.weight if self.weight else math.nan

    @property
    def variance(self) -> float:
        """Variance of the mean, as if losses were 0 or 1; not 0 where all are alike (Laplace)."""
        if not self.labels:
            return 0.0
        effective = self.weight**2 / self.squares
        mean = (self.mean * effective + 0.5) / (effective + 1)
        return mean * (1 - mean) / effective

    @property
    def interval(self) -> Interval:
        """Mean loss with bounds for one look; [0, 1] where there are no labels.

        Exact for losses of 0 and 1 of one weight; else as if there were as many labels as those
        of one weight that would say as much (Kish, 1965, Survey Sampling).
        """
        effective = int(self.weight**2 / self.squares) if self.labels else 0
        if not effective:
            return Interval(self.mean, 0.0, 1.0)
        return clopper_pearson(self.mean * effective, effective)


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the traffic, before and now."""

    name: str
    before: Rate
    now: Rate
    #: its share of the traffic
    share_before: float
    share_now: float
    #: what it adds to the difference: answered worse, and met more often
    within: float
    mix: float
    #: standard error of the larger of the two
    error: float

    @property
    def effect(self) -> float:
        """What it adds to the difference."""
        return self.within + self.mix


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """A difference in disagreement, by the parts of one dimension."""

    dimension: str
    before: Rate
    now: Rate
    #: largest effect first
    parts: tuple[Part, ...]

    @property
    def difference(self) -> float:
        """Mean loss of now less that of before: exactly the sum of the parts' effects."""
        return self.now.mean - self.before.mean

    @property
    def error(self) -> float:
        """Standard error of the difference."""
        return math.sqrt(self.before.variance + self.now.variance)

    @property
    def within(self) -> float:
        """What comes from parts that are answered worse."""
        return math.fsum(part.within for part in self.parts)

    @property
    def mix(self) -> float:
        """What comes from other shares of the parts."""
        return math.fsum(part.mix for part in self.parts)


def class_of(sample: Sample) -> str:
    """Return the class that the student gave; a text has none."""
    return sample.output if len(sample.output) <= LONGEST_CLASS else OTHERS


def model_of(sample: Sample) -> str:
    """Return the version of the student that answered."""
    return sample.model


def segment_of(attribute: str) -> Callable[[Sample], str]:
    """Return the function that names a ticket's segment by one of its attributes."""
    prefix = f"{attribute}="

    def name(sample: Sample) -> str:
        return next((s for s in sample.segments if s.startswith(prefix)), f"no {attribute}")

    return name


def attributes(losses: Iterable[Loss]) -> list[str]:
    """Return the attributes by which tickets are put into segments."""
    found = {s.partition("=")[0] for one in losses for s in one.sample.segments if "=" in s}
    return sorted(found)


def rates(losses: Iterable[Loss], name_of: Callable[[Sample], str]) -> dict[str, Rate]:
    """Return the labels of each part."""
    found: dict[str, Rate] = {}
    for one in losses:
        name = name_of(one.sample)
        rate = Rate(1, one.weight, one.weight**2, one.weight * one.loss)
        found[name] = found.get(name, Rate()).merge(rate)
    return found


def split(dimension: str, before: Mapping[str, Rate], now: Mapping[str, Rate]) -> Split:
    """Take a difference apart.

    A part without labels in one of the periods has no loss to compare there: all of it is mix.

    Raises
    ------
    ValueError: a period holds no labels.

    >>> was = {"refund": Rate(90, 90, 90, 9), "delivery": Rate(10, 10, 10, 1)}
    >>> now = {"refund": Rate(70, 70, 70, 7), "delivery": Rate(30, 30, 30, 15)}
    >>> found = split("class", was, now)
    >>> round(found.difference, 3), round(found.within, 3), round(found.mix, 3)
    (0.12, 0.08, 0.04)
    >>> first = found.parts[0]
    >>> first.name, round(first.within, 3), round(first.mix, 3)
    ('delivery', 0.08, 0.028)
    """
    if not any(r.labels for r in before.values()) or not any(r.labels for r in now.values()):
        raise ValueError("nothing to compare: a period holds no labels")
    was, are = _pooled(before, now), _pooled(now, before)
    all_was, all_are = _sum(was.values()), _sum(are.values())
    middle = (all_was.mean + all_are.mean) / 2
    parts = [
        _part(name, was.get(name, Rate()), are.get(name, Rate()), all_was, all_are, middle)
        for name in sorted(was.keys() | are.keys())
    ]
    parts.sort(key=lambda part: -abs(part.effect))
    return Split(dimension=dimension, before=all_was, now=all_are, parts=tuple(parts))


def _pooled(these: Mapping[str, Rate], others: Mapping[str, Rate]) -> dict[str, Rate]:
    """Count parts that have few labels in both periods together among all others."""
    found: dict[str, Rate] = {}
    for name, rate in these.items():
        few = rate.labels + others.get(name, Rate()).labels < LEAST_PART
        found[OTHERS if few else name] = found.get(OTHERS if few else name, Rate()).merge(rate)
    return found


def _sum(rates: Iterable[Rate]) -> Rate:
    total = Rate()
    for rate in rates:
        total = total.merge(rate)
    return total


def _part(name: str, was: Rate, are: Rate, all_was: Rate, all_are: Rate, middle: float) -> Part:
    w0, w1 = was.weight / all_was.weight, are.weight / all_are.weight
    r0 = was.mean if was.labels else are.mean
    r1 = are.mean if are.labels else was.mean
    half, apart = (w0 + w1) / 2, (r0 + r1) / 2 - middle
    within, mix = half * (r1 - r0), (w1 - w0) * apart
    worse = was.variance + are.variance
    more = w0 * (1 - w0) * all_was.squares / all_was.weight**2
    more += w1 * (1 - w1) * all_are.squares / all_are.weight**2
    error = (
        half**2 * worse if abs(within) >= abs(mix) else apart**2 * more + (w1 - w0) ** 2 * worse / 4
    )
    return Part(
        name=name,
        before=was,
        now=are,
        share_before=w0,
        share_now=w1,
        within=within,
        mix=mix,
        error=math.sqrt(error),
    )
