"""What a gate sees: the paired losses of challenger and champion, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
import numpy as np

from retrain.order import ScoredRow
from schemas.contract import QualityContract
from schemas.runs import GateResult


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Losses in [0, 1] on rows that no student was trained on. Shapes: [rows]."""

    challenger: np.ndarray
    #: the champion's losses on the same rows; None when there is no champion
    champion: np.ndarray | None
    #: smallest inclusion probability over each row's own, in (0, 1]
    weights: np.ndarray

    @property
    def n(self) -> int:
        """The number of rows."""
        return len(self.challenger)


class Gate(Protocol):
    """One test. `alpha`: the probability of ever letting through what it should not."""

    def __call__(self, evidence: Evidence, contract: QualityContract, alpha: float) -> GateResult:
        """Say pass, fail or inconclusive, with the reason."""
        ...


def gather(rows: Sequence[ScoredRow]) -> Evidence:
    """Return the evidence in scored rows; a ticket that was scored twice counts once.

    An answer that is not the label is a loss of 1: labels have no degrees.
    """
    once = list({row.ticket_id: row for row in rows}.values())
    paired = bool(once) and all(row.champion is not None for row in once)
    rates = np.array([row.inclusion_probability for row in once])
    return Evidence(
        challenger=np.array([float(row.challenger != row.label) for row in once]),
        champion=np.array([float(row.champion != row.label) for row in once]) if paired else None,
        weights=rates.min() / rates if once else rates,
    )
