"""An epoch is all rows once, in batches within a budget of padded tokens."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrain.worker.batching import by_length, one_epoch, plan

LENGTHS = st.lists(st.integers(1, 64), min_size=1, max_size=200)


@given(LENGTHS, st.integers(64, 512), st.integers(0, 5))
def test_an_epoch_holds_each_row_once_in_batches_within_the_budget(
    lengths: list[int], budget: int, seed: int
) -> None:
    batches = one_epoch(lengths, budget, (seed, 0))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(len(b) * max(lengths[i] for i in b) <= budget for b in batches)


def test_a_row_longer_than_the_budget_is_a_batch_of_its_own() -> None:
    assert by_length([3, 99, 3], budget=10) == [[0, 2], [1]]


def test_buckets_waste_little_on_padding() -> None:
    lengths = np.random.default_rng(0).integers(4, 64, 3000).tolist()
    padded = sum(
        len(b) * max(lengths[i] for i in b) for b in plan(lengths, budget=2048, epochs=1, seed=0)
    )
    assert sum(lengths) / padded > 0.9


def test_the_order_depends_on_the_seed_and_the_epoch_alone() -> None:
    lengths = [7, 9, 12, 30] * 40
    one, same, other = (plan(lengths, budget=128, epochs=2, seed=s) for s in (1, 1, 2))
    half = len(one) // 2
    assert one == same
    assert one != other
    assert one[:half] != one[half:]


def test_part_of_an_epoch_is_part_of_its_batches() -> None:
    lengths = [8] * 160
    whole, more = (plan(lengths, budget=64, epochs=e, seed=1) for e in (1, 1.5))
    assert len(whole) == 20
    assert more[:20] == whole
    assert len(more) == 30
