"""The training child with a real model on the CPU: small, but all of it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from retrain import artefact
from retrain.order import (
    Heartbeat,
    LabelledRow,
    ScoredRow,
    TrainSettings,
    WorkOrder,
    WorkResult,
)
from retrain.worker import __main__ as child
from retrain.worker.checkpoint import newest
from retrain.worker.score import disagreement
from retrain.worker.student import load_student

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[2]
NEWS = 1e6  # when the new topics come, seconds UTC

TOPICS = {
    "return": ("send back", "return", "give back"),
    "delivery": ("track", "wait for", "receive"),
    "repair": ("mend", "resole", "fix"),
}
LATER = {"rental": ("rent", "lease", "borrow"), "gift": ("wrap", "gift", "donate")}
THINGS = "boots sandals clogs loafers slippers sneakers heels flats moccasins brogues".split()  # noqa: SIM905
FILLERS = "please kindly today soon again finally maybe already really still".split()  # noqa: SIM905

SMALL = TrainSettings(
    layers=1,
    hidden=64,
    vocabulary=400,
    epochs=8.0,
    epochs_warm=12.0,
    token_budget=256,
    learning_rate=3e-3,
    learning_rate_warm=2e-3,
)


def read_scores(path: Path) -> list[ScoredRow]:
    return [msgspec.json.decode(line, type=ScoredRow) for line in path.read_bytes().splitlines()]


def tickets(
    count: int, topics: dict[str, tuple[str, ...]], *, first: int, at: float
) -> list[LabelledRow]:
    draw = random.Random(first)
    rows = []
    for i in range(first, first + count):
        label = draw.choice(sorted(topics))
        words = [draw.choice(topics[label]), "my", draw.choice(THINGS), *draw.sample(FILLERS, 4)]
        rows.append(
            LabelledRow(
                ticket_id=f"t{i}",
                at=at + i,
                text=" ".join(words),
                output=label,
                probabilities=((label, 0.9),),
                reason="random",
                inclusion_probability=0.1,
            )
        )
    return rows


def request(
    run_dir: Path, artefacts: Path, rows: Sequence[LabelledRow], **changed: object
) -> WorkOrder:
    run_dir.mkdir(parents=True, exist_ok=True)
    lines = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
    (run_dir / "labels.jsonl").write_bytes(lines)
    plain = WorkOrder(
        task="train",
        run_id="run-1",
        lane="default",
        epoch=1,
        seed=3,
        threads=1,
        artefacts=str(artefacts),
        champion="",
        recent_since=0.0,
        settings=SMALL,
    )
    order = msgspec.structs.replace(plain, **changed)
    (run_dir / "order.json").write_bytes(msgspec.json.encode(order))
    return order


def carry_out(run_dir: Path) -> WorkResult:
    """Run the child's work in this process: saves seconds of imports a test."""
    order = msgspec.json.decode((run_dir / "order.json").read_bytes(), type=WorkOrder)
    child._carry_out(run_dir, order, threading.Event())
    return result_of(run_dir)


def result_of(run_dir: Path) -> WorkResult:
    return msgspec.json.decode((run_dir / "result.json").read_bytes(), type=WorkResult)


def spawn(run_dir: Path) -> subprocess.Popen[bytes]:
    environ = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "retrain.worker", str(run_dir)]
    with (run_dir.parent / f"{run_dir.name}.err").open("wb") as errors:
        return subprocess.Popen(command, env=environ, stderr=errors)


def complaint(run_dir: Path) -> str:
    return (run_dir.parent / f"{run_dir.name}.err").read_text()


def until(process: subprocess.Popen[bytes], happened: Callable[[], bool]) -> None:
    """Wait for something that a child does; fail when it ends before that."""
    while not happened():
        assert process.poll() is None, process.args
        time.sleep(0.005)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with a first student in it, and the directory of its run."""
    root = tmp_path_factory.mktemp("shop")
    request(root / "first", root / "artefacts", tickets(400, TOPICS, first=0, at=0.0))
    result = carry_out(root / "first")
    assert result.ok, result.failure
    return root


def champion(shop: Path) -> str:
    return result_of(shop / "first").artefact_id


def test_a_first_student_learns_and_is_registered_whole(shop: Path) -> None:
    result = result_of(shop / "first")
    home = artefact.locate(shop / "artefacts", result.artefact_id)
    manifest = artefact.verify(home)
    scores = read_scores(shop / "first" / "scores.jsonl")

    assert disagreement(scores) < 0.1
    assert (home / "eval" / "scores.jsonl").read_bytes() == (
        shop / "first" / "scores.jsonl"
    ).read_bytes()
    assert len(scores) == result.rows_holdout == 60
    assert all(row.champion is None for row in scores)
    assert manifest.lineage.dataset == result.dataset
    assert manifest.lineage.steps == result.steps > 0
    assert list((shop / "artefacts").iterdir()) == [home]


def test_the_last_heartbeat_says_done(shop: Path) -> None:
    raw = (shop / "first" / "heartbeat.json").read_bytes()
    beat = msgspec.json.decode(raw, type=Heartbeat)
    assert (beat.phase, beat.epoch, beat.pid) == ("done", 1, os.getpid())


def test_plain_transformers_serves_the_artefact(shop: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    home = artefact.locate(shop / "artefacts", champion(shop))
    model = AutoModelForSequenceClassification.from_pretrained(home)
    tokenizer = AutoTokenizer.from_pretrained(home)
    labels = msgspec.json.decode((home / "labels.json").read_bytes())
    temperature = msgspec.json.decode((home / "calibration.json").read_bytes())["temperature"]
    texts = ["please mend my clogs", "track my boots"]
    with torch.inference_mode():
        logits = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
    shares = torch.softmax(logits / temperature, -1)

    ours = load_student(home).answer(texts)
    assert [labels[i] for i in shares.argmax(-1)] == [label for label, _ in ours]
    assert shares.max(-1).values.tolist() == pytest.approx([c for _, c in ours], abs=1e-4)
    assert [model.config.id2label[i] for i in range(len(labels))] == labels


def test_the_same_order_makes_the_same_student(shop: Path, tmp_path: Path) -> None:
    request(tmp_path / "again", tmp_path / "artefacts", tickets(400, TOPICS, first=0, at=0.0))
    assert carry_out(tmp_path / "again").artefact_id == champion(shop)


def test_a_challenger_goes_on_from_the_champion_and_learns_new_topics(
    shop: Path, tmp_path: Path
) -> None:
    rows = tickets(400, TOPICS, first=0, at=0.0) + tickets(500, TOPICS | LATER, first=1000, at=NEWS)
    request(
        tmp_path,
        shop / "artefacts",
        rows,
        champion=champion(shop),
        recent_since=NEWS,
        run_id="run-2",
    )
    result = carry_out(tmp_path)
    assert result.ok, result.failure
    scores = read_scores(tmp_path / "scores.jsonl")
    old, new = (load_student(shop / "artefacts" / a) for a in (champion(shop), result.artefact_id))

    assert new.labels == (*old.labels, "gift", "rental")
    assert new.tokenizer.get_vocab() == old.tokenizer.get_vocab()
    assert disagreement(scores) < 0.1
    assert sum(row.champion != row.label for row in scores) / len(scores) > 0.2
    assert {row.part for row in scores} == {"holdout_recent"}
    assert result.rows_recent == 500


def test_fresh_rows_are_scored_without_training_and_only_random_ones(
    shop: Path, tmp_path: Path
) -> None:
    rows = tickets(40, TOPICS, first=5000, at=2 * NEWS)
    rows += [
        msgspec.structs.replace(row, reason="requested")
        for row in tickets(10, TOPICS, first=6000, at=2 * NEWS)
    ]
    one = champion(shop)
    request(tmp_path, shop / "artefacts", rows, task="score", champion=one, challenger=one)
    result = carry_out(tmp_path)
    scores = read_scores(tmp_path / "scores.jsonl")
    assert result.ok, result.failure
    assert [row.part for row in scores] == ["fresh"] * 40
    assert all(row.challenger == row.champion for row in scores)
    assert not (tmp_path / "dataset").exists()


def test_a_child_that_is_stopped_and_killed_ends_in_the_same_student(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(SMALL, epochs=40.0, save_seconds=0.05)
    rows = tickets(400, TOPICS, first=0, at=0.0)
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    request(straight, tmp_path / "one", rows, settings=settings)
    expected = carry_out(straight)
    assert expected.ok, expected.failure

    request(broken, tmp_path / "other", rows, settings=settings)
    steps = broken / "checkpoints"
    asked = spawn(broken)
    until(asked, lambda: any(steps.glob("step-*")))
    asked.terminate()
    assert (asked.wait(), (broken / "result.json").exists()) == (75, False)
    reached = _newest_step(steps)

    killed = spawn(broken)
    until(killed, lambda: _newest_step(steps) > reached)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (broken / "result.json").exists()

    assert carry_out(broken).artefact_id == expected.artefact_id


def _newest_step(steps: Path) -> int:
    return max((int(p.name.removeprefix("step-")) for p in steps.glob("step-*")), default=0)


def test_no_kill_during_a_save_leaves_a_checkpoint_that_is_believed_but_broken(
    tmp_path: Path,
) -> None:
    code = (
        "import sys, os; from pathlib import Path; from retrain.worker import checkpoint\n"
        "def fill(draft):\n"
        "    for i in range(8): (draft / f'part{i}').write_bytes(os.urandom(20_000))\n"
        "for step in range(10**6): checkpoint.write(Path(sys.argv[1]), step, 'f', fill)\n"
    )
    environ = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    draw = random.Random(1)
    reached = -1
    for _ in range(10):
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=environ)
        start = _newest_step(tmp_path)
        until(process, lambda start=start: _newest_step(tmp_path) != start)  # type: ignore[misc]
        time.sleep(draw.uniform(0.0, 0.02))
        process.kill()
        process.wait()
        found = newest(tmp_path, "f")
        assert found is not None
        assert found.name == max(p.name for p in tmp_path.glob("step-*"))
        reached = max(reached, _newest_step(tmp_path))
    assert reached > 0


def test_a_child_of_an_older_epoch_registers_nothing(tmp_path: Path) -> None:
    order = request(tmp_path, tmp_path / "artefacts", tickets(400, TOPICS, first=0, at=0.0))
    # a daemon took the run over while the child was at work
    later = msgspec.structs.replace(order, epoch=2)
    (tmp_path / "order.json").write_bytes(msgspec.json.encode(later))
    assert child._carry_out(tmp_path, order, threading.Event()) != 0
    assert list((tmp_path / "artefacts").iterdir()) == []
    assert not (tmp_path / "result.json").exists()
    assert not (tmp_path / "scores.jsonl").exists()


def damaged(shop: Path, tmp_path: Path) -> dict[str, object]:
    home = tmp_path / "artefacts" / champion(shop)
    home.mkdir(parents=True)
    for path in (shop / "artefacts" / home.name).rglob("*"):
        if path.is_file():
            (home / path.relative_to(shop / "artefacts" / home.name)).parent.mkdir(exist_ok=True)
            (home / path.relative_to(shop / "artefacts" / home.name)).write_bytes(path.read_bytes())
    with (home / "model.safetensors").open("r+b") as weights:
        weights.seek(-1, os.SEEK_END)
        weights.write(b"\x7f")
    return {"champion": home.name}


@pytest.mark.parametrize(
    ("prose", "changed", "failure"),
    [
        (
            "a learning rate that blows up",
            {"settings": msgspec.structs.replace(SMALL, learning_rate=1e30)},
            "not finite at step",
        ),
        (
            "a base model that is not there",
            {"settings": msgspec.structs.replace(SMALL, base="/nowhere")},
            "is no directory",
        ),
        ("a champion that is a path", {"champion": "../../etc"}, "is no artefact id"),
        ("a champion that is gone", {"champion": "a" * 64}, "is not in"),
        ("a champion that was changed", damaged, "was changed: model.safetensors"),
    ],
)
def test_what_cannot_be_done_fails_with_a_reason_and_registers_nothing(
    shop: Path, tmp_path: Path, prose: str, changed: object, failure: str
) -> None:
    facts = changed(shop, tmp_path) if callable(changed) else changed
    request(
        tmp_path / "run", tmp_path / "artefacts", tickets(300, TOPICS, first=0, at=0.0), **facts
    )
    before = set((tmp_path / "artefacts").glob("*"))
    result = carry_out(tmp_path / "run")
    assert not result.ok, prose
    assert failure in result.failure, prose
    assert set((tmp_path / "artefacts").glob("*")) == before


def test_one_class_for_all_tickets_is_no_lesson(tmp_path: Path) -> None:
    rows = tickets(300, {"return": TOPICS["return"]}, first=0, at=0.0)
    request(tmp_path, tmp_path / "artefacts", rows)
    assert "one class only: return" in carry_out(tmp_path).failure


def test_an_order_for_another_task_is_refused_by_name(tmp_path: Path) -> None:
    order = request(tmp_path, tmp_path / "artefacts", [])
    raw = msgspec.to_builtins(order) | {"task": "generate", "epoch": 4}
    (tmp_path / "order.json").write_bytes(msgspec.json.encode(raw))
    process = spawn(tmp_path)
    assert process.wait() == 1
    assert "generate" in complaint(tmp_path)
    result = result_of(tmp_path)
    assert (result.ok, result.run_id, result.epoch) == (False, "run-1", 4)
    assert "generate" in result.failure


def test_without_a_directory_the_child_says_how_it_is_used(tmp_path: Path) -> None:
    process = spawn(tmp_path / "nowhere")
    assert process.wait() == child.USAGE
    assert "usage" in complaint(tmp_path / "nowhere")
