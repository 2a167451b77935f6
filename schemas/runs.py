"""One retraining, from request to verdict."""

from __future__ import annotations

from typing import Literal

import msgspec

#: `held`: the challenger passed, but without a contract in force and a verified teacher proctord
#: may not promote it by itself.
RunState = Literal[
    "requested",
    "building",
    "training",
    "evaluating",
    "gated",
    "promoted",
    "kept",
    "held",
    "rejected",
    "rolled_back",
    "failed",
]

#: States in which a run still has work to do. One live run a lane, kept by a unique index.
LIVE_STATES: tuple[RunState, ...] = ("requested", "building", "training", "evaluating", "gated")

GateOutcome = Literal["pass", "fail", "inconclusive"]


class GateResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one gate says of a challenger."""

    gate: str
    outcome: GateOutcome
    #: a sentence with the figures in it
    reason: str
    #: rows judged, the measured loss (or loss difference), its one-sided upper bound, the limit
    n: int
    estimate: float
    upper: float
    limit: float


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """All gates together: `fail` if one failed, else `inconclusive` if one is, else `pass`."""

    outcome: GateOutcome
    gates: tuple[GateResult, ...]
    #: hash of the contract that they judged by
    contract: str = ""

    @property
    def reason(self) -> str:
        """The sentences of the gates that decided it; of all gates on a pass."""
        return "; ".join(g.reason for g in self.gates if g.outcome == self.outcome)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the journal's `run` table."""

    run_id: str
    lane: str
    state: RunState
    #: rule and reason of the decision that asked for it; who asked, when a person did
    rule: str
    reason: str
    actor: str
    requested_at: float
    updated_at: float
    #: raised each time a process takes the run over: a worker of an older epoch is refused
    epoch: int = 0
    #: times the training process was started
    attempts: int = 0
    dataset: str = ""
    #: the champion that it must not be worse than ("" on the first run), and the challenger
    champion: str = ""
    challenger: str = ""
    verdict: Verdict | None = None
    #: why it failed, was rejected or is held, for people
    failure: str = ""
