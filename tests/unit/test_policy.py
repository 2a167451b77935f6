"""The retraining policy as a table: one situation a row, and what must be decided of it."""

from __future__ import annotations

from typing import Any

import factories
import msgspec
import pytest

from retrain.policy import RULES, Probation, Request, Situation, decide
from schemas.acceptance import Standing
from schemas.contract import QualityContract
from schemas.runs import Run, RunState
from schemas.signals import Interval, Signal
from schemas.teachers import TeacherStanding, TeacherState

NOW = 1_000_000.0
HOUR = 3600.0
CONTRACT = QualityContract(
    tolerance=0.1, min_new_labels=100, cool_down_seconds=6 * HOUR, cadence_seconds=30 * 24 * HOUR
)


def signal(detector: str = "level", loss: float = 0.3) -> Signal:
    return factories.signal(
        at=NOW - HOUR,
        detector=detector,
        model="b" * 64,
        interval=Interval(loss, loss - 0.05, loss + 0.05),
        sentence=f"disagreement {loss:.1%}, limit 10.0%",
    )


def ended(state: RunState, ago: float) -> Run:
    return Run(
        run_id="r1",
        lane="default",
        state=state,
        rule="level",
        reason="it drifted",
        actor="proctord",
        requested_at=NOW - ago - 60,
        updated_at=NOW - ago,
        challenger="c" * 64,
    )


def probation(previous_loss: float | None) -> Probation:
    return Probation(
        previous="a" * 64, labels=120, limit=2000, previous_loss=previous_loss, previous_labels=200
    )


def teacher(state: TeacherState) -> TeacherStanding:
    return TeacherStanding(
        generation="g", name="big", prompt_hash="p", since=0.0, state=state, reason=f"it is {state}"
    )


#: a champion in quiet times, well supplied with labels
QUIET = Situation(
    lane="default",
    champion="b" * 64,
    cadence_from=NOW - HOUR,
    labels=900,
    new_labels=300,
    teacher=teacher("within"),
)
IN_FORCE = Standing(state="in_force", reason="eva accepted it")
NOT_ACCEPTED = Standing(state="not_accepted", reason="nobody has accepted it")
ANNA = Request(actor="anna", reason="new sizes on Monday")

TABLE: list[tuple[str, dict[str, Any], str, str]] = [
    ("quiet times", {}, "hold", "within_bounds"),
    ("the level detector pages and labels are there", {"level": signal()}, "retrain", "level"),
    (
        "it pages one label too early",
        {"level": signal(), "new_labels": 99},
        "hold",
        "too_few_labels",
    ),
    ("it pages with exactly enough", {"level": signal(), "new_labels": 100}, "retrain", "level"),
    ("disagreement changed below the limit", {"change": signal("change")}, "retrain", "change"),
    (
        "a page outranks a change",
        {"level": signal(), "change": signal("change")},
        "retrain",
        "level",
    ),
    (
        "the cadence is due to the second",
        {"cadence_from": NOW - CONTRACT.cadence_seconds},
        "retrain",
        "cadence",
    ),
    (
        "the cadence is due and nothing was labelled",
        {"cadence_from": NOW - CONTRACT.cadence_seconds, "new_labels": 0},
        "hold",
        "too_few_labels",
    ),
    (
        "a run is under way",
        {"level": signal(), "live_run": ended("training", 0)},
        "hold",
        "run_active",
    ),
    (
        "a person cannot start a second run",
        {"request": ANNA, "live_run": ended("gated", 0)},
        "hold",
        "run_active",
    ),
    (
        "a run was rejected an hour ago",
        {"level": signal(), "last_run": ended("rejected", HOUR)},
        "hold",
        "cool_down",
    ),
    (
        "a run failed an hour ago",
        {"level": signal(), "last_run": ended("failed", HOUR)},
        "hold",
        "cool_down",
    ),
    (
        "a person need not wait for the cool-down",
        {"request": ANNA, "last_run": ended("rejected", HOUR)},
        "retrain",
        "operator",
    ),
    (
        "it was rejected long ago, and new labels came",
        {"level": signal(), "last_run": ended("rejected", 6 * HOUR)},
        "retrain",
        "level",
    ),
    (
        "it was rejected long ago, and nothing is new",
        {"level": signal(), "last_run": ended("rejected", 7 * HOUR), "new_labels": 3},
        "hold",
        "too_few_labels",
    ),
    (
        "a challenger waits for a person, and the contract is not in force",
        {"level": signal(), "last_run": ended("held", 7 * HOUR), "standing": NOT_ACCEPTED},
        "hold",
        "not_in_force",
    ),
    (
        "the first one waits, while nobody serves",
        {"champion": "", "last_run": ended("held", HOUR), "standing": NOT_ACCEPTED},
        "hold",
        "not_in_force",
    ),
    (
        "a person may ask for another one all the same",
        {"request": ANNA, "last_run": ended("held", HOUR), "standing": NOT_ACCEPTED},
        "retrain",
        "operator",
    ),
    (
        "a challenger waited until the contract was accepted",
        {"level": signal(), "last_run": ended("held", 7 * HOUR), "standing": IN_FORCE},
        "retrain",
        "level",
    ),
    (
        "the one that waited was promoted by a person",
        {
            "champion": "c" * 64,
            "last_run": ended("held", 7 * HOUR),
            "standing": NOT_ACCEPTED,
            "level": signal(),
        },
        "retrain",
        "level",
    ),
    (
        "nobody accepted the contract, and no challenger waits yet",
        {"level": signal(), "standing": NOT_ACCEPTED},
        "retrain",
        "level",
    ),
    ("nobody serves yet", {"champion": "", "level": None}, "hold", "no_champion"),
    ("a person starts the first run", {"champion": "", "request": ANNA}, "retrain", "operator"),
    (
        "a person starts the first run without labels",
        {"champion": "", "request": ANNA, "labels": 0, "new_labels": 0},
        "hold",
        "too_few_labels",
    ),
    (
        "a new champion is worse than the one before",
        {"level": signal(loss=0.3), "probation": probation(0.12)},
        "rollback",
        "probation_breach",
    ),
    (
        "it breaks the limit, but the one before was worse still",
        {"level": signal(loss=0.3), "probation": probation(0.4)},
        "retrain",
        "level",
    ),
    (
        "nothing is known of the one before",
        {"level": signal(loss=0.3), "probation": probation(None)},
        "retrain",
        "level",
    ),
    (
        "going back does not wait for a run or the cool-down",
        {
            "level": signal(loss=0.3),
            "probation": probation(0.12),
            "live_run": ended("training", 0),
            "last_run": ended("promoted", HOUR),
        },
        "rollback",
        "probation_breach",
    ),
    (
        "the student is out of its bounds, and so is the teacher",
        {"level": signal(), "teacher": teacher("out")},
        "hold",
        "teacher_out_of_bounds",
    ),
    (
        "not even a person starts a run from a teacher out of its bounds",
        {"request": ANNA, "teacher": teacher("out")},
        "hold",
        "teacher_out_of_bounds",
    ),
    (
        "the cadence is due and the teacher is out of its bounds",
        {"cadence_from": NOW - CONTRACT.cadence_seconds, "teacher": teacher("out")},
        "hold",
        "teacher_out_of_bounds",
    ),
    (
        "going back takes no teacher",
        {"level": signal(loss=0.3), "probation": probation(0.12), "teacher": teacher("out")},
        "rollback",
        "probation_breach",
    ),
    (
        "a teacher that nobody checked may still be learned from",
        {"level": signal(), "teacher": teacher("not enough gold")},
        "retrain",
        "level",
    ),
    (
        "a challenger waits because nobody has checked the teacher",
        {
            "level": signal(),
            "last_run": msgspec.structs.replace(ended("held", 7 * HOUR), challenger="c" * 64),
            "teacher": teacher("not enough gold"),
        },
        "hold",
        "teacher_unverified",
    ),
    (
        "people have checked the teacher since",
        {
            "level": signal(),
            "last_run": msgspec.structs.replace(ended("held", 7 * HOUR), challenger="c" * 64),
        },
        "retrain",
        "level",
    ),
    (
        "a person let the challenger through",
        {
            "level": signal(),
            "last_run": msgspec.structs.replace(ended("held", 7 * HOUR), challenger="b" * 64),
            "teacher": teacher("not enough gold"),
        },
        "retrain",
        "level",
    ),
    ("a new champion behaves", {"probation": probation(0.12)}, "hold", "within_bounds"),
]


@pytest.mark.parametrize(
    ("prose", "change", "action", "rule"), TABLE, ids=[row[0] for row in TABLE]
)
def test_the_policy_decides(prose: str, change: dict[str, Any], action: str, rule: str) -> None:
    decision = decide(msgspec.structs.replace(QUIET, **change), CONTRACT, NOW)
    assert (decision.action, decision.rule) == (action, rule), prose
    assert decision.reason
    assert decision.at == NOW


def test_the_table_reaches_every_rule() -> None:
    reached = {rule for _, _, _, rule in TABLE}
    # these are outcomes, not askers
    outcomes = {"too_few_labels", "within_bounds", "teacher_out_of_bounds"}
    assert len(reached - outcomes) == len(RULES)


def test_a_reason_says_how_many_labels_are_missing() -> None:
    situation = msgspec.structs.replace(QUIET, level=signal(), new_labels=37)
    reason = decide(situation, CONTRACT, NOW).reason
    assert "63" in reason
    assert signal().sentence in reason


@pytest.mark.parametrize("state", ["unsure", "not enough gold", "no tolerance", "out"])
def test_a_reason_says_how_an_unverified_teacher_stands(state: TeacherState) -> None:
    situation = msgspec.structs.replace(QUIET, level=signal(), teacher=teacher(state))
    reason = decide(situation, CONTRACT, NOW).reason
    assert f"it is {state}" in reason
    assert signal().sentence in reason


def test_of_a_verified_teacher_nothing_is_said() -> None:
    reason = decide(msgspec.structs.replace(QUIET, level=signal()), CONTRACT, NOW).reason
    assert "teacher" not in reason.replace("disagrees with the teacher", "")


def test_a_cadence_of_nought_never_falls_due() -> None:
    contract = msgspec.structs.replace(CONTRACT, cadence_seconds=0.0)
    situation = msgspec.structs.replace(QUIET, cadence_from=0.0)
    assert decide(situation, contract, NOW).rule == "within_bounds"


def test_the_same_situation_is_decided_alike() -> None:
    situation = msgspec.structs.replace(QUIET, level=signal())
    first, second = (decide(situation, CONTRACT, NOW) for _ in range(2))
    assert msgspec.json.encode(first) == msgspec.json.encode(second)


def test_a_rollback_says_how_sure_it_is_that_the_champion_is_worse() -> None:
    situation = msgspec.structs.replace(QUIET, level=signal(loss=0.3), probation=probation(0.12))
    reason = decide(situation, CONTRACT, NOW).reason
    assert "in 30.0% of its tickets (95 % interval 25.0% to 35.0%, any number of looks)" in reason
    # of 24 in 200, as scipy.stats.binomtest(24, 200).proportion_ci(method="wilson") has it
    assert "in 12.0% (95 % interval 8.2% to 17.2%, one look at its last 200 labels)" in reason
