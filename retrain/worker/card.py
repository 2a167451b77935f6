"""The model card: what a person needs to know before trusting a student."""

from __future__ import annotations

from collections.abc import Sequence

from retrain.artefact import Lineage
from retrain.data.dataset import DatasetManifest
from retrain.order import ScoredRow
from retrain.worker.score import disagreement


def model_card(
    lineage: Lineage, data: DatasetManifest, labels: Sequence[str], scores: Sequence[ScoredRow]
) -> str:
    """Return the artefact's README.md. It quotes no ticket."""
    return f"""# Student of lane {lineage.lane}

A classifier of support tickets into {len(labels)} labels, distilled from a teacher's answers.

| | |
|---|---|
| run | {lineage.run_id} |
| started from | {lineage.parent} |
| dataset | {lineage.dataset} |
| contract | {lineage.contract or "none stated"} |
| rows: training, calibration, hold-out | {_rows(data)} |
| left out as near-duplicates of held-out rows | {data.dropped} |
| steps, seed | {lineage.steps}, {lineage.seed} |
| disagreement with the teacher on the hold-out | {disagreement(scores):.2%} of {len(scores)} rows |

The hold-out is recent traffic that was not trained on, nor was any near-duplicate of it.
Agreement with the teacher is not correctness: where the teacher is wrong, so is its student.

Labels: {", ".join(labels)}
"""


def _rows(data: DatasetManifest) -> str:
    return ", ".join(str(data.rows[part]) for part in ("train", "calibration", "holdout_recent"))
