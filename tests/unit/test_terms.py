"""A contract in words, and what another one changes of it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest

from monitor import agreement
from monitor.terms import TERMS, differences, rows
from schemas.acceptance import Acceptance
from schemas.contract import QualityContract

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC).timestamp()
CONTRACT = QualityContract(tolerance=0.1, segments={"tier=gold": 0.05})


def with_terms(**terms: Any) -> QualityContract:
    return msgspec.structs.replace(CONTRACT, **terms)


def accepted(contract: QualityContract) -> Acceptance:
    return Acceptance(
        number=1,
        contract=contract.hash,
        at=NOW,
        actor="eva",
        reason="spring",
        terms=contract.terms,
    )


def test_every_term_has_words() -> None:
    assert set(TERMS) | {"segments"} == set(QualityContract.__struct_fields__)
    assert all(title and words for title, words in rows(CONTRACT.terms))


@pytest.mark.parametrize(
    ("terms", "told"),
    [
        ({"tolerance": 0.08}, "accepted disagreement: 10 % -> 8 % (stricter)"),
        ({"tolerance": 0.125}, "accepted disagreement: 10 % -> 12.5 % (looser)"),
        (
            {"segments": {"tier=gold": 0.06}},
            "accepted disagreement of tier=gold: 5 % -> 6 % (looser)",
        ),
        ({"segments": {}}, "accepted disagreement of tier=gold: 5 % -> 10 % (looser)"),
        ({"teacher_tolerance": 0.05}, "accepted errors of the teacher: none stated -> 5 %"),
        (
            {"accepted_loss": 0.08},
            "limit of a challenger: the accepted disagreement -> 8 %",
        ),
        ({"daily_teacher_usd": 1000.0}, "money for the teacher: $5.00 a day -> $1,000.00 a day"),
        ({"cool_down_seconds": 5400.0}, "pause between retrainings: 6 h -> 1.5 h"),
        (
            {"cadence_seconds": 0.0},
            "retraining at the latest after: 30 d -> never by the calendar",
        ),
        ({"approvers": ("eva", "kim")}, "approvers: whoever may run proctord -> eva, kim"),
        ({"expires": dt.date(2027, 6, 30)}, "last day (UTC): none -> 2027-06-30"),
    ],
)
def test_one_change_is_one_sentence(terms: dict[str, Any], told: str) -> None:
    assert differences(CONTRACT.terms, with_terms(**terms).terms) == [told]


def test_equal_terms_differ_in_nothing() -> None:
    assert differences(CONTRACT.terms, CONTRACT.terms) == []


def test_a_segment_without_a_tolerance_of_its_own_moves_with_that_of_all() -> None:
    other = with_terms(tolerance=0.08, segments={})
    assert differences(CONTRACT.terms, other.terms) == [
        "accepted disagreement: 10 % -> 8 % (stricter)",
        "accepted disagreement of tier=gold: 5 % -> 8 % (looser)",
    ]


def test_terms_of_another_version_are_shown_as_they_stand() -> None:
    old = {"tolerance": 0.1, "segments": {"tier=gold": 0.05}, "grace_days": 3}
    found = differences(old, CONTRACT.terms)
    assert "grace_days: 3 -> not in it" in found
    assert "new labels that one needs: not in it -> 500" in found


def test_the_page_of_the_first_contract_says_what_to_do() -> None:
    page = dict(agreement.page(agreement.gather(CONTRACT, None, NOW)))
    assert page["standing"] == f"nobody has accepted contract {CONTRACT.hash}"
    assert "proctord contract accept" in page["next"]
    assert "changes" not in page, "there is nothing to change"


def test_the_page_of_a_contract_in_force_has_nothing_to_do() -> None:
    page = dict(agreement.page(agreement.gather(CONTRACT, accepted(CONTRACT), NOW)))
    assert (
        page["standing"] == f"contract {CONTRACT.hash} is in force, accepted by eva on 2026-06-01"
    )
    assert {"next", "changes"} & set(page) == set()
    assert page["the file"] == f"contract {CONTRACT.hash}, the same"


def test_the_page_of_a_changed_file_tells_the_difference() -> None:
    other = with_terms(tolerance=0.2, expires=dt.date(2026, 6, 10))
    page = dict(agreement.page(agreement.gather(other, accepted(CONTRACT), NOW)))
    assert page["the file"] == f"contract {other.hash}, another one"
    assert page["changes"] == "accepted disagreement: 10 % -> 20 % (looser)"
    assert page["ends"] == "2026-06-11 00:00:00 UTC, in 10 d"


def test_names_and_reasons_cannot_write_on_a_terminal() -> None:
    forged = msgspec.structs.replace(accepted(CONTRACT), reason="fine\x1b[2J\nin force")
    page = dict(agreement.page(agreement.gather(CONTRACT, forged, NOW)))
    assert page["accepted"].endswith(": fine[2J in force")


def test_equal_terms_under_another_name_are_said_to_be_so() -> None:
    renamed = msgspec.structs.replace(accepted(CONTRACT), contract="0" * 16)
    assert agreement.changes(renamed, CONTRACT) == [
        "no term; another version of proctord gave it another name"
    ]
