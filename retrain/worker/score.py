"""Both students on the same held-out rows: what the gates judge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from retrain.data.dataset import DatasetRow
from retrain.durable import replace_bytes
from retrain.order import LabelledRow, ScoredRow
from retrain.worker.student import Student


def score(
    rows: Sequence[DatasetRow | LabelledRow],
    part: str,
    challenger: Student,
    champion: Student | None,
) -> list[ScoredRow]:
    """Return one scored row for each row, in order. Texts are not carried along."""
    texts = [row.text for row in rows]
    answers = challenger.answer(texts)
    others = champion.answer(texts) if champion else [(None, None)] * len(rows)
    return [
        ScoredRow(
            ticket_id=row.ticket_id,
            part=part,
            label=row.output,
            gold=row.gold,
            challenger=label,
            challenger_confidence=confidence,
            champion=other,
            champion_confidence=other_confidence,
            inclusion_probability=row.inclusion_probability,
        )
        for row, (label, confidence), (other, other_confidence) in zip(
            rows, answers, others, strict=True
        )
    ]


def disagreement(scores: Iterable[ScoredRow]) -> float:
    """Return the share of rows that the challenger answers otherwise than the teacher."""
    losses = [row.challenger != row.label for row in scores]
    return sum(losses) / max(1, len(losses))


def encode_scores(scores: Iterable[ScoredRow]) -> bytes:
    """Return the lines of a `scores.jsonl`."""
    return b"".join(msgspec.json.encode(row) + b"\n" for row in scores)


def write_scores(path: Path, scores: Iterable[ScoredRow]) -> None:
    """Put `scores.jsonl` in place, whole."""
    replace_bytes(path, encode_scores(scores))
