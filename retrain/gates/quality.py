"""Gate `quality`: the challenger agrees with the teacher well enough to serve at all."""

from __future__ import annotations

from retrain.gates.bounds import Bounds, mean_bounds, rows_needed
from retrain.gates.evidence import Evidence
from schemas.contract import QualityContract
from schemas.runs import GateOutcome, GateResult


def quality(evidence: Evidence, contract: QualityContract, alpha: float) -> GateResult:
    """Pass when the disagreement is surely within the contract, fail when it surely is not.

    Guarantee: however often it is asked with more rows, a challenger whose true disagreement is
    the limit or more ever passes with probability at most `alpha`; one at the limit or less ever
    fails with at most twice that.

    Assumption: the rows are a random sample of the traffic that it would serve, and what `bounds`
    assumes.

    >>> import numpy as np
    >>> rows = Evidence(challenger=np.zeros(80), champion=None, weights=np.ones(80))
    >>> quality(rows, QualityContract(tolerance=0.1), 0.05).reason
    'it disagrees with the teacher on 0.0 % of 80 held-out tickets, surely at most 7.1 %; the limit is 10.0 %'
    >>> few = Evidence(challenger=np.zeros(9), champion=None, weights=np.ones(9))
    >>> quality(few, QualityContract(tolerance=0.1), 0.05).outcome
    'inconclusive'
    """
    bounds = mean_bounds(evidence.challenger, evidence.weights, alpha)
    limit = contract.gate_limit
    outcome = _outcome(bounds, limit)
    return GateResult(
        gate="quality",
        outcome=outcome,
        reason=_reason(outcome, bounds, evidence.n, limit, alpha),
        n=evidence.n,
        estimate=bounds.estimate,
        upper=bounds.upper,
        limit=limit,
    )


def _outcome(bounds: Bounds, limit: float) -> GateOutcome:
    if bounds.upper <= limit:
        return "pass"
    return "fail" if bounds.lower > limit else "inconclusive"


def _reason(outcome: GateOutcome, bounds: Bounds, n: int, limit: float, alpha: float) -> str:
    if n == 0:
        return "there is no held-out ticket to judge by"
    measured = f"it disagrees with the teacher on {bounds.estimate:.1%} of {n} held-out tickets"
    sure = {
        "pass": f"surely at most {bounds.upper:.1%}; the limit is {limit:.1%}",
        "fail": f"surely at least {bounds.lower:.1%}; the limit is {limit:.1%}",
        "inconclusive": f"somewhere in {bounds.lower:.1%} to {bounds.upper:.1%}; "
        f"the limit is {limit:.1%} and {_missing(bounds.estimate, n, limit, alpha)}",
    }
    return f"{measured}, {sure[outcome]}".replace("%", " %")


def _missing(estimate: float, n: int, limit: float, alpha: float) -> str:
    """Say how many more labels would let it pass if its disagreement stayed what it is."""
    needed = rows_needed(estimate, limit, alpha)
    if needed is None:
        return "at this rate it will not pass"
    return f"about {max(1, needed - n)} more random labels are needed"
