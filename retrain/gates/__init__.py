"""May a challenger serve? Every gate speaks, with pass, fail or inconclusive, and its reason."""

from __future__ import annotations

from collections.abc import Sequence

from retrain.gates.evidence import Gate, gather
from retrain.gates.non_inferiority import non_inferiority
from retrain.gates.quality import quality
from retrain.order import ScoredRow
from schemas.contract import QualityContract
from schemas.runs import GateOutcome, GateResult, Verdict

#: every gate, in the order in which they are shown
GATES: dict[str, Gate] = {"quality": quality, "non_inferiority": non_inferiority}

#: probability with which a gate ever lets through what it should not, over all looks together
ALPHA = 0.05


def judge(rows: Sequence[ScoredRow], contract: QualityContract) -> Verdict:
    """Let every gate speak on the rows of one challenger.

    A verdict that was inconclusive may be asked for again with more rows, as often as one likes:
    the gates' bounds hold at all looks together.

    Parameters
    ----------
    rows: all scored rows so far; a ticket counts once.

    >>> row = ScoredRow(
    ...     ticket_id="t1", part="fresh", label="refund", gold=None, challenger="refund",
    ...     challenger_confidence=0.9, champion=None, champion_confidence=None,
    ...     inclusion_probability=0.1,
    ... )
    >>> judge([row], QualityContract(tolerance=0.1)).outcome
    'inconclusive'
    """
    evidence = gather(rows)
    results = tuple(gate(evidence, contract, ALPHA) for gate in GATES.values())
    return Verdict(outcome=_together(results), gates=results, contract=contract.hash)


def _together(results: Sequence[GateResult]) -> GateOutcome:
    outcomes = {result.outcome for result in results}
    if "fail" in outcomes:
        return "fail"
    return "inconclusive" if "inconclusive" in outcomes else "pass"
