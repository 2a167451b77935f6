"""What a contract may say, and by which name it goes."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any

import pytest

from schemas.contract import QualityContract
from schemas.settings import ContractTable, Document, ProgramSettings, load_settings

LAST_DAY = dt.date(2027, 6, 30)
NOON = dt.datetime(2027, 6, 30, 12, tzinfo=dt.UTC).timestamp()


def test_a_segment_without_a_tolerance_is_held_to_that_of_all_traffic() -> None:
    contract = QualityContract(tolerance=0.1, segments={"tier=gold": 0.05, "language=fi": 0.2})
    held = [contract.tolerance_of(s) for s in ("*", "tier=gold", "language=fi", "language=de")]
    assert held == [0.1, 0.05, 0.2, 0.1]


@pytest.mark.parametrize(
    ("terms", "told"),
    [
        pytest.param({"tolerance": 1.0}, "tolerance is 1.0", id="a tolerance of everything"),
        pytest.param(
            {"teacher_tolerance": 1.0}, "teacher_tolerance", id="a teacher who may always be wrong"
        ),
        pytest.param(
            {"segments": {"a=b": 0.0}}, "segments.a=b is 0.0", id="a segment that may not err"
        ),
        pytest.param({"segments": {"*": 0.1}}, "attribute=value", id="all traffic as a segment"),
        pytest.param(
            {"segments": {"channel=": 0.1}}, "attribute=value", id="a segment without a value"
        ),
        pytest.param(
            {"false_change_alarms_per_quarter": 0.0}, "above 0", id="no false change alarm ever"
        ),
        pytest.param(
            {"approvers": ("eva", "eva")}, "each name stands once", id="an approver twice"
        ),
        pytest.param(
            {"approvers": ("",)}, "each name stands once", id="an approver without a name"
        ),
        pytest.param(
            {"daily_teacher_usd": float("inf")}, "daily_teacher_usd is inf", id="endless money"
        ),
        pytest.param({"min_new_labels": 0}, "1 or more", id="a run with nothing to learn from"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(terms: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        QualityContract(**{"tolerance": 0.1, **terms})


def test_a_contract_holds_until_its_last_day_is_over() -> None:
    contract = QualityContract(tolerance=0.1, expires=LAST_DAY)
    assert not contract.expired(NOON)
    assert contract.expired(NOON + 12 * 3600.0)
    assert not QualityContract(tolerance=0.1).expired(1e12)


@pytest.mark.parametrize(
    "terms",
    [
        {"tolerance": 0.2},
        {"segments": {"tier=gold": 0.05}},
        {"approvers": ("eva",)},
        {"expires": LAST_DAY},
    ],
)
def test_other_terms_are_another_contract(terms: dict[str, Any]) -> None:
    contract = QualityContract(tolerance=0.1)
    assert QualityContract(**{"tolerance": 0.1, **terms}).hash != contract.hash


def test_the_order_of_the_segments_makes_no_other_contract() -> None:
    one = QualityContract(tolerance=0.1, segments={"a=1": 0.05, "b=2": 0.2})
    other = QualityContract(tolerance=0.1, segments={"b=2": 0.2, "a=1": 0.05})
    assert one.hash == other.hash


class Program(ProgramSettings):
    contract: ContractTable


@pytest.mark.parametrize("written", [LAST_DAY, "2027-06-30"])
def test_the_last_day_may_be_written_as_a_date_or_as_text(written: object) -> None:
    table = {"tolerance": 0.1, "expires": written, "approvers": ["eva"]}
    contract = load_settings(Program, Document({"contract": table}, "f", Path())).contract
    assert (contract.expires, contract.approvers) == (LAST_DAY, ("eva",))
