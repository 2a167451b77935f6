"""A run's dataset is whole, hashed, the same each time, and free of leaks."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from retrain.data.dataset import Dataset, load, prepare
from retrain.data.dedup import canonical, jaccard, shingles
from retrain.order import LabelledRow, TrainSettings, WorkOrder
from schemas.errors import ArtefactError, ProctordError

WORDS = [
    "boots",
    "sandals",
    "late",
    "refund",
    "green",
    "broke",
    "size",
    "parcel",
    "where",
    "cancel",
    "invoice",
    "wide",
    "sole",
]


def text(number: int) -> str:
    """Return a ticket's text; every fifth repeats an earlier one but for a number."""
    source = number // 2 if number % 5 == 0 else number
    words = random.Random(source).choices(WORDS, k=9)
    return f"{' '.join(words)} {number % 97}"


def tickets(count: int = 320) -> list[LabelledRow]:
    return [
        LabelledRow(
            ticket_id=f"t{i}",
            at=float(i),
            text=text(i),
            output=f"ask{i % 4}",
            probabilities=((f"ask{i % 4}", 0.9),),
            reason="random",
            inclusion_probability=0.1,
        )
        for i in range(count)
    ]


def an_order(champion: str = "", **changed: object) -> WorkOrder:
    plain = WorkOrder(
        task="train",
        run_id="run-1",
        lane="default",
        epoch=1,
        seed=3,
        threads=1,
        artefacts="",
        champion=champion,
        recent_since=100.0,
        settings=TrainSettings(),
    )
    return msgspec.structs.replace(plain, **changed)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    lines = b"".join(msgspec.json.encode(row) + b"\n" for row in tickets())
    (tmp_path / "labels.jsonl").write_bytes(lines)
    return tmp_path


def test_no_near_duplicate_is_on_both_sides(run_dir: Path) -> None:
    made = prepare(run_dir, an_order("a" * 64))
    apart = (*made.holdout_recent, *made.calibration)
    learned = [shingles(canonical(row.text)) for row in made.train]
    assert made.manifest.dropped > 0  # there were some to find
    for row in apart:
        assert all(jaccard(shingles(canonical(row.text)), other) < 0.8 for other in learned)


def test_the_same_rows_make_the_same_dataset(run_dir: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "labels.jsonl").write_bytes((run_dir / "labels.jsonl").read_bytes())
    assert prepare(run_dir, an_order()).name == prepare(other, an_order()).name


def test_a_dataset_that_is_there_is_taken_as_it_is(run_dir: Path) -> None:
    prepare(run_dir, an_order())
    before = (run_dir / "dataset" / "train.jsonl").stat().st_ino
    prepare(run_dir, an_order(epoch=2))
    assert (run_dir / "dataset" / "train.jsonl").stat().st_ino == before


@pytest.mark.parametrize(
    ("prose", "changed"),
    [
        ("another draw of the hold-out", {"seed": 4}),
        ("another border between archive and recent", {"recent_since": 50.0}),
        ("other weights", {"settings": TrainSettings(recent_weight=1.0)}),
    ],
)
def test_other_rules_make_another_dataset(
    run_dir: Path, prose: str, changed: dict[str, object]
) -> None:
    old = prepare(run_dir, an_order("a" * 64)).manifest.inputs
    assert prepare(run_dir, an_order("a" * 64, **changed)).manifest.inputs != old, prose


def test_a_half_written_dataset_is_made_again(run_dir: Path) -> None:
    name = prepare(run_dir, an_order()).name
    (run_dir / "dataset" / "train.jsonl").write_bytes(b"{")
    (run_dir / ".dataset.tmp").mkdir()
    with pytest.raises(ArtefactError, match=r"train\.jsonl"):
        load(run_dir / "dataset")
    assert prepare(run_dir, an_order()).name == name
    assert not (run_dir / ".dataset.tmp").exists()


def test_the_watermark_and_the_classes_stand_in_the_manifest(run_dir: Path) -> None:
    made: Dataset = prepare(run_dir, an_order())
    assert made.manifest.watermark == 319.0
    assert sum(made.manifest.classes.values()) == len(made.train)
    assert made.manifest.inclusion == (0.1, 0.1)


def test_a_broken_line_is_named(run_dir: Path) -> None:
    (run_dir / "labels.jsonl").write_bytes(b'{"ticket_id": "t1"}\n')
    with pytest.raises(ProctordError, match=r"labels\.jsonl line 1"):
        prepare(run_dir, an_order())
