"""Batches, checkpoints and heartbeats of the training child: all that needs no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.order import Heartbeat
from retrain.worker import checkpoint
from retrain.worker.batching import by_length, one_epoch, plan
from retrain.worker.heartbeat import Pulse

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


def write(root: Path, step: int, fingerprint: str = "same") -> Path:
    return checkpoint.write(
        root, step, fingerprint, lambda draft: (draft / "w.bin").write_bytes(b"%d" % step) and None
    )


def test_the_newest_checkpoint_is_resumed_and_only_two_are_kept(tmp_path: Path) -> None:
    paths = [write(tmp_path, step) for step in (5, 10, 100)]
    assert checkpoint.newest(tmp_path, "same") == paths[2]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000010", "step-00000100"]


@pytest.mark.parametrize(
    ("prose", "file", "content"),
    [
        ("a flipped bit", "w.bin", b"200"),
        ("a cut file", "w.bin", b""),
        ("a seal that was not finished", "COMPLETE.json", b"{"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    tmp_path: Path, prose: str, file: str, content: bytes
) -> None:
    older, newer = write(tmp_path, 50), write(tmp_path, 100)
    (newer / file).write_bytes(content)
    assert checkpoint.newest(tmp_path, "same") == older, prose


def test_a_checkpoint_of_another_training_is_not_resumed(tmp_path: Path) -> None:
    write(tmp_path, 5, "other data")
    assert checkpoint.newest(tmp_path, "same") is None


def test_a_leftover_draft_is_no_checkpoint_and_in_nobodys_way(tmp_path: Path) -> None:
    checkpoint.draft_of(tmp_path).mkdir()
    assert checkpoint.newest(tmp_path, "same") is None
    assert write(tmp_path, 5).is_dir()


def test_a_heart_beats_while_its_owner_is_busy(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat.json"
    seen = set()
    with Pulse(path, epoch=3, interval=0.005) as pulse:
        pulse.enter("training", steps=9)
        while len(seen) < 3:
            beat = msgspec.json.decode(path.read_bytes(), type=Heartbeat)
            seen.add(beat.at)
    assert (beat.epoch, beat.phase, beat.steps) == (3, "training", 9)
    assert beat.rss_bytes > 1_000_000
    assert json.loads(path.read_bytes())["loss"] is None
    assert list(tmp_path.iterdir()) == [path]


def test_importing_the_worker_imports_no_torch() -> None:
    code = (
        "import sys, retrain.worker.run, retrain.worker.__main__, retrain.gates, retrain.artefact;"
        "print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
