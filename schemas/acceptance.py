"""Whether a contract holds: what stands in the file is in force once a person accepted it.

The file's contract is what the traffic is held to. Acting on it by itself - letting a student
through - proctord may only while that very contract was accepted and its last day is not over.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

import msgspec

from schemas.contract import QualityContract, end_of
from schemas.errors import NotAllowedError

StandingState = Literal["in_force", "not_accepted", "changed", "expired"]


class Acceptance(msgspec.Struct, frozen=True, kw_only=True):
    """A person took a contract as their own."""

    #: counts the acceptances of this journal, from 1; the newest is the one that counts
    number: int
    #: the contract's hash
    contract: str
    #: seconds UTC
    at: float
    actor: str
    reason: str
    #: the contract as it was accepted: what an earlier version of proctord knew of it
    terms: dict[str, Any]

    @property
    def approvers(self) -> tuple[str, ...]:
        """Who may accept the contract after this one; empty: it names nobody."""
        return tuple(self.terms.get("approvers") or ())

    def expired(self, now: float) -> bool:
        """Say whether the last day of the accepted contract is over. `now`: seconds UTC."""
        day = self.terms.get("expires")
        return day is not None and now >= end_of(dt.date.fromisoformat(day))


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a contract stands, with the reason."""

    #: `changed`: another contract than this one was accepted last
    state: StandingState
    #: a sentence that says what holds and on whose word
    reason: str
    #: what a person can do about it; "" when there is nothing to do
    next_step: str = ""

    @property
    def in_force(self) -> bool:
        """Whether proctord may act on it by itself."""
        return self.state == "in_force"

    @property
    def words(self) -> str:
        """The reason, and what a person can do about it."""
        return f"{self.reason}. Next: {self.next_step}" if self.next_step else self.reason


def stand(contract: QualityContract, accepted: Acceptance | None, now: float) -> Standing:
    """Say where the file's contract stands, given what was accepted last.

    Parameters
    ----------
    now: seconds UTC.

    >>> stand(QualityContract(tolerance=0.1), None, now=0.0).state
    'not_accepted'
    """
    name = contract.hash
    accept = '`proctord contract accept --by NAME --reason "..."`'
    if accepted is None:
        reason = f"nobody has accepted contract {name}"
        return Standing(state="not_accepted", reason=reason, next_step=accept)
    by = f"{accepted.actor} on {_day(accepted.at)}"
    if accepted.contract != name:
        reason = f"contract {name} is not the one accepted last, {accepted.contract}, by {by}"
        # a daemon goes by the file as it was at its start
        step = f"look at `proctord contract show`; then {accept}, or start proctord again"
        return Standing(state="changed", reason=reason, next_step=step)
    if contract.expired(now):
        reason = f"contract {name}, accepted by {by}, ended with {contract.expires}"
        step = f"write a later `expires` into it, start proctord again, then {accept}"
        return Standing(state="expired", reason=reason, next_step=step)
    return Standing(state="in_force", reason=f"contract {name} is in force, accepted by {by}")


def approvers(
    contract: QualityContract, accepted: Acceptance | None, now: float
) -> tuple[str, ...]:
    """Return who may accept a contract; empty: whoever may run the command.

    Those whom the contract in force names, so that nobody writes their own name into the file and
    accepts what they wrote. Where none is in force, or it names nobody, the new one says.
    """
    if accepted is not None and accepted.approvers and not accepted.expired(now):
        return accepted.approvers
    return contract.approvers


def ensure_may_accept(
    contract: QualityContract, accepted: Acceptance | None, actor: str, now: float
) -> None:
    """Refuse an acceptance that would not count.

    Raises
    ------
    NotAllowedError: the actor is no approver, or the contract's last day is over.
    """
    if contract.expired(now):
        raise NotAllowedError(
            f"contract {contract.hash} ended with {contract.expires}",
            next_step="write a later `expires` into the contract, then accept it",
        )
    allowed = approvers(contract, accepted, now)
    if allowed and actor not in allowed:
        raise NotAllowedError(
            f"{actor} is not among the approvers of the contract: {', '.join(allowed)}",
            next_step="let one of them accept it: `--by NAME`",
        )


def _day(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).date().isoformat()
