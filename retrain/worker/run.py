"""One order from start to result, read top to bottom."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np

from retrain import artefact
from retrain.data.dataset import Dataset, prepare, read_rows
from retrain.durable import replace_bytes
from retrain.order import ScoredRow, WorkOrder, WorkResult
from retrain.worker.calibration import fit_temperature
from retrain.worker.card import model_card
from retrain.worker.classify import lesson, start
from retrain.worker.heartbeat import Pulse
from retrain.worker.score import encode_scores, score, write_scores
from retrain.worker.student import Student, load_student
from retrain.worker.trainer import course_of, teach
from schemas.errors import FencedError, HeldElsewhereError, ProctordError

_LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")


class InterruptedRunError(HeldElsewhereError):
    """The child was asked to stop; what it did is kept, and it can be started again."""


class _Name(msgspec.Struct, frozen=True, kw_only=True):
    """What every order says, of any version."""

    run_id: str
    epoch: int


def name_of(run_dir: Path) -> tuple[str, int]:
    """Return run and epoch of an order that cannot be carried out, as far as it tells them."""
    try:
        name = msgspec.json.decode((run_dir / "order.json").read_bytes(), type=_Name)
    except (OSError, msgspec.MsgspecError):
        return run_dir.name, 0
    return name.run_id, name.epoch


def read_order(run_dir: Path) -> WorkOrder:
    """Return the order.

    Raises
    ------
    ProctordError: it cannot be read, or asks for a task that there is not.
    """
    try:
        return msgspec.json.decode((run_dir / "order.json").read_bytes(), type=WorkOrder)
    except (OSError, msgspec.MsgspecError) as error:
        raise ProctordError(
            f"the order in {run_dir} cannot be carried out: {error}",
            next_step="the daemon and the child must be of one version; restart the daemon",
        ) from error


def run(run_dir: Path, order: WorkOrder, pulse: Pulse, stopped: Callable[[], bool]) -> WorkResult:
    """Carry out an order; write all it asks for but the result itself.

    Raises
    ------
    FencedError: another daemon took the run over; nothing was registered.
    InterruptedRunError: `stopped()` turned true.
    ProctordError: it cannot be done; says why.
    """
    # Before torch loads its threads: by default those that wait spin, so that a machine that is
    # also serving spends its cores on waiting (measured: training at 1/7 of the speed)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    torch.set_num_threads(order.threads)
    began = time.monotonic()
    task = _train if order.task == "train" else _score
    result = task(run_dir, order, pulse, stopped)
    return msgspec.structs.replace(result, seconds=round(time.monotonic() - began, 3))


def _train(
    run_dir: Path, order: WorkOrder, pulse: Pulse, stopped: Callable[[], bool]
) -> WorkResult:
    data = prepare(run_dir, order)
    _stop_if(stopped)
    root = Path(order.artefacts)
    champion_dir = _checked(root, order.champion)
    student = start(order.settings, data.train, champion_dir, order.seed)
    course = course_of(
        order.settings,
        warm=champion_dir is not None,
        seed=order.seed,
        run_dir=run_dir,
        fingerprint=_fingerprint(order, data),
    )
    steps = teach(student, lesson(student, data.train, order.settings), course, pulse, stopped)
    _stop_if(stopped)

    pulse.enter("evaluating")
    student.temperature = _temperature(student, data)
    champion = load_student(champion_dir) if champion_dir else None
    scores = score(data.holdout_recent, "holdout_recent", student, champion)
    _stop_if(stopped)
    artefact_id = _register(run_dir, order, data, student, scores, steps)
    write_scores(run_dir / "scores.jsonl", scores)
    return WorkResult(
        run_id=order.run_id,
        epoch=order.epoch,
        ok=True,
        artefact_id=artefact_id,
        dataset=data.name,
        rows_train=len(data.train),
        rows_recent=data.manifest.rows_recent,
        rows_holdout=len(data.holdout_recent),
        steps=steps,
    )


def _score(
    run_dir: Path, order: WorkOrder, pulse: Pulse, stopped: Callable[[], bool]
) -> WorkResult:
    """Score artefacts that exist on rows that are newer than their training."""
    pulse.enter("evaluating")
    root = Path(order.artefacts)
    challenger = load_student(artefact.locate(root, order.challenger))
    champion_dir = _checked(root, order.champion)
    champion = load_student(champion_dir) if champion_dir else None
    # only the uniform draw speaks for the traffic
    rows = [row for row in read_rows(run_dir / "labels.jsonl") if row.reason == "random"]
    scores = score(rows, "fresh", challenger, champion)
    _stop_if(stopped)
    check_epoch(run_dir, order)
    write_scores(run_dir / "scores.jsonl", scores)
    return WorkResult(
        run_id=order.run_id,
        epoch=order.epoch,
        ok=True,
        artefact_id=order.challenger,
        rows_holdout=len(rows),
    )


def check_epoch(run_dir: Path, order: WorkOrder) -> None:
    """Stop a child whose daemon was replaced while it worked.

    Raises
    ------
    FencedError: the order on the disk is of another epoch than the one this child was given.
    """
    now = read_order(run_dir).epoch
    if now != order.epoch:
        raise FencedError(
            f"run {order.run_id} is at epoch {now}, this child belongs to epoch {order.epoch}: "
            "it registers nothing"
        )


def _checked(root: Path, artefact_id: str) -> Path | None:
    """Return a verified artefact's directory; None for none."""
    if not artefact_id:
        return None
    path = artefact.locate(root, artefact_id)
    artefact.verify(path)
    return path


def _temperature(student: Student, data: Dataset) -> float:
    index = {label: i for i, label in enumerate(student.labels)}
    rows = [row for row in data.calibration if row.output in index]
    if not rows:
        return 1.0
    logits = student.logits([row.text for row in rows])
    return fit_temperature(logits, np.array([index[row.output] for row in rows]))


def _register(
    run_dir: Path,
    order: WorkOrder,
    data: Dataset,
    student: Student,
    scores: list[ScoredRow],
    steps: int,
) -> str:
    root = Path(order.artefacts)
    root.mkdir(parents=True, exist_ok=True)
    # inside the root, so that the last step is a rename on one file system
    draft = root / f".draft-{order.run_id}-{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    (draft / "eval").mkdir(parents=True)
    lineage = _lineage(order, data, steps)
    try:
        student.save(draft)
        (draft / "eval" / "scores.jsonl").write_bytes(encode_scores(scores))
        (draft / "README.md").write_text(model_card(lineage, data.manifest, student.labels, scores))
        artefact_id = artefact.seal(draft, lineage)
        check_epoch(run_dir, order)
        artefact.publish(draft, root, artefact_id)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return artefact_id


def _lineage(order: WorkOrder, data: Dataset, steps: int) -> artefact.Lineage:
    return artefact.Lineage(
        run_id=order.run_id,
        lane=order.lane,
        parent=order.champion or order.settings.base,
        dataset=data.name,
        contract=order.contract,
        seed=order.seed,
        steps=steps,
        rows=data.manifest.rows,
        settings=msgspec.to_builtins(order.settings),
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in _LIBRARIES}


def _fingerprint(order: WorkOrder, data: Dataset) -> str:
    """Name all that decides the weights: a checkpoint of anything else is not resumed."""
    parts = (data.name, order.champion, order.seed, order.threads, order.settings, _versions())
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def _stop_if(stopped: Callable[[], bool]) -> None:
    if stopped():
        raise InterruptedRunError("the child was asked to stop")


def finish(run_dir: Path, result: WorkResult) -> None:
    """Write `result.json`: the last thing that a child does.

    A child that was replaced writes nothing: the file may be its successor's by now.
    """
    if name_of(run_dir)[1] == result.epoch:
        replace_bytes(run_dir / "result.json", msgspec.json.encode(result))
