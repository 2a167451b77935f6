"""The traffic that drift is measured against: what its slices have in common, and how they vary.

A fixed threshold on a distance between distributions (PSI, Jensen-Shannon), or a textbook test of
equality, asks whether two samples differ at all. They always do: the days of real traffic differ
by more than their sampling noise. Here the reference is many slices, not one, and says by how
much clean slices differ; a slice is surprising when it differs by more than they do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitor.drift.reading import Reading

Array = NDArray[np.float64]

#: Variance of arcsin(sqrt(share)) times the number that it is a share of (Anscombe, 1948).
NOISE: Final = 0.25
#: A cell is looked at by itself when a block is expected to hold so many of it.
EXPECTED: Final = 5.0
#: A total varies as a chi-squared has it, or more; slices that are all alike (no segments, one
#: class) would make a surprise of the last digit.
LEAST_MEAN: Final = 0.5
LEAST_FACTOR: Final = 0.5
#: Neighbouring bins of a number are put together to at most so many, of equal shares.
GROUPS: Final = 20


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """What clean traffic looks like in blocks of some slices, for one feature."""

    #: clean slices that it was made from, and slices of a block
    slices: int
    block: int
    #: number of the group that a cell belongs to; what is not there belongs to the last one
    group_of: dict[str, int]
    #: cells of each group, in order; none for the last group
    groups: list[list[str]]
    #: share of each group in all reference slices together
    shares: list[float]
    #: of each group: mean of the transformed shares, and the variance about it of a new block
    #: that is so large that it has no sampling noise
    centre: list[float]
    spread: list[float]
    #: the sum of squared standard scores is `factor` times a chi-squared of `freedom`
    factor: float
    freedom: float


class Judgement(NamedTuple):
    """How surprising one block is."""

    #: chance that a clean block surprises as much, in (0, 1]
    p: float
    #: standard score of each group, and the share it has here
    scores: Array
    shares: Array


def fit(readings: Sequence[Reading], block: int, *, ordered: bool, slack: float) -> Reference:
    """Learn what clean traffic looks like.

    Parameters
    ----------
    readings: of consecutive clean slices; none is empty, and there are at least four times as
        many as a block has slices.
    block: slices of the blocks that will be judged.
    ordered: whether cells are numbers in order.
    slack: standard deviation of a lasting wobble of each share that is no news, as a part of its
        odds: real traffic moves a little for ever, and enough of it proves any such move.

    >>> days = [Reading(100, {"refund": 40 + day % 3, "fees": 60 - day % 3}) for day in range(60)]
    >>> reference = fit(days, 1, ordered=False, slack=0.0)
    >>> judge(reference, Reading(100, {"refund": 41, "fees": 59})).p > 0.05
    True
    >>> judge(reference, Reading(100, {"refund": 70, "fees": 30})).p < 0.001
    True
    """
    total = Reading()
    for reading in readings:
        total = total.merge(reading)
    groups = (_neighbours if ordered else _each)(total, len(readings) / block)
    group_of = {cell: number for number, cells in enumerate(groups) for cell in cells}
    groups.append([])
    counts = np.array([_gather(reading, group_of, len(groups)) for reading in readings])
    sizes = np.array([[float(reading.n)] for reading in readings])
    between, factor, freedom = _slices(counts, sizes)
    centre, spread = _blocks(counts, sizes, block, between)
    share = np.sin(centre) ** 2
    # d arcsin(sqrt(share)) = sqrt(share (1 - share)) / 2 d log-odds
    spread += slack**2 * share * (1 - share) / 4
    return Reference(
        slices=len(readings),
        block=block,
        group_of=group_of,
        groups=groups,
        shares=(counts.sum(axis=0) / sizes.sum()).tolist(),
        centre=centre.tolist(),
        spread=spread.tolist(),
        factor=factor,
        freedom=freedom,
    )


def judge(reference: Reference, block: Reading) -> Judgement:
    """Say how surprising a block is.

    Two questions at once, each at half the level: do many groups differ by a little (the sum of
    squares), or does one by a lot (the largest).
    """
    from scipy.special import gammaincc, stdtr

    counts = _gather(block, reference.group_of, len(reference.groups))
    spread = NOISE / block.n + np.array(reference.spread)
    scores = (_transform(counts, block.n) - np.array(reference.centre)) / np.sqrt(spread)
    total = float(scores @ scores) / reference.factor
    p_total = float(gammaincc(reference.freedom / 2, total / 2))
    p_one = min(2 * float(stdtr(reference.slices - 1, -np.abs(scores).max())), 1 - 1e-12)
    # of the largest of so many; log1p, or a small p would round to 0
    p_largest = -float(np.expm1(len(scores) * np.log1p(-p_one)))
    return Judgement(min(1.0, 2 * min(p_total, p_largest)), scores, counts / block.n)


def _each(total: Reading, blocks: float) -> list[list[str]]:
    """Return a group for each cell that a block is expected to hold enough of."""
    return [[cell] for cell, n in sorted(total.counts.items()) if n >= EXPECTED * blocks]


def _neighbours(total: Reading, blocks: float) -> list[list[str]]:
    """Return neighbouring bins put together until each group holds its share of the whole."""
    enough = max(EXPECTED * blocks, total.n / GROUPS)
    groups: list[list[str]] = [[]]
    held = 0
    for cell in sorted(total.counts, key=int):
        groups[-1].append(cell)
        held += total.counts[cell]
        if held >= enough:
            groups.append([])
            held = 0
    tail = groups.pop()
    if groups:
        groups[-1].extend(tail)  # less than a share: it stays with its neighbour
        return groups
    return [tail] if tail else []


def _gather(reading: Reading, group_of: Mapping[str, int], groups: int) -> Array:
    counts = np.zeros(groups)
    for cell, count in reading.counts.items():
        counts[group_of.get(cell, groups - 1)] += count
    # a pair is in a segment of each attribute: several rare ones together can be more than all
    return np.minimum(counts, reading.n)


def _transform(counts: Array, sizes: Array | float) -> Array:
    """Make shares whose variance does not depend on the share (Anscombe, 1948)."""
    return np.asarray(np.arcsin(np.sqrt((counts + 3 / 8) / (sizes + 3 / 4))))


def _slices(counts: Array, sizes: Array) -> tuple[Array, float, float]:
    """Return the variance between slices of each group, and how their total is distributed.

    Each slice is scored against all the others, as a new one will be.
    """
    values = _transform(counts, sizes)
    r = len(values)
    noise = NOISE * float(np.mean(1 / sizes))
    centre, variance = values.mean(axis=0), values.var(axis=0, ddof=1)
    # without slice i: the centre moves away from it, and the variance loses its square
    apart = (values - centre) * r / (r - 1)
    others = np.maximum(0.0, ((r - 1) * variance - (values - centre) * apart) / (r - 2) - noise)
    scores = apart / np.sqrt(NOISE / sizes + others + (noise + others) / (r - 1))
    totals = (scores**2).sum(axis=1)
    # a chi-squared matched in mean and variance (Satterthwaite, 1946)
    mean = max(float(totals.mean()), LEAST_MEAN)
    factor = max(float(totals.var(ddof=1)) / (2 * mean), LEAST_FACTOR)
    return np.maximum(0.0, variance - noise), factor, mean / factor


def _blocks(counts: Array, sizes: Array, block: int, between: Array) -> tuple[Array, Array]:
    """Return the centre of each group, and the variance of clean blocks about it.

    Independent slices leave blocks 1/k of the variance between slices. Where neighbours resemble
    each other (hours do) blocks vary more than that, so their own variance counts if it is more.
    """
    blocks, block_sizes = _rolling(counts, block), _rolling(sizes, block)
    values = _transform(blocks, block_sizes)
    centre = values.mean(axis=0)
    left = block / len(counts)
    noise = NOISE * float(np.mean(1 / block_sizes))
    # overlapping blocks lie closer to their own mean than new ones will
    own = ((values - centre) ** 2).mean(axis=0) / (1 - left)
    between = np.maximum(between / block, own - noise)
    return centre, between + (noise + between) * left


def _rolling(values: Array, k: int) -> Array:
    sums = np.vstack([np.zeros(values.shape[1]), values.cumsum(axis=0)])
    return np.asarray(sums[k:] - sums[:-k])
