"""Rules about the contract: whether anybody accepted it, when it ends, what was changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from monitor.alerts.about_students import urgency
from monitor.alerts.figures import duration, plain, utc
from monitor.alerts.hysteresis import since
from monitor.alerts.situation import ContractChange, Situation
from monitor.terms import differences
from schemas.acceptance import Standing, stand
from schemas.alerts import Condition

#: how long before its end a contract's renewal is asked for, seconds
RENEWAL: Final = 14 * 86400.0
#: differences that are told in an alert; `proctord contract show` tells them all
_TOLD: Final = 5


def contract_not_accepted(situation: Situation) -> Iterator[Condition]:
    """Everything is judged by a contract that nobody accepted."""
    standing = _standing(situation)
    if standing is not None and standing.state in {"not_accepted", "changed"}:
        yield _not_in_force(situation, "ContractNotAccepted", standing, situation.now)


def contract_expired(situation: Situation) -> Iterator[Condition]:
    """The accepted contract has ended."""
    standing, contract = _standing(situation), situation.contract
    if standing is not None and contract is not None and standing.state == "expired":
        yield _not_in_force(situation, "ContractExpired", standing, contract.expires_at)


def contract_expiring(situation: Situation) -> Iterator[Condition]:
    """The accepted contract ends soon: a person has to find the time to renew it."""
    standing, contract = _standing(situation), situation.contract
    if standing is None or contract is None or not standing.in_force:
        return
    left = contract.expires_at - situation.now
    if left <= RENEWAL:
        yield Condition(
            name="ContractExpiring",
            severity="warn",
            labels={"lane": situation.lane},
            since=contract.expires_at - RENEWAL,
            summary=f"contract {contract.hash} ends in {duration(left)}, {utc(contract.expires_at)}",
            proctord_does="Goes on as ever until then; after that it promotes nothing by itself.",
            you_do="Look at what was accepted, write a later `expires` into it, and accept it.",
        )


def contract_changed(situation: Situation) -> Iterator[Condition]:
    """Somebody accepted a contract: news."""
    for change in situation.contract_changes:
        after = change.after
        yield Condition(
            name="ContractChanged",
            severity="info",
            labels={"lane": situation.lane, "number": str(after.number)},
            since=after.at,
            summary=f"{plain(after.actor)} accepted contract {after.contract}: "
            f"{plain(after.reason)}. {_what_changed(change)}",
            proctord_does="Judges by it from the first start with it on, as a new generation: "
            "evidence under another contract does not count.",
            you_do="Nothing, if this was agreed.",
            momentary=True,
        )


# --- words and facts -------------------------------------------------------------------------


def _standing(situation: Situation) -> Standing | None:
    if situation.contract is None:
        return None
    return stand(situation.contract, situation.accepted, situation.now)


def _not_in_force(situation: Situation, name: str, standing: Standing, first: float) -> Condition:
    labels = {"lane": situation.lane}
    return Condition(
        name=name,
        severity=urgency(situation),
        labels=labels,
        since=min(first, since(situation, name, labels)),
        summary=standing.reason + waiting(situation),
        proctord_does="Watches, asks, retrains and tells by it all the same. It promotes no "
        "student by itself: one that passes its gates is held for a person.",
        you_do=f"Next: {standing.next_step}.",
    )


def waiting(situation: Situation) -> str:
    """Name the challenger that waits for a person, as the end of a sentence; "" for none."""
    run = situation.last_run
    if run is None or run.state != "held" or run.challenger == situation.champion:
        return ""
    name = run.challenger[:12]
    return (
        f". Challenger {name} of run {run.run_id} passed its gates and waits "
        f"(`proctord models {name}` shows them)"
    )


def _what_changed(change: ContractChange) -> str:
    if change.before is None:
        return "It is the first one"
    lines = differences(change.before.terms, change.after.terms)
    more = f"; and {len(lines) - _TOLD} more" if len(lines) > _TOLD else ""
    return "; ".join(lines[:_TOLD]) + more if lines else "It is the same as before"
