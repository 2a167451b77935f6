"""The dataset of a run: built from the order's rows, written whole, named by its content."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from retrain.data.dedup import cluster
from retrain.data.select import select
from retrain.data.split import Split, split
from retrain.durable import digest, flush_tree, move_into_place
from retrain.order import LabelledRow, WorkOrder
from schemas.errors import ArtefactError, ProctordError
from schemas.samples import SampleReason

PARTS = ("train", "calibration", "holdout_recent")


class DatasetRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `train.jsonl`, `calibration.jsonl` or `holdout_recent.jsonl`."""

    ticket_id: str
    at: float
    text: str
    output: str
    probabilities: tuple[tuple[str, float], ...]
    reason: SampleReason
    inclusion_probability: float
    gold: str | None
    #: near-duplicate cluster
    cluster: str
    #: how much it counts in the loss: recency x the teacher's confidence
    weight: float


class DatasetManifest(msgspec.Struct, frozen=True, kw_only=True):
    """`manifest.json`, written last. Its own sha256 is the dataset's name."""

    #: sha256 of what the dataset was made from: rows, order, rules
    inputs: str
    files: dict[str, str]
    rows: dict[str, int]
    rows_recent: int
    #: rows left out as near-duplicates of rows that were kept apart
    dropped: int
    clusters: int
    #: event times of the oldest and the newest row
    oldest: float
    watermark: float
    #: smallest and largest inclusion probability of the hold-out
    inclusion: tuple[float, float]
    classes: dict[str, int]


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset as read back from its directory."""

    name: str
    manifest: DatasetManifest
    train: tuple[DatasetRow, ...]
    calibration: tuple[DatasetRow, ...]
    holdout_recent: tuple[DatasetRow, ...]


def row_weight(row: LabelledRow, *, recent: bool, recent_weight: float) -> float:
    """Return how much a row counts: recent rows more, unsure teachers less (never under 0.3).

    A teacher that states no probabilities is taken at its word.
    """
    confidence = dict(row.probabilities).get(row.output, 0.0) if row.probabilities else 1.0
    return (recent_weight if recent else 1.0) * min(1.0, max(0.3, confidence))


def read_rows(path: Path) -> list[LabelledRow]:
    """Return the rows of a `labels.jsonl`.

    Raises
    ------
    ProctordError: a line is no labelled row; names the line.
    """
    decoder = msgspec.json.Decoder(LabelledRow)
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            rows.append(decoder.decode(line))
        except msgspec.MsgspecError as error:
            raise ProctordError(
                f"{path.name} line {number} is no labelled row: {error}",
                next_step="export the labels again; the daemon writes this file",
            ) from error
    return rows


def prepare(run_dir: Path, order: WorkOrder) -> Dataset:
    """Build `RUN_DIR/dataset`, or read it back when the same inputs built it before.

    Guarantee: the directory is whole or absent. Its parts share no near-duplicate cluster.

    Raises
    ------
    ProctordError: the rows cannot be split (see `split`), or a line cannot be read.
    """
    source, final = run_dir / "labels.jsonl", run_dir / "dataset"
    inputs = _inputs(source, order)
    found = _reusable(final, inputs)
    if found is not None:
        return found
    draft = run_dir / ".dataset.tmp"
    for leftover in (draft, final):
        shutil.rmtree(leftover, ignore_errors=True)
    draft.mkdir()
    _write(draft, read_rows(source), order, inputs)
    flush_tree(draft)
    move_into_place(draft, final)
    return load(final)


def load(directory: Path) -> Dataset:
    """Read a dataset and check every file against its manifest.

    Raises
    ------
    ArtefactError: a file is missing or is not what the manifest says.
    """
    try:
        raw = (directory / "manifest.json").read_bytes()
        manifest = msgspec.json.decode(raw, type=DatasetManifest)
        wrong = [n for n, sha in manifest.files.items() if digest(directory / n) != sha]
    except (OSError, msgspec.MsgspecError) as error:
        raise ArtefactError(f"the dataset in {directory} cannot be read: {error}") from error
    if wrong:
        raise ArtefactError(f"the dataset in {directory} was changed: {', '.join(wrong)}")
    decoder = msgspec.json.Decoder(DatasetRow)
    train, calibration, holdout = (
        tuple(map(decoder.decode, (directory / f"{part}.jsonl").read_bytes().splitlines()))
        for part in PARTS
    )
    return Dataset(
        name=hashlib.sha256(raw).hexdigest(),
        manifest=manifest,
        train=train,
        calibration=calibration,
        holdout_recent=holdout,
    )


def _inputs(source: Path, order: WorkOrder) -> str:
    settings = order.settings
    rules = (
        order.seed,
        order.recent_since,
        bool(order.champion),
        settings.recent_weight,
        settings.archive_rows,
    )
    return hashlib.sha256(f"{digest(source)} {rules}".encode()).hexdigest()


def _reusable(directory: Path, inputs: str) -> Dataset | None:
    try:
        found = load(directory)
    except ArtefactError:
        return None
    return found if found.manifest.inputs == inputs else None


def _write(draft: Path, labelled: Sequence[LabelledRow], order: WorkOrder, inputs: str) -> None:
    # a first student has nothing to forget, so all its rows are recent
    since = order.recent_since if order.champion else float("-inf")
    archive, recent = select(
        labelled, recent_since=since, archive_rows=order.settings.archive_rows, seed=order.seed
    )
    rows = archive + recent
    clusters = cluster([row.text for row in rows])
    parts = split(
        rows,
        clusters,
        recent_since=since,
        first_student=not order.champion,
        seed=order.seed,
    )
    made = [
        _row(row, clusters[i], recent=row.at >= since, recent_weight=order.settings.recent_weight)
        for i, row in enumerate(rows)
    ]
    files = {f"{part}.jsonl": _lines(draft, part, made, getattr(parts, part)) for part in PARTS}
    manifest = _manifest(made, parts, inputs=inputs, files=files, recent=len(recent))
    (draft / "manifest.json").write_bytes(msgspec.json.encode(manifest))


def _row(row: LabelledRow, name: str, *, recent: bool, recent_weight: float) -> DatasetRow:
    return DatasetRow(
        ticket_id=row.ticket_id,
        at=row.at,
        text=row.text,
        output=row.output,
        probabilities=row.probabilities,
        reason=row.reason,
        inclusion_probability=row.inclusion_probability,
        gold=row.gold,
        cluster=name,
        weight=row_weight(row, recent=recent, recent_weight=recent_weight),
    )


def _lines(draft: Path, part: str, rows: Sequence[DatasetRow], indices: Sequence[int]) -> str:
    path = draft / f"{part}.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode(rows[i]) + b"\n" for i in indices))
    return digest(path)


def _manifest(
    rows: Sequence[DatasetRow], parts: Split, *, inputs: str, files: dict[str, str], recent: int
) -> DatasetManifest:
    times = [row.at for row in rows]
    drawn = [rows[i].inclusion_probability for i in parts.holdout_recent]
    classes = Counter(rows[i].output for i in parts.train)
    return DatasetManifest(
        inputs=inputs,
        files=files,
        rows={part: len(getattr(parts, part)) for part in PARTS},
        rows_recent=recent,
        dropped=len(parts.dropped),
        clusters=len({row.cluster for row in rows}),
        oldest=min(times),
        watermark=max(times),
        inclusion=(min(drawn), max(drawn)),
        classes=dict(sorted(classes.items())),
    )
