"""Accepted contracts in the journal: by whom, one after the other, never changed."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest
import sqlalchemy as sa

from schemas import tables
from schemas.acceptance import Acceptance, stand
from schemas.accepting import accept, acceptances, last_acceptance
from schemas.contract import QualityContract
from schemas.errors import ConflictError, NotAllowedError

NOW = 1_790_000_000.0
CONTRACT = QualityContract(tolerance=0.1)


def take(connection: sa.Connection, contract: QualityContract, actor: str = "eva") -> Acceptance:
    after = last_acceptance(connection)
    return accept(connection, contract, after=after, actor=actor, reason="spring", now=NOW)


def test_an_accepted_contract_is_in_force_and_in_the_audit(connection: sa.Connection) -> None:
    taken = take(connection, CONTRACT)
    assert last_acceptance(connection) == taken
    assert stand(CONTRACT, taken, NOW).in_force
    row = connection.execute(sa.select(tables.audit)).one()
    assert (row.actor, row.action, row.subject, row.reason) == (
        "eva",
        "accept_contract",
        CONTRACT.hash,
        "spring",
    )


def test_the_newest_counts_and_the_older_ones_stay(connection: sa.Connection) -> None:
    other = msgspec.structs.replace(CONTRACT, tolerance=0.2)
    for contract in (CONTRACT, other, CONTRACT):
        take(connection, contract)
    found = acceptances(connection, limit=9)
    assert [a.contract for a in found] == [CONTRACT.hash, other.hash, CONTRACT.hash]
    assert found[1].terms["tolerance"] == 0.2


def test_who_decided_on_what_is_old_by_now_has_to_look_again(connection: sa.Connection) -> None:
    take(connection, CONTRACT)
    with pytest.raises(ConflictError, match="meanwhile"):
        accept(connection, CONTRACT, after=None, actor="kim", reason="mine", now=NOW)
    assert len(acceptances(connection, limit=9)) == 1


def test_nobody_but_an_approver_accepts(connection: sa.Connection) -> None:
    contract = msgspec.structs.replace(CONTRACT, approvers=("eva", "kim"))
    with pytest.raises(NotAllowedError, match="eva, kim"):
        take(connection, contract, "bob")
    assert last_acceptance(connection) is None
    assert take(connection, contract, "kim").actor == "kim"


def test_who_writes_himself_into_the_file_may_still_not_accept_it(
    connection: sa.Connection,
) -> None:
    take(connection, msgspec.structs.replace(CONTRACT, approvers=("eva",)))
    mine = msgspec.structs.replace(CONTRACT, tolerance=0.9, approvers=("bob",))
    with pytest.raises(NotAllowedError, match="approvers of the contract: eva"):
        take(connection, mine, "bob")


def test_a_contract_that_has_ended_is_not_accepted(connection: sa.Connection) -> None:
    ended = msgspec.structs.replace(CONTRACT, expires=dt.date(2020, 1, 1))
    with pytest.raises(NotAllowedError, match="later `expires`"):
        take(connection, ended)
