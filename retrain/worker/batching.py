"""Batches of similar length under a token budget: where the speed of training comes from.

Padding is work that teaches nothing, and many small batches leave the cores idle. So rows are
sorted by length inside shuffled chunks and cut where the next row would exceed the budget.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: rows that are sorted together, in expected batches: large enough to fill buckets, small
#: enough that batches differ from epoch to epoch
_CHUNK_BATCHES = 24


def plan(lengths: Sequence[int], *, budget: int, epochs: float, seed: int) -> list[list[int]]:
    """Return every batch of a training, in order: the whole schedule is known before step one.

    Parameters
    ----------
    lengths: tokens of each row.
    budget: tokens of one batch, padding included; a single longer row makes a batch of its own.
    epochs: passes over the rows; the last one may be partial.
    seed: the order depends on it and on the number of the epoch, on nothing else, so that a
        resumed training sees the same rows in the same order.

    >>> plan([3, 3, 9, 3], budget=9, epochs=1, seed=0)
    [[2], [0, 1, 3]]
    """
    whole, part = divmod(epochs, 1)
    batches = [b for epoch in range(int(whole)) for b in one_epoch(lengths, budget, (seed, epoch))]
    last = one_epoch(lengths, budget, (seed, int(whole)))
    return batches + last[: round(part * len(last))]


def one_epoch(lengths: Sequence[int], budget: int, seed: tuple[int, int]) -> list[list[int]]:
    """Return the batches of one pass: each row once."""
    sizes = np.asarray(lengths)
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(sizes))
    chunk = max(1, round(_CHUNK_BATCHES * budget / max(1.0, float(sizes.mean()))))
    batches: list[list[int]] = []
    for start in range(0, len(order), chunk):
        part = order[start : start + chunk]
        ranked = part[np.argsort(sizes[part], kind="stable")]
        batches += _cut(ranked.tolist(), sizes, budget)
    # in the order of their lengths the last steps would all be long rows
    return [batches[i] for i in draw.permutation(len(batches))]


def _cut(ranked: list[int], sizes: np.ndarray, budget: int) -> list[list[int]]:
    """Cut rows of rising length into batches: the last row's length is the padded width."""
    batches: list[list[int]] = []
    batch: list[int] = []
    for row in ranked:
        if batch and (len(batch) + 1) * int(sizes[row]) > budget:
            batches.append(batch)
            batch = []
        batch.append(row)
    return [*batches, batch] if batch else batches


def by_length(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Return batches for reading only: every row once, shortest first."""
    sizes = np.asarray(lengths)
    return _cut(np.argsort(sizes, kind="stable").tolist(), sizes, budget)
