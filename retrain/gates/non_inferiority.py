"""Gate `non_inferiority`: the challenger is not worse than the student that serves now."""

from __future__ import annotations

from retrain.gates.bounds import Bounds, mean_bounds
from retrain.gates.evidence import Evidence
from schemas.contract import QualityContract
from schemas.runs import GateOutcome, GateResult


def non_inferiority(evidence: Evidence, contract: QualityContract, alpha: float) -> GateResult:
    """Compare both students on the same tickets: how much more the challenger disagrees.

    Pairing removes what is hard for both, so that only tickets on which they differ in being
    right say anything. Pass when the increase is surely within the margin, fail when it is
    surely beyond it. It may be asked again and again, with more rows each time.

    Guarantee: at a true increase of the margin or more it ever passes with probability at most
    `alpha`, and at one of the margin or less ever fails with at most twice that; by the bets of
    `bounds`, with what they assume.

    >>> import numpy as np
    >>> old, new = np.tile([1.0, 0.0], 100), np.tile([0.0, 0.0], 100)
    >>> rows = Evidence(challenger=new, champion=old, weights=np.ones(200))
    >>> non_inferiority(rows, QualityContract(tolerance=0.1), 0.05).outcome
    'pass'
    >>> rows = Evidence(challenger=old, champion=new, weights=np.ones(200))
    >>> non_inferiority(rows, QualityContract(tolerance=0.1), 0.05).outcome
    'fail'
    """
    margin = contract.non_inferiority_margin
    if evidence.champion is None:
        return _result("pass", "there is no champion yet: the absolute limit decides", None, margin)
    increase = evidence.challenger - evidence.champion
    bounds = mean_bounds(increase, evidence.weights, alpha, lowest=-1.0)
    outcome = _outcome(bounds, margin)
    return _result(outcome, _reason(outcome, bounds, evidence, margin), bounds, margin, evidence.n)


def _outcome(bounds: Bounds, margin: float) -> GateOutcome:
    if bounds.upper <= margin:
        return "pass"
    return "fail" if bounds.lower > margin else "inconclusive"


def _reason(outcome: GateOutcome, bounds: Bounds, evidence: Evidence, margin: float) -> str:
    measured = (
        f"against the champion its disagreement with the teacher changes by "
        f"{_points(bounds.estimate)} points on {evidence.n} held-out tickets"
    )
    sure = {
        "pass": f"surely by at most {_points(bounds.upper)}",
        "fail": f"surely by at least {_points(bounds.lower)}",
        "inconclusive": f"somewhere in {_points(bounds.lower)} to {_points(bounds.upper)}",
    }
    return f"{measured}, {sure[outcome]}; the margin is {_points(margin)}"


def _points(share: float) -> str:
    return f"{100.0 * share:+.1f}"


def _result(
    outcome: GateOutcome, reason: str, bounds: Bounds | None, margin: float, n: int = 0
) -> GateResult:
    return GateResult(
        gate="non_inferiority",
        outcome=outcome,
        reason=reason,
        n=n,
        estimate=bounds.estimate if bounds else 0.0,
        upper=bounds.upper if bounds else 0.0,
        limit=margin,
    )
