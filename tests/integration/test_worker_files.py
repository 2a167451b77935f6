"""What the training child writes that needs no torch: checkpoints and heartbeats."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from retrain.order import Heartbeat
from retrain.worker import checkpoint
from retrain.worker.heartbeat import Pulse


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
