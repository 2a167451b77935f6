"""What the alert rules learn of the contract from the journal."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from monitor.alerts.rules import conditions
from monitor.alerts.situation import Situation
from monitor.loops import situation
from schemas.accepting import accept, last_acceptance
from schemas.contract import QualityContract

NOW = 1_790_000_000.0
DAY = 86400.0
FIRST = QualityContract(tolerance=0.1)
SECOND = msgspec.structs.replace(FIRST, tolerance=0.08)


def take(connection: sa.Connection, contract: QualityContract, at: float) -> None:
    after = last_acceptance(connection)
    accept(connection, contract, after=after, actor="eva", reason="agreed", now=at)


def facts(connection: sa.Connection, contract: QualityContract) -> Situation:
    return situation.gather(
        connection, now=NOW, lane="default", contract=contract, stale_after=900.0
    )


def test_a_contract_of_this_day_is_news_with_the_one_that_it_replaced(
    connection: sa.Connection,
) -> None:
    take(connection, FIRST, NOW - 9 * DAY)
    take(connection, SECOND, NOW - 60.0)
    [change] = facts(connection, SECOND).contract_changes
    assert change.after.contract == SECOND.hash
    assert change.before is not None
    assert change.before.contract == FIRST.hash


def test_the_first_contract_replaces_none(connection: sa.Connection) -> None:
    take(connection, FIRST, NOW - 60.0)
    [change] = facts(connection, FIRST).contract_changes
    assert change.before is None


def test_what_was_accepted_long_ago_is_no_news(connection: sa.Connection) -> None:
    take(connection, FIRST, NOW - 9 * DAY)
    assert facts(connection, FIRST).contract_changes == ()
    assert not conditions(facts(connection, FIRST)), "and nothing else is amiss"


def test_a_file_that_was_changed_is_told_under_its_own_name(connection: sa.Connection) -> None:
    take(connection, FIRST, NOW - 9 * DAY)
    [found] = conditions(facts(connection, SECOND))
    assert (found.name, found.contract) == ("ContractNotAccepted", SECOND.hash)
