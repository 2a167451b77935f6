"""The journal's SQL about accepted contracts, for both programs.

Every function works inside the caller's transaction.
"""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from schemas import tables
from schemas.acceptance import Acceptance, ensure_may_accept
from schemas.contract import QualityContract
from schemas.errors import ConflictError
from schemas.journal import add, record_audit


def acceptances(connection: sa.Connection, *, limit: int) -> list[Acceptance]:
    """Return what was accepted, newest first."""
    table = tables.contract
    bodies = connection.scalars(
        sa.select(table.c.body).order_by(table.c.number.desc()).limit(limit)
    )
    return [msgspec.json.decode(body, type=Acceptance) for body in bodies]


def last_acceptance(connection: sa.Connection) -> Acceptance | None:
    """Return what was accepted last."""
    return next(iter(acceptances(connection, limit=1)), None)


def accept(
    connection: sa.Connection,
    contract: QualityContract,
    *,
    after: Acceptance | None,
    actor: str,
    reason: str,
    now: float,
) -> Acceptance:
    """Note that somebody accepts a contract; audited.

    Parameters
    ----------
    after: what was accepted last as the actor saw it: a compare-and-swap on its number.

    Raises
    ------
    NotAllowedError: the actor is no approver, or the contract's last day is over.
    ConflictError: another contract was accepted meanwhile.
    """
    ensure_may_accept(contract, after, actor, now)
    acceptance = Acceptance(
        number=1 if after is None else after.number + 1,
        contract=contract.hash,
        at=now,
        actor=actor,
        reason=reason,
        terms=contract.terms,
    )
    row = {"number": acceptance.number, "body": msgspec.json.encode(acceptance)}
    if not add(connection, tables.contract, row):
        raise ConflictError(
            "somebody accepted another contract meanwhile",
            next_step="look at `proctord contract show`, then decide again",
        )
    record_audit(
        connection,
        now=now,
        actor=actor,
        action="accept_contract",
        subject=contract.hash,
        reason=reason,
        detail={"number": acceptance.number, "before": after.contract if after else ""},
    )
    return acceptance
