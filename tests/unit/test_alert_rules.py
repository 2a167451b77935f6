"""What holds in which situation.

Long because it is a table: every rule, and each way in which it must not speak.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import factories
import msgspec
import pytest

from monitor.alerts.hysteresis import Threshold
from monitor.alerts.rules import BY_NAME, RULES, closing, conditions
from monitor.alerts.situation import (
    Budget,
    ChampionChange,
    ContractChange,
    Deliveries,
    Intake,
    Quality,
    Situation,
    TeacherHealth,
    Traffic,
)
from schemas.acceptance import Acceptance
from schemas.alerts import Alert, Condition
from schemas.contract import QualityContract
from schemas.decisions import Decision
from schemas.runs import GateResult, Run, Verdict
from schemas.signals import Interval, Signal
from schemas.teachers import TeacherStanding

NOW = 1_000_000.0


def situation(**facts: Any) -> Situation:
    quiet = Situation(now=NOW, lane="intents", champion="m2", champion_since=NOW - 5000)
    return msgspec.structs.replace(quiet, **facts)


def signal(severity: str = "page", segment: str = "*", **facts: Any) -> Signal:
    known = {
        "at": NOW - 600,
        "model": "m2",
        "interval": Interval(0.2, 0.15, 0.25),
        "sentence": "disagreement 20.0 % (limit 10 %)",
    }
    return factories.signal(severity=severity, segment=segment, **(known | facts))


def checked_teacher(**facts: Any) -> TeacherStanding:
    known = {"generation": "g", "name": "big", "prompt_hash": "p", "since": 1.0, "tolerance": 0.1}
    return TeacherStanding(**(known | facts))


def quality(labels: int, estimate: float, model: str = "m2", segment: str = "*") -> Quality:
    return Quality(
        segment=segment,
        model=model,
        labels=labels,
        disagreement=Interval(estimate, estimate - 0.02, estimate + 0.02),
        tolerance=0.1,
    )


def run(state: str, **facts: Any) -> Run:
    return msgspec.structs.replace(
        Run(
            run_id="r-7",
            lane="intents",
            state=state,
            rule="level",
            reason="disagreement left the tolerance",
            actor="policy",
            requested_at=NOW - 900,
            updated_at=NOW - 300,
            attempts=2,
        ),
        **facts,
    )


def fires(name: str, since: float = NOW - 3600, **labels: str) -> Alert:
    condition = Condition(
        name=name,
        severity="page",
        labels=labels,
        since=since,
        summary="",
        proctord_does="",
        you_do="",
    )
    return Alert(
        alert_id=1,
        dedup_key=condition.dedup_key("shop"),
        condition=condition,
        state="firing",
        started_at=since,
        ended_at=None,
        updated_at=NOW - 5,
    )


def traffic(
    events: int = 1000, dead: int = 0, tickets: int = 500, unanswered: int = 0, **more: int
) -> Traffic:
    return Traffic(
        seconds=600.0,
        events=events,
        dead_letters=dead,
        tickets=tickets,
        unanswered=unanswered,
        **more,
    )


def teacher(**facts: Any) -> TeacherHealth:
    healthy = TeacherHealth(name="big", open_since=None, calls=100, failures=0, abstentions=0)
    return msgspec.structs.replace(healthy, **facts)


def budget(spent: float, cap: float = 5.0) -> Budget:
    return Budget(day="2026-11-03", spent_usd=spent, cap_usd=cap)


def queue(oldest_at: float | None = None, given_up: int = 0, channel: str = "pager") -> Deliveries:
    return Deliveries(channel=channel, waiting=3, oldest_at=oldest_at, given_up=given_up)


def change(kind: str, version: int = 3) -> ChampionChange:
    return ChampionChange(
        kind=kind,
        version=version,
        artefact_id="m2",
        previous="m1",
        at=NOW - 10,
        actor="gates",
        reason="all gates passed",
    )


def intake(advanced: float, behind: int = 0, watermark: float = NOW - 60, shard: int = 0) -> Intake:
    return Intake(shard=shard, watermark=watermark, advanced_at=NOW - advanced, behind=behind)


def acceptance(contract: QualityContract, number: int = 1) -> Acceptance:
    return Acceptance(
        number=number,
        contract=contract.hash,
        at=NOW - 3600,
        actor="eva",
        reason="the new season",
        terms=contract.terms,
    )


def ending(days: int) -> QualityContract:
    """Return a contract whose last day is so many days from now."""
    last = dt.datetime.fromtimestamp(NOW, dt.UTC).date() + dt.timedelta(days=days)
    return msgspec.structs.replace(CONTRACT, expires=last)


CONTRACT = QualityContract(tolerance=0.1)
OTHER = QualityContract(tolerance=0.08, daily_teacher_usd=9.0)
CHANGE = ContractChange(after=acceptance(OTHER, number=2), before=acceptance(CONTRACT))
OUT = {"lane": "intents", "segment": "*"}
DAY = 86400.0

CASES: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    ("nothing is known: nothing is said", {}, []),
    (
        "a page finding of the serving student pages",
        {"signals": (signal(),)},
        [("QualityOutOfBounds", "page")],
    ),
    (
        "a warning is a warning",
        {"signals": (signal("warn"),)},
        [("QualityWarning", "warn")],
    ),
    (
        "each segment has its own alert",
        {"signals": (signal(segment="language=de"), signal(segment="language=en"))},
        [("QualityOutOfBounds", "page"), ("QualityOutOfBounds", "page")],
    ),
    (
        "a second opinion (info) is not for people at night",
        {"signals": (signal("info"),)},
        [],
    ),
    (
        "the findings are gone with the old student, the new one has no labels: recovering",
        {"firing": (fires("QualityOutOfBounds", **OUT),)},
        [("QualityOutOfBounds", "page")],
    ),
    (
        "99 good labels of the new student are not enough",
        {"firing": (fires("QualityOutOfBounds", **OUT),), "quality": (quality(99, 0.01),)},
        [("QualityOutOfBounds", "page")],
    ),
    (
        "100 good labels of the old student prove nothing of the new one",
        {"firing": (fires("QualityOutOfBounds", **OUT),), "quality": (quality(500, 0.01, "m1"),)},
        [("QualityOutOfBounds", "page")],
    ),
    (
        "100 labels that are above the tolerance do not end it",
        {"firing": (fires("QualityOutOfBounds", **OUT),), "quality": (quality(100, 0.11),)},
        [("QualityOutOfBounds", "page")],
    ),
    (
        "100 labels within the tolerance end it",
        {"firing": (fires("QualityOutOfBounds", **OUT),), "quality": (quality(100, 0.1),)},
        [],
    ),
    (
        "a latched finding outweighs a good estimate: only a new student clears it",
        {"signals": (signal(),), "quality": (quality(900, 0.05),)},
        [("QualityOutOfBounds", "page")],
    ),
    (
        "a failed run is looked at in the morning",
        {"last_run": run("failed", failure="out of memory")},
        [("RetrainingFailed", "warn")],
    ),
    (
        "a failed run wakes somebody while customers need the new student",
        {"last_run": run("failed"), "signals": (signal(),)},
        [("QualityOutOfBounds", "page"), ("RetrainingFailed", "page")],
    ),
    (
        "a rejected challenger",
        {"last_run": run("rejected")},
        [("ChallengerRejected", "warn")],
    ),
    (
        "a rejection before the present champion came is history",
        {"last_run": run("rejected", updated_at=NOW - 6000)},
        [],
    ),
    ("a promoted run needs no alert of its own", {"last_run": run("promoted")}, []),
    (
        "no retraining for 1.2 periods is still in time",
        {"cadence_seconds": DAY, "last_success_at": NOW - 1.2 * DAY},
        [],
    ),
    (
        "no retraining for 1.25 periods is late",
        {"cadence_seconds": DAY, "last_success_at": NOW - 1.25 * DAY},
        [("RetrainingOverdue", "warn")],
    ),
    (
        "no retraining for two periods wakes somebody",
        {"cadence_seconds": DAY, "last_success_at": NOW - 2 * DAY},
        [("RetrainingOverdue", "page")],
    ),
    (
        "never retrained: the champion's age counts",
        {"cadence_seconds": 1000.0},
        [("RetrainingOverdue", "page")],
    ),
    (
        "without a champion there is no cadence to keep",
        {"cadence_seconds": 1000.0, "champion": ""},
        [],
    ),
    ("a cadence of 0 is none", {"cadence_seconds": 0.0, "last_success_at": 0.0}, []),
    (
        "the breaker is open",
        {"teacher": teacher(open_since=NOW - 60)},
        [("TeacherUnavailable", "warn")],
    ),
    (
        "half of the calls fail",
        {"teacher": teacher(failures=50)},
        [("TeacherUnavailable", "warn")],
    ),
    ("a third of the calls fail", {"teacher": teacher(failures=33)}, []),
    (
        "a third still fail after half did: not over yet",
        {"teacher": teacher(failures=33), "firing": (fires("TeacherUnavailable"),)},
        [("TeacherUnavailable", "warn")],
    ),
    ("two of three calls fail: too few to speak of", {"teacher": teacher(calls=3, failures=2)}, []),
    (
        "a fifth of the answers are abstentions",
        {"teacher": teacher(calls=60, failures=10, abstentions=10)},
        [("TeacherAbstains", "warn")],
    ),
    ("a tenth of the answers are", {"teacher": teacher(abstentions=11)}, []),
    ("79 % of the budget", {"budget": budget(3.95)}, []),
    ("80 % of the budget", {"budget": budget(4.0)}, [("TeacherBudgetLow", "warn")]),
    (
        "all of the budget: both hold, and the greater mutes the lesser later on",
        {"budget": budget(5.0)},
        [("TeacherBudgetLow", "warn"), ("TeacherBudgetSpent", "warn")],
    ),
    (
        "a settled reservation does not take the warning back at once",
        {"budget": budget(3.8), "firing": (fires("TeacherBudgetLow"),)},
        [("TeacherBudgetLow", "warn")],
    ),
    (
        "a new day does",
        {"budget": budget(0.0), "firing": (fires("TeacherBudgetLow"),)},
        [],
    ),
    ("a cap of nothing is a wish", {"budget": budget(0.0, cap=0.0)}, []),
    ("4 % dead letters", {"traffic": traffic(960, dead=40)}, []),
    ("5 % dead letters", {"traffic": traffic(950, dead=50)}, [("DeadLettersHigh", "warn")]),
    (
        "4 % after 5 %: not over yet",
        {"traffic": traffic(960, dead=40), "firing": (fires("DeadLettersHigh"),)},
        [("DeadLettersHigh", "warn")],
    ),
    (
        "1 %: over",
        {"traffic": traffic(990, dead=10), "firing": (fires("DeadLettersHigh"),)},
        [],
    ),
    (
        "most messages cannot be read",
        {"traffic": traffic(10, dead=990)},
        [("DeadLettersHigh", "page")],
    ),
    (
        "one bad message at night is no share",
        {"traffic": traffic(2, dead=1, tickets=1, unanswered=1)},
        [],
    ),
    ("4 % of the clocks are wrong", {"traffic": traffic(from_future=30, too_old=10)}, []),
    ("5 % are", {"traffic": traffic(from_future=30, too_old=20)}, [("ClockSkew", "warn")]),
    ("nearly all are fast", {"traffic": traffic(from_future=900)}, [("ClockSkew", "page")]),
    (
        "an old backlog is no reason to wake somebody",
        {"traffic": traffic(too_old=1000)},
        [("ClockSkew", "warn")],
    ),
    (
        "3 % of wrong clocks after 5 %: not over yet",
        {"traffic": traffic(from_future=30), "firing": (fires("ClockSkew"),)},
        [("ClockSkew", "warn")],
    ),
    ("too few to speak of clocks", {"traffic": traffic(events=99, from_future=99)}, []),
    ("a tenth is unanswered", {"traffic": traffic(unanswered=50)}, [("AnswersMissing", "warn")]),
    ("no ticket is answered", {"traffic": traffic(unanswered=500)}, [("AnswersMissing", "page")]),
    (
        "the traffic drifted",
        {"drifts": (signal("warn", detector="drift", metric="words"),)},
        [("InputsDrifted", "warn")],
    ),
    ("an event 10 minutes ago", {"intake": (intake(600),)}, []),
    ("no event for 15 minutes", {"intake": (intake(900),)}, [("EventsStale", "warn")]),
    (
        "one quiet shard of two is no silence",
        {"intake": (intake(5000), intake(5, shard=1))},
        [],
    ),
    (
        "one shard stands while its messages wait",
        {"intake": (intake(5000, behind=10), intake(5, shard=1))},
        [("EventsStale", "page")],
    ),
    (
        "events flow, but they are of two hours ago",
        {"intake": (intake(1, behind=10, watermark=NOW - 7200),)},
        [("EventsStale", "warn")],
    ),
    (
        "an old watermark with nothing waiting is a quiet source",
        {"intake": (intake(1, watermark=NOW - 7200),)},
        [],
    ),
    ("a notification waits for a minute", {"deliveries": (queue(NOW - 60),)}, []),
    (
        "a notification waits for ten minutes",
        {"deliveries": (queue(NOW - 600), queue(channel="stdout"))},
        [("NotificationsFailing", "page")],
    ),
    ("one was given up", {"deliveries": (queue(given_up=1),)}, [("NotificationsFailing", "page")]),
    ("a promotion", {"champion_changes": (change("promoted"),)}, [("StudentPromoted", "info")]),
    (
        "a rollback",
        {"champion_changes": (change("rolled_back"),)},
        [("StudentRolledBack", "warn")],
    ),
    (
        "nobody has accepted the contract",
        {"contract": CONTRACT},
        [("ContractNotAccepted", "warn")],
    ),
    (
        "nobody has accepted it, and customers are harmed",
        {"contract": CONTRACT, "signals": (signal(),)},
        [("QualityOutOfBounds", "page"), ("ContractNotAccepted", "page")],
    ),
    (
        "another contract was accepted than the one in the file",
        {"contract": CONTRACT, "accepted": acceptance(OTHER)},
        [("ContractNotAccepted", "warn")],
    ),
    ("the contract is in force", {"contract": CONTRACT, "accepted": acceptance(CONTRACT)}, []),
    (
        "its last day is over",
        {"contract": ending(-1), "accepted": acceptance(ending(-1))},
        [("ContractExpired", "warn")],
    ),
    (
        "its last day is over, and customers are harmed",
        {"contract": ending(-1), "accepted": acceptance(ending(-1)), "signals": (signal(),)},
        [("QualityOutOfBounds", "page"), ("ContractExpired", "page")],
    ),
    (
        "it ends in two weeks",
        {"contract": ending(13), "accepted": acceptance(ending(13))},
        [("ContractExpiring", "warn")],
    ),
    (
        "it ends later",
        {"contract": ending(15), "accepted": acceptance(ending(15))},
        [],
    ),
    (
        "somebody accepted another contract",
        {
            "contract": OTHER,
            "accepted": acceptance(OTHER, number=2),
            "contract_changes": (CHANGE,),
        },
        [("ContractChanged", "info")],
    ),
    (
        "people find too many errors of the teacher",
        {"standing": checked_teacher(state="out")},
        [("TeacherOutOfBounds", "page")],
    ),
    (
        "nobody checks the teacher",
        {"standing": checked_teacher(state="not enough gold")},
        [("TeacherUnverified", "warn")],
    ),
    (
        "another model answers under the teacher's name",
        {"standing": checked_teacher(state="within", change="silent")},
        [("TeacherChanged", "warn")],
    ),
]


@pytest.mark.parametrize(("facts", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_the_rules_say_what_holds(facts: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    found = conditions(situation(**facts))
    assert [(condition.name, condition.severity) for condition in found] == expected


def test_every_rule_can_speak_and_does_so_under_its_own_name() -> None:
    spoken = {
        (rule.name, condition.name)
        for rule in RULES
        for _, facts, _ in CASES
        for condition in rule.find(situation(**facts))
    }
    assert spoken == {(rule.name, rule.name) for rule in RULES}


def test_what_mutes_a_rule_is_a_rule() -> None:
    assert len(BY_NAME) == len(RULES)
    assert {rule.muted_by for rule in RULES} - {""} <= set(BY_NAME)


def test_since_does_not_move_while_an_alert_fires() -> None:
    facts = {"traffic": traffic(900, dead=100)}
    [first] = conditions(situation(**facts))
    [later] = conditions(situation(**facts, firing=(fires("DeadLettersHigh", since=NOW - 1234),)))
    assert first.since == NOW
    assert later.since == NOW - 1234


def test_identity_holds_no_values_and_no_times() -> None:
    early = conditions(situation(signals=(signal(),), traffic=traffic(900, dead=100)))
    late = conditions(
        situation(
            now=NOW + 999,
            signals=(signal(statistic=9.9, sentence="other"),),
            traffic=traffic(500, dead=100),
        )
    )
    assert [c.dedup_key("shop") for c in early] == [c.dedup_key("shop") for c in late]


def test_the_text_has_the_figures_the_interval_and_what_is_done() -> None:
    decision = Decision(
        at=NOW - 30,
        lane="intents",
        action="hold",
        rule="too_few_labels",
        reason="120 new labels, 380 are missing",
    )
    [found] = conditions(
        situation(signals=(signal(),), quality=(quality(150, 0.2),), decision=decision)
    )
    assert "all traffic: disagreement 20.0 % (limit 10 %)" in found.summary
    assert (
        "20.0 % (95 % interval 18.0 to 22.0 %, one look) of 150 labels; 10.0 % is accepted"
        in found.summary
    )
    assert "Student m2 serves on" in found.proctord_does
    assert "hold (too_few_labels): 120 new labels, 380 are missing" in found.proctord_does


def test_a_live_run_is_what_proctord_does_about_it() -> None:
    [found] = conditions(situation(signals=(signal(),), run=run("training")))
    assert "Run r-7 is training since" in found.proctord_does


def test_recovering_is_said_in_words_with_the_labels_that_are_missing() -> None:
    firing = (fires("QualityOutOfBounds", since=NOW - 7000, **OUT),)
    [found] = conditions(situation(firing=firing, quality=(quality(40, 0.02),)))
    assert "recovering" in found.summary
    assert "Not enough labels yet: 40 of 100" in found.summary
    assert found.since == NOW - 7000
    assert found.dedup_key("shop") == firing[0].dedup_key


def test_a_student_from_elsewhere_is_not_said_to_serve_since_1970() -> None:
    firing = (fires("QualityOutOfBounds", **OUT),)
    [known] = conditions(situation(firing=firing))
    [unknown] = conditions(situation(firing=firing, champion_since=0.0))
    assert "Student m2 serves since 1970-01-12" in known.summary
    assert "Student m2 serves. " in unknown.summary


def test_a_rejection_names_the_gate_that_decided() -> None:
    gate = GateResult(
        gate="quality",
        outcome="fail",
        reason="quality: upper bound 14 % is above 10 %",
        n=400,
        estimate=0.12,
        upper=0.14,
        limit=0.1,
    )
    verdict = Verdict(outcome="fail", gates=(gate,))
    [found] = conditions(situation(last_run=run("rejected", verdict=verdict)))
    assert "quality: upper bound 14 % is above 10 %" in found.summary


def test_every_condition_names_the_contract_and_is_the_same_alert_under_another() -> None:
    found = [
        conditions(situation(traffic=traffic(900, dead=100), contract=c, accepted=acceptance(c)))
        for c in (CONTRACT, OTHER)
    ]
    [[one], [other]] = found
    assert (one.contract, other.contract) == (CONTRACT.hash, OTHER.hash)
    assert one.dedup_key("shop") == other.dedup_key("shop")


def test_news_of_a_contract_says_in_words_what_changed() -> None:
    [found] = conditions(situation(contract_changes=(CHANGE,)))
    assert "eva accepted contract" in found.summary
    assert "accepted disagreement: 10 % -> 8 % (stricter)" in found.summary
    assert "money for the teacher: $5.00 a day -> $9.00 a day" in found.summary


def test_who_looks_at_a_contract_that_is_not_in_force_learns_who_waits_for_it() -> None:
    held = run("held", challenger="c" * 64)
    verified = checked_teacher(state="within")
    [found] = conditions(situation(contract=CONTRACT, last_run=held, standing=verified))
    assert "Challenger cccccccccccc of run r-7 passed its gates and waits" in found.summary
    [quiet] = conditions(situation(contract=CONTRACT, last_run=held, champion="c" * 64))
    assert "waits" not in quiet.summary, "a person promoted it"


def test_two_promotions_of_one_student_are_two_pieces_of_news() -> None:
    found = conditions(situation(champion_changes=(change("promoted", 3), change("promoted", 5))))
    assert len({condition.dedup_key("shop") for condition in found}) == 2
    assert all(condition.momentary for condition in found)


def test_a_ratio_that_is_no_number_raises_nothing() -> None:
    limit = Threshold(raise_at=0.5, clear_below=0.2)
    assert not limit.holds(float("nan"), firing=False)
    assert not limit.holds(float("nan"), firing=True)


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_the_runbook_has_a_heading_for_every_alert_and_its_commands(name: str) -> None:
    runbook = (Path(__file__).parents[2] / "deploy" / "RUNBOOK.md").read_text(encoding="utf-8")
    sections = dict(part.split("\n", 1) for part in runbook.split("\n## ")[1:])
    assert name in sections
    for part in ("Meaning.", "Impact.", "What proctord does.", "What you do.", "Commands."):
        assert f"**{part}**" in sections[name]
    for command in BY_NAME[name].commands:
        assert command in sections[name]


def test_the_runbook_has_no_heading_for_an_alert_that_is_gone() -> None:
    runbook = (Path(__file__).parents[2] / "deploy" / "RUNBOOK.md").read_text(encoding="utf-8")
    assert [part.split("\n", 1)[0] for part in runbook.split("\n## ")[1:]] == list(BY_NAME)


def test_what_ended_a_page_is_said_with_the_figures_of_the_new_student() -> None:
    (page,) = conditions(situation(signals=(signal(),)))
    assert closing(situation(quality=(quality(3014, 0.05),)), page) == (
        "all traffic: over, back within what was accepted. Student m2 serves since 1970-01-12 "
        "12:23:20 UTC. Newest estimate: 5.0 % (95 % interval 3.0 to 7.0 %, one look) of 3,014 "
        "labels; 10.0 % is accepted."
    )


@pytest.mark.parametrize(
    ("champion_since", "why"),
    [(NOW, "against the student that served before"), (NOW - 5000, "judged by another contract")],
)
def test_a_warning_ends_with_its_student_or_its_contract(champion_since: float, why: str) -> None:
    (warning,) = conditions(situation(signals=(signal("warn"),)))
    assert why in closing(situation(champion_since=champion_since), warning)


def test_an_alert_that_ends_says_so_also_where_no_rule_knows_it() -> None:
    alert = fires("OfALaterVersion").condition
    alert = msgspec.structs.replace(alert, summary="seven of nine")
    assert closing(situation(), alert) == "no longer the case. It was: seven of nine"
