"""The directories that orders are carried out in: one to train, one for each later scoring.

    <runs>/<run id>/              order.json labels.jsonl: train, then score on the hold-out
    <runs>/<run id>/score-<n>/    order.json labels.jsonl: score the challenger on more rows

A directory is written under another name and renamed when it is whole, so that one that is there
can be carried out.
"""

from __future__ import annotations

import math
import shutil
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from retrain.durable import flush_tree, move_into_place
from retrain.order import LabelledRow, ScoredRow, WorkOrder
from retrain.supervise import read_order, write_order

LABELS = "labels.jsonl"
SCORES = "scores.jsonl"
_DAY = 86400.0

T = TypeVar("T")


def issue(directory: Path, order: WorkOrder, rows: Iterable[LabelledRow]) -> None:
    """Write an order and its rows; one that is there already stands."""
    if directory.exists():
        return
    draft = directory.with_name(f".{directory.name}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    with (draft / LABELS).open("wb") as target:
        for row in rows:
            target.write(msgspec.json.encode(row) + b"\n")
    write_order(draft, order)
    flush_tree(draft)
    move_into_place(draft, directory)


def watermark(directory: Path) -> float:
    """Return the event time of the newest row of an order; -inf: it has none, or is gone."""
    try:
        with (directory / LABELS).open("rb") as lines:
            last = deque(lines, maxlen=1)
    except FileNotFoundError:
        return -math.inf
    return msgspec.json.decode(last[0], type=LabelledRow).at if last else -math.inf


def recent_since(newest: float, recent_days: float, learned_until: float) -> float:
    """Return from when rows are recent: at most so many days, and nothing the champion saw.

    All three are event times, so that history can be replayed at any date. Rows that the
    champion learned from are left to the archive, because a challenger that is compared with
    it on those would be compared with its memory.
    """
    return max(newest - recent_days * _DAY, math.nextafter(learned_until, math.inf))


def evaluations(directory: Path) -> list[Path]:
    """Return the orders of a run that score its challenger, oldest first: the training is one."""
    later = directory.glob("score-*")
    return [directory, *sorted(later, key=lambda path: int(path.name.removeprefix("score-")))]


def next_evaluation(directory: Path) -> Path:
    """Return the directory of the next scoring."""
    return directory / f"score-{len(evaluations(directory))}"


def judged_against(orders: Iterable[Path], champion: str) -> list[ScoredRow]:
    """Return the rows on which the challenger was compared with this champion."""
    rows: list[ScoredRow] = []
    for directory in orders:
        if read_order(directory).champion == champion:
            rows += _read_lines(directory / SCORES, ScoredRow)
    return rows


def scored_labels(orders: Iterable[Path]) -> Iterator[LabelledRow]:
    """Return the labelled rows on which the challenger was scored, whoever the champion was."""
    for directory in orders:
        scored = {row.ticket_id for row in _read_lines(directory / SCORES, ScoredRow)}
        for row in _read_lines(directory / LABELS, LabelledRow):
            if row.ticket_id in scored:
                yield row


def _read_lines(path: Path, kind: type[T]) -> list[T]:
    with path.open("rb") as lines:
        return [msgspec.json.decode(line, type=kind) for line in lines]
