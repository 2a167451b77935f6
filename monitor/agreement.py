"""What `proctord contract show` says: the file's contract, what was accepted, how they differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from monitor.alerts.figures import duration, plain, utc
from monitor.terms import differences, rows
from schemas.acceptance import Acceptance, Standing, approvers, stand
from schemas.contract import QualityContract


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """The contract at one moment; `--json` prints it as it is."""

    #: seconds UTC
    at: float
    standing: Standing
    #: hash and terms of the file's contract
    contract: str
    terms: dict[str, Any]
    #: what was accepted last; None: nothing yet
    accepted: Acceptance | None
    #: what the file changes of it, in words
    differences: tuple[str, ...]
    #: who may accept the file's contract; empty: whoever may run the command
    approvers: tuple[str, ...]
    #: when the file's contract ends, seconds UTC; None: it does not
    expires_at: float | None


def gather(contract: QualityContract, accepted: Acceptance | None, now: float) -> Agreement:
    """Hold the file's contract against what was accepted last."""
    return Agreement(
        at=now,
        standing=stand(contract, accepted, now),
        contract=contract.hash,
        terms=contract.terms,
        accepted=accepted,
        differences=tuple(changes(accepted, contract)),
        approvers=approvers(contract, accepted, now),
        expires_at=None if contract.expires is None else contract.expires_at,
    )


def changes(accepted: Acceptance | None, contract: QualityContract) -> list[str]:
    """Return in words what accepting a contract would change.

    >>> changes(None, QualityContract(tolerance=0.1))[0]
    'accepted disagreement: 10 %'
    """
    if accepted is None:
        return _terms(contract.terms)
    found = differences(accepted.terms, contract.terms)
    if not found and accepted.contract != contract.hash:
        return ["no term; another version of proctord gave it another name"]
    return found


def page(agreement: Agreement) -> list[tuple[str, str]]:
    """Return the page as (title, words), for a terminal."""
    standing = agreement.standing
    found = [("standing", standing.reason)]
    if standing.next_step:
        found.append(("next", standing.next_step))
    if agreement.accepted is not None:
        found.append(("accepted", _accepted(agreement.accepted)))
        same = "the same" if agreement.accepted.contract == agreement.contract else "another one"
        found.append(("the file", f"contract {agreement.contract}, {same}"))
    else:
        found.append(("the file", f"contract {agreement.contract}"))
    found.append(("ends", _end(agreement)))
    found.append(("may accept", ", ".join(agreement.approvers) or "whoever may run proctord"))
    found += [("terms" if i == 0 else "", line) for i, line in enumerate(_terms(agreement.terms))]
    if agreement.accepted is not None:
        lines = agreement.differences
        found += [("changes" if i == 0 else "", line) for i, line in enumerate(lines)]
    return found


def one_line(contract: QualityContract, now: float) -> str:
    """Return what the file's contract comes to; whether it was accepted, only the journal knows.

    >>> contract = QualityContract(tolerance=0.1, segments={"tier=gold": 0.05})
    >>> one_line(contract, now=0.0).removeprefix(contract.hash)
    ', tolerance 10 %, 5 % of tier=gold'
    """
    found = [contract.hash, f"tolerance {100 * contract.tolerance:g} %"]
    found += [f"{100 * share:g} % of {name}" for name, share in contract.segments.items()]
    if contract.expired(now):
        found.append(f"ended with {contract.expires}")
    elif contract.expires is not None:
        found.append(f"until {contract.expires}")
    return ", ".join(found)


def _accepted(accepted: Acceptance) -> str:
    by = f"by {plain(accepted.actor)}, {utc(accepted.at)}"
    return f"contract {accepted.contract}, {by}: {plain(accepted.reason)}"


def _end(agreement: Agreement) -> str:
    if agreement.expires_at is None:
        return "never: no `expires` stands in it"
    left = agreement.expires_at - agreement.at
    when = utc(agreement.expires_at)
    return f"{when}, in {duration(left)}" if left > 0 else f"{when}, {duration(-left)} ago"


def _terms(terms: Mapping[str, Any]) -> list[str]:
    return [f"{title}: {words}" for title, words in rows(terms)]
