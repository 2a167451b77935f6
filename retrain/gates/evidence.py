"""What a gate sees: the paired losses of challenger and champion, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
import numpy as np

from retrain.gates.bounds import (
    difference_lower,
    difference_upper,
    mean_lower,
    mean_upper,
    share_lower,
    share_upper,
)
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


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate with its two one-sided bounds."""

    estimate: float
    lower: float
    upper: float


class Gate(Protocol):
    """One test. `alpha`: the probability with which each of its bounds may be wrong."""

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


def loss_bounds(losses: np.ndarray, weights: np.ndarray, alpha: float) -> Bounds:
    """Return the mean loss of one student with its bounds; no rows: anything is possible."""
    n = len(losses)
    if n == 0:
        return Bounds(estimate=0.0, lower=0.0, upper=1.0)
    estimate = float(np.average(losses, weights=weights))
    if _counted(losses, weights):
        errors = int(losses.sum())
        return Bounds(
            estimate=estimate,
            lower=share_lower(errors, n, alpha),
            upper=share_upper(errors, n, alpha),
        )
    return Bounds(
        estimate=estimate,
        lower=mean_lower(losses, weights, alpha),
        upper=mean_upper(losses, weights, alpha),
    )


def increase_bounds(
    challenger: np.ndarray, champion: np.ndarray, weights: np.ndarray, alpha: float
) -> Bounds:
    """Return the mean of challenger minus champion, in [-1, 1], with its bounds."""
    change = challenger - champion
    n = len(change)
    if n == 0:
        return Bounds(estimate=0.0, lower=-1.0, upper=1.0)
    estimate = float(np.average(change, weights=weights))
    if _counted(challenger, weights) and _counted(champion, weights):
        worse, better = int((change > 0).sum()), int((change < 0).sum())
        return Bounds(
            estimate=estimate,
            lower=difference_lower(worse, better, n, alpha),
            upper=difference_upper(worse, better, n, alpha),
        )
    # the betting bound is for [0, 1]
    shifted = (change + 1.0) / 2.0
    return Bounds(
        estimate=estimate,
        lower=2.0 * mean_lower(shifted, weights, alpha) - 1.0,
        upper=2.0 * mean_upper(shifted, weights, alpha) - 1.0,
    )


def _counted(losses: np.ndarray, weights: np.ndarray) -> bool:
    """Say whether rows can be counted: every loss 0 or 1, every row drawn at the same rate."""
    return bool(np.isin(losses, (0.0, 1.0)).all() and np.allclose(weights, 1.0))
