"""The journal's statements of the retraining program, on a real SQLite file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import factories
import msgspec
import pytest
import sqlalchemy as sa

from monitor.store import evaluation
from retrain import evidence, history, store
from retrain.policy import Request
from retrain.store import Champion
from schemas import tables
from schemas.decisions import Decision
from schemas.errors import ConflictError, NotFoundError
from schemas.journal import insert
from schemas.runs import Run, RunState
from schemas.samples import Gold
from tests.journal_rig import add_labelled

A, B, C = "a" * 64, "b" * 64, "c" * 64
CONTRACT = "d" * 16


@pytest.fixture
def journal(engine: sa.Engine) -> Iterator[sa.Connection]:
    with engine.begin() as connection:
        yield connection


def label(
    connection: sa.Connection,
    ticket_id: str,
    at: float,
    *,
    output: str | None = "shipping",
    loss: float | None = 0.0,
    reason: Any = "random",
    model: str = A,
    gold: Gold | None = None,
) -> None:
    sample = factories.sample(
        ticket_id, at, output="returns", model=model, confidence=0.5, reason=reason
    )
    answer = factories.label(ticket_id, at, output, disagreement=loss)
    add_labelled(connection, [(sample, answer)])
    if gold is not None:
        connection.execute(
            insert(connection, tables.gold).values(
                ticket_id=ticket_id, at=at, body=msgspec.json.encode(gold)
            )
        )


def signal(connection: sa.Connection, model: str, at: float, **change: Any) -> None:
    found = factories.signal(
        **({"at": at, "model": model, "sentence": f"at {at}", "contract": CONTRACT} | change)
    )
    evaluation.add_signal(connection, found)


def serve(connection: sa.Connection, artefact_id: str, version: int, since: float = 0.0) -> None:
    champion = Champion(
        lane="default",
        version=version,
        artefact_id=artefact_id,
        since=since,
        actor="test",
        reason="a test",
    )
    store.install_champion(connection, champion)


def run(run_id: str, state: RunState, at: float, challenger: str = "", dataset: str = "") -> Run:
    return Run(
        run_id=run_id,
        lane="default",
        state=state,
        rule="level",
        reason="it drifted",
        actor="proctord",
        requested_at=at,
        updated_at=at + 10,
        challenger=challenger,
        dataset=dataset,
    )


def gather(connection: sa.Connection, request: Request | None = None) -> Any:
    return evidence.gather(
        connection, "default", contract=CONTRACT, probation_labels=50, request=request
    )


def test_an_empty_journal_is_a_situation_too(journal: sa.Connection) -> None:
    situation = gather(journal)
    assert situation.champion == ""
    assert situation.labels == 0
    assert situation.level is None


def test_a_version_is_installed_once(journal: sa.Connection) -> None:
    serve(journal, A, 1)
    with pytest.raises(ConflictError, match="version 1"):
        serve(journal, B, 1)
    assert store.serving(journal, "default") == A


def test_a_lane_has_one_live_run(journal: sa.Connection) -> None:
    store.insert_run(journal, run("r1", "requested", 0))
    with pytest.raises(ConflictError, match="under way"):
        store.insert_run(journal, run("r2", "requested", 1))
    store.save_run(journal, run("r1", "failed", 0))
    store.insert_run(journal, run("r2", "requested", 1))
    live = store.live_run(journal, "default")
    assert live is not None
    assert live.run_id == "r2"


def test_a_run_that_is_not_there_cannot_be_saved(journal: sa.Connection) -> None:
    with pytest.raises(NotFoundError, match="r9"):
        store.save_run(journal, run("r9", "failed", 0))


def test_a_decision_is_written_when_it_differs_from_the_last(journal: sa.Connection) -> None:
    hold = Decision(at=1.0, lane="default", action="hold", rule="within_bounds", reason="quiet")
    retrain = Decision(at=2.0, lane="default", action="retrain", rule="level", reason="loud")
    written = [store.record_decision(journal, d) for d in (hold, hold, retrain, hold)]
    assert written == [True, False, True, True]


def test_a_due_time_is_claimed_once(journal: sa.Connection) -> None:
    assert store.claim(journal, "cadence/default", 100.0, now=101.0)
    assert not store.claim(journal, "cadence/default", 100.0, now=102.0)
    assert store.claim(journal, "cadence/default", 200.0, now=201.0)


def test_rows_to_learn_from_leave_out_abstentions_and_planted_tickets(
    journal: sa.Connection,
) -> None:
    label(journal, "late", 3.0)
    label(journal, "early", 1.0, reason="requested")
    label(journal, "silent", 2.0, output=None, loss=None)
    label(journal, "planted", 2.5, reason="sentinel")
    rows = list(evidence.labelled_rows(journal))
    assert [row.ticket_id for row in rows] == ["early", "late"]
    assert rows[0].text == "text of early"
    assert gather(journal).labels == 2


def test_gold_is_the_humans_answer_or_production_s_when_they_accepted_it(
    journal: sa.Connection,
) -> None:
    verdicts = {
        "corrected": Gold(ticket_id="corrected", at=1, output="sizes", accepted=False, by="x"),
        "accepted": Gold(ticket_id="accepted", at=1, output=None, accepted=True, by="x"),
        "refused": Gold(ticket_id="refused", at=1, output=None, accepted=False, by="x"),
    }
    for ticket_id, gold in verdicts.items():
        label(journal, ticket_id, 1.0, gold=gold)
    label(journal, "unseen", 1.0)
    found = {row.ticket_id: row.gold for row in evidence.labelled_rows(journal)}
    assert found == {"corrected": "sizes", "accepted": "returns", "refused": None, "unseen": None}


def test_fresh_rows_are_random_and_newer(journal: sa.Connection) -> None:
    label(journal, "old", 1.0)
    label(journal, "at the mark", 2.0)
    label(journal, "wanted", 3.0, reason="requested")
    label(journal, "new", 3.0)
    assert [row.ticket_id for row in evidence.fresh_rows(journal, 2.0)] == ["new"]
    assert evidence.count_fresh(journal, 2.0) == 1


def test_new_labels_count_from_the_last_run_with_a_verdict(journal: sa.Connection) -> None:
    for at in (1.0, 2.0, 3.0, 4.0):
        label(journal, f"t{at}", at)
    store.insert_run(journal, run("r1", "rejected", 1.5))
    assert gather(journal).new_labels == 3
    store.insert_run(journal, run("r2", "failed", 3.5))
    assert gather(journal).new_labels == 3, "a failed run learned nothing"


@pytest.mark.parametrize(
    ("prose", "model", "change", "seen"),
    [
        ("a page against the champion", B, {}, ("level",)),
        ("a page against its predecessor", A, {}, ()),
        ("a warning of the level detector", B, {"severity": "warn"}, ()),
        ("a page under another contract", B, {"contract": "0" * 16}, ()),
        ("a page about latency", B, {"metric": "latency"}, ()),
        ("a change", B, {"detector": "change", "severity": "warn"}, ("change",)),
        ("a second opinion", B, {"detector": "adwin", "severity": "info"}, ()),
    ],
)
def test_which_signals_count(
    prose: str, model: str, change: dict[str, Any], seen: tuple[str, ...], journal: sa.Connection
) -> None:
    serve(journal, A, 1)
    serve(journal, B, 2)
    signal(journal, model, 100.0, **change)
    situation = gather(journal)
    assert tuple(n for n in ("level", "change") if getattr(situation, n)) == seen, prose


def test_labels_count_from_a_finding_on(journal: sa.Connection) -> None:
    serve(journal, A, 1)
    for at in (1.0, 2.0, 3.0):
        label(journal, f"t{at}", at)
    signal(journal, A, 2.0)
    assert gather(journal).new_labels == 1, "what came before teaches nothing of what was found"


def test_a_page_stands_after_a_run_and_a_change_does_not(journal: sa.Connection) -> None:
    serve(journal, A, 1)
    signal(journal, A, 100.0)
    signal(journal, A, 100.0, detector="change")
    store.insert_run(journal, run("r1", "rejected", 150.0))
    situation = gather(journal)
    assert situation.level is not None
    assert situation.change is None


def test_a_champion_that_a_run_promoted_is_on_probation(journal: sa.Connection) -> None:
    serve(journal, A, 1)
    for index in range(10):
        label(journal, f"old{index}", 1.0 + index, loss=0.1)
    assert gather(journal).probation is None
    serve(journal, B, 2)
    store.insert_run(journal, run("r1", "promoted", 20.0, challenger=B))
    for index in range(3):
        label(journal, f"new{index}", 30.0 + index, model=B, loss=1.0)
    probation = gather(journal).probation
    assert (probation.previous, probation.labels) == (A, 3)
    assert probation.previous_loss == pytest.approx(0.1)
    assert probation.previous_labels == 10
    for index in range(3, 50):
        label(journal, f"new{index}", 30.0 + index, model=B)
    assert gather(journal).probation is None, "50 labels end it"


def test_a_champion_that_a_person_promoted_is_not_on_probation(journal: sa.Connection) -> None:
    serve(journal, A, 1)
    serve(journal, B, 2)
    assert gather(journal).probation is None


@pytest.mark.parametrize(
    ("served", "expected"),
    [
        ("", None),
        ("a", None),
        ("ab", "a"),
        ("abc", "b"),
        ("aba", None),
        ("abca", None),
        ("abcb", "a"),
    ],
)
def test_going_back_never_leads_to_what_was_left(served: str, expected: str | None) -> None:
    versions = [
        Champion(lane="x", version=v, artefact_id=a, since=0.0, actor="", reason="")
        for v, a in enumerate(served)
    ]
    assert store.predecessor(versions) == expected


def test_the_dataset_of_a_student_that_was_rolled_back_is_barred(journal: sa.Connection) -> None:
    store.insert_run(journal, run("r1", "rolled_back", 1.0, dataset="d1"))
    store.insert_run(journal, run("r2", "rejected", 2.0, dataset="d2"))
    assert store.is_barred(journal, "default", "d1")
    assert not store.is_barred(journal, "default", "d2")


def test_a_model_is_found_by_the_beginning_of_its_id(journal: sa.Connection) -> None:
    store.insert_run(journal, run("r1", "promoted", 1.0, challenger=A))
    for artefact_id in (A, "a" * 10 + "f" * 54, B):
        store.register_artefact(journal, artefact_id, run("r1", "promoted", 1.0), now=2.0)
    serve(journal, B, 1)
    assert store.find_model(journal, "default", "bb").serving == 1
    assert store.find_model(journal, "default", A).state == "promoted"
    for prefix in ("a", "", "c"):
        with pytest.raises(NotFoundError):
            store.find_model(journal, "default", prefix)


class Answer(msgspec.Struct):
    label: str | None
    probabilities: tuple[tuple[str, float], ...] = ()
    latency_ms: float = 1.0
    cost_usd: float = 0.0


class Row(msgspec.Struct):
    id: str
    text: str
    teacher: Answer
    gold: str | None = None


def test_history_is_taken_in_once_and_judged_by_nobody(engine: sa.Engine) -> None:
    rows = [
        Row("h1", "where are my shoes", Answer("shipping"), gold="delays"),
        Row("h2", "too small", Answer("sizes", (("sizes", 0.9),))),
        Row("h3", "???", Answer(None)),
        Row("h2", "too small", Answer("sizes")),
    ]
    assert history.import_labels(engine, rows, at=5.0) == 2
    assert history.import_labels(engine, rows, at=6.0) == 0
    with engine.begin() as connection:
        found = {row.ticket_id: row for row in evidence.labelled_rows(connection)}
    assert found["h1"].gold == "delays"
    assert found["h2"].probabilities == (("sizes", 0.9),)
    requested = all(row.reason == "requested" for row in found.values())
    assert requested, "which no detector looks at"


def test_more_history_than_one_batch_is_taken_in_whole(engine: sa.Engine) -> None:
    rows = [Row(f"h{i}", "late", Answer("shipping")) for i in range(2500)]
    assert history.import_labels(engine, rows, at=5.0) == 2500
