"""Where a contract stands, and who may accept it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest

from schemas.acceptance import Acceptance, approvers, stand
from schemas.contract import QualityContract

LAST_DAY = dt.date(2027, 6, 30)
NOON = dt.datetime(2027, 6, 30, 12, tzinfo=dt.UTC).timestamp()
DAY = 86400.0
CONTRACT = QualityContract(tolerance=0.1, expires=LAST_DAY, approvers=("eva",))
OTHER = QualityContract(tolerance=0.2, approvers=("kim",))


def accepted(contract: QualityContract) -> Acceptance:
    return Acceptance(
        number=1,
        contract=contract.hash,
        at=NOON - 30 * DAY,
        actor="eva",
        reason="spring",
        terms=contract.terms,
    )


@pytest.mark.parametrize(
    ("state", "last", "now", "told"),
    [
        ("not_accepted", None, NOON, "nobody has accepted"),
        ("in_force", CONTRACT, NOON, "accepted by eva on 2027-05-31"),
        ("expired", CONTRACT, NOON + DAY, "ended with 2027-06-30"),
        ("changed", OTHER, NOON, f"{OTHER.hash}, by eva on 2027-05-31"),
        # an old contract that ended says nothing of a new one that nobody accepted
        ("changed", OTHER, NOON + DAY, "is not the one accepted last"),
    ],
)
def test_a_contract_is_in_force_while_that_very_contract_was_accepted_last(
    state: str, last: QualityContract | None, now: float, told: str
) -> None:
    standing = stand(CONTRACT, accepted(last) if last else None, now)
    assert standing.state == state
    assert told in standing.reason
    assert standing.in_force == (state == "in_force")
    assert bool(standing.next_step) != standing.in_force, "what to do, unless all is well"


@pytest.mark.parametrize(
    ("prose", "last", "now", "allowed"),
    [
        ("the first contract names its own", None, NOON, ("kim",)),
        ("later those whom the contract in force names", CONTRACT, NOON, ("eva",)),
        ("when it has ended, the new one names them", CONTRACT, NOON + DAY, ("kim",)),
        ("so too when it named nobody", QualityContract(tolerance=0.1), NOON, ("kim",)),
    ],
)
def test_who_may_accept(
    prose: str, last: QualityContract | None, now: float, allowed: tuple[str, ...]
) -> None:
    assert approvers(OTHER, accepted(last) if last else None, now) == allowed, prose


def test_terms_that_an_earlier_version_accepted_are_understood() -> None:
    terms: dict[str, Any] = {"tolerance": 0.1, "a_key_of_then": 1}
    old = msgspec.structs.replace(accepted(CONTRACT), terms=terms)
    assert stand(OTHER, old, NOON).state == "changed"
    assert approvers(OTHER, old, NOON) == ("kim",)
