"""What every gate owes, whatever it tests."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from retrain.gates import ALPHA, GATES, judge
from retrain.gates.evidence import Evidence, gather
from retrain.order import ScoredRow
from schemas.contract import QualityContract
from schemas.runs import GateResult, Verdict

CONTRACT = QualityContract(tolerance=0.1, non_inferiority_margin=0.02)
EVERY = pytest.mark.parametrize("name", sorted(GATES))


def evidence(
    n: int, wrong: float, champion_wrong: float | None = 0.5, *, seed: int = 1
) -> Evidence:
    draw = np.random.default_rng(seed)
    old = None if champion_wrong is None else (draw.random(n) < champion_wrong).astype(float)
    return Evidence(
        challenger=(draw.random(n) < wrong).astype(float), champion=old, weights=np.ones(n)
    )


def ask(name: str, rows: Evidence) -> GateResult:
    return GATES[name](rows, CONTRACT, ALPHA)


@EVERY
def test_a_gate_calls_itself_by_its_name_in_the_table(name: str) -> None:
    assert ask(name, evidence(50, 0.1)).gate == name


@EVERY
def test_a_good_challenger_passes_and_a_bad_one_fails(name: str) -> None:
    assert ask(name, evidence(2000, 0.02)).outcome == "pass"
    assert ask(name, evidence(2000, 0.5, 0.1)).outcome == "fail"


@EVERY
@pytest.mark.parametrize("n", [0, 1, 10])
def test_a_few_rows_are_inconclusive_even_when_all_are_right(name: str, n: int) -> None:
    rows = evidence(n, 0.0, 0.0)
    assert ask(name, rows).outcome == "inconclusive"


@EVERY
def test_a_gate_gives_its_reason_with_the_limit_and_the_count_of_rows(name: str) -> None:
    for wrong in (0.0, 0.1, 0.6):
        result = ask(name, evidence(777, wrong, 0.1))
        limit = f"{100 * result.limit:.1f}"
        assert limit in result.reason, result.reason
        assert "777" in result.reason, result.reason
        assert "\n" not in result.reason


@EVERY
def test_all_figures_are_finite_and_can_be_stored(name: str) -> None:
    for n in (0, 1, 500):
        for wrong in (0.0, 1.0):
            for old in (None, 0.0, 1.0):
                result = ask(name, evidence(n, wrong, old))
                assert all(map(math.isfinite, (result.estimate, result.upper, result.limit)))
                assert msgspec.json.decode(msgspec.json.encode(result), type=GateResult) == result


@EVERY
def test_the_upper_bound_lies_above_the_estimate_and_decides(name: str) -> None:
    for seed in range(20):
        result = ask(name, evidence(400, 0.06, 0.08, seed=seed))
        assert result.estimate <= result.upper
        assert (result.outcome == "pass") == (result.upper <= result.limit)


@EVERY
def test_the_same_rows_get_the_same_answer(name: str) -> None:
    assert ask(name, evidence(300, 0.1)) == ask(name, evidence(300, 0.1))


@EVERY
def test_less_error_allowed_never_turns_into_a_pass(name: str) -> None:
    order = {"fail": 0, "inconclusive": 1, "pass": 2}
    for seed in range(10):
        rows = evidence(300, 0.05, 0.06, seed=seed)
        strict, easy = (GATES[name](rows, CONTRACT, a) for a in (0.001, 0.05))
        assert strict.outcome in {easy.outcome, "inconclusive"}
        assert order[strict.outcome] <= max(order[easy.outcome], 1)


@EVERY
def test_graded_losses_and_unequal_rates_are_judged_too(name: str) -> None:
    draw = np.random.default_rng(2)
    rows = Evidence(
        challenger=draw.beta(0.2, 9.8, 1500),
        champion=draw.beta(2, 4, 1500),
        weights=draw.choice([0.5, 1.0], 1500),
    )
    assert ask(name, rows).outcome == "pass"


def scored(
    number: int, challenger: str, champion: str | None = "a", part: str = "fresh"
) -> ScoredRow:
    return ScoredRow(
        ticket_id=f"t{number}",
        part=part,
        label="a",
        gold=None,
        challenger=challenger,
        challenger_confidence=0.9,
        champion=champion,
        champion_confidence=None if champion is None else 0.9,
        inclusion_probability=0.1,
    )


def test_without_a_champion_the_absolute_limit_decides() -> None:
    verdict = judge([scored(i, "a", None) for i in range(60)], CONTRACT)
    assert verdict.outcome == "pass"
    assert "no champion yet" in verdict.reason


@pytest.mark.parametrize(
    ("prose", "rows", "outcome"),
    [
        ("no row at all", [], "inconclusive"),
        ("better than the champion and good", [scored(i, "a", "b") for i in range(80)], "pass"),
        ("better than a bad champion but bad", [scored(i, "b", "b") for i in range(80)], "fail"),
        ("good, but is it as good?", [scored(i, "a") for i in range(80)], "inconclusive"),
        (
            "within the limit, yet worse than the champion",
            [scored(i, "b" if i % 16 == 0 else "a") for i in range(1600)],
            "fail",
        ),
    ],
)
def test_the_verdict_is_the_worst_of_its_gates(
    prose: str, rows: list[ScoredRow], outcome: str
) -> None:
    verdict = judge(rows, CONTRACT)
    assert verdict.outcome == outcome, (prose, verdict.reason)
    assert [g.gate for g in verdict.gates] == list(GATES)
    assert msgspec.json.decode(msgspec.json.encode(verdict), type=Verdict) == verdict


def test_a_ticket_that_was_scored_twice_counts_once() -> None:
    rows = [scored(i, "a", part="holdout_recent") for i in range(9)]
    assert gather([*rows, *rows]).n == 9


def test_looking_at_the_same_rows_again_changes_nothing() -> None:
    rows = [scored(i, "a", None) for i in range(70)]
    assert judge(rows, CONTRACT) == judge([*rows, *rows], CONTRACT)


@EVERY
def test_a_challenger_at_the_limit_rarely_passes_however_often_it_is_looked_at(name: str) -> None:
    passed = 0
    for seed in range(20):
        # wrong on one row of ten, its champion on eight of a hundred: both limits
        draw = np.random.default_rng(seed).random(400)
        new, old = (draw < 0.1) * 1.0, (draw < 0.08) * 1.0
        passed += any(
            ask(name, Evidence(challenger=new[:n], champion=old[:n], weights=np.ones(n))).outcome
            == "pass"
            for n in (50, 100, 200, 400)
        )
    assert passed <= 5  # 99.9 % quantile of a binomial of 20 at 0.05
