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

#: probability with which a gate may let through what it should not, over all looks together
ALPHA = 0.05
_FIRST_LOOK = 0.8  # share of it; the later looks divide the rest


def judge(rows: Sequence[ScoredRow], contract: QualityContract, look: int = 1) -> Verdict:
    """Let every gate speak on the rows of one challenger.

    Parameters
    ----------
    rows: all scored rows so far; a ticket counts once.
    look: which judgement of this challenger this is, from 1. A verdict that was inconclusive
        may be asked for again with more rows, and each look is a chance to be wrong: the first
        may spend 80 % of `ALPHA`, each later one half of what is left then.

    >>> row = ScoredRow(
    ...     ticket_id="t1", part="fresh", label="refund", gold=None, challenger="refund",
    ...     challenger_confidence=0.9, champion=None, champion_confidence=None,
    ...     inclusion_probability=0.1,
    ... )
    >>> judge([row], QualityContract(tolerance=0.1)).outcome
    'inconclusive'
    """
    evidence = gather(rows)
    alpha = spent_at(look)
    results = tuple(gate(evidence, contract, alpha) for gate in GATES.values())
    return Verdict(outcome=_together(results), gates=results, contract=contract.hash)


def spent_at(look: int) -> float:
    """Return the error probability that a look may spend; all looks sum to `ALPHA`.

    >>> [round(spent_at(look), 4) for look in (1, 2, 3)]
    [0.04, 0.005, 0.0025]
    """
    if look <= 1:
        return ALPHA * _FIRST_LOOK
    return ALPHA * (1.0 - _FIRST_LOOK) * 0.5 ** (look - 1)


def _together(results: Sequence[GateResult]) -> GateOutcome:
    outcomes = {result.outcome for result in results}
    if "fail" in outcomes:
        return "fail"
    return "inconclusive" if "inconclusive" in outcomes else "pass"
