"""What people read."""

from __future__ import annotations

import io

import msgspec
import pytest

from monitor.alerts.channels import StdoutChannel
from monitor.alerts.figures import plain
from monitor.alerts.text import WIDTH, annotations_of, labels_of, render
from schemas.alerts import Condition, Notification

CONDITION = Condition(
    name="QualityOutOfBounds",
    severity="page",
    labels={"lane": "intents", "segment": "language=de"},
    since=1_700_000_000.0,
    summary="traffic of language=de: disagreement 18.2 % (limit 10.0 %, 95 % interval 14.1 to "
    "23.0 %) over 412 labels",
    proctord_does="Student m2 serves on. Run r-7 is training since 2023-11-14 22:20:00 UTC: "
    "disagreement left the tolerance.",
    you_do="Wait for the verdict of the run.",
)
NOTIFICATION = Notification(
    instance="shop",
    dedup_key="0123456789abcdef0123456789abcdef",
    state="firing",
    condition=CONDITION,
    started_at=1_700_000_060.0,
    ended_at=None,
    commands=("proctord status", "proctord retrain --dry-run"),
)


def with_condition(**facts: object) -> Notification:
    condition = msgspec.structs.replace(CONDITION, **facts)
    return msgspec.structs.replace(NOTIFICATION, condition=condition)


def test_the_text_answers_what_since_when_and_what_now() -> None:
    assert render(NOTIFICATION).splitlines() == [
        "[page] QualityOutOfBounds firing at shop lane=intents segment=language=de",
        "  what    traffic of language=de: disagreement 18.2 % (limit 10.0 %, 95 %",
        "          interval 14.1 to 23.0 %) over 412 labels",
        "  since   2023-11-14 22:13:20 UTC",
        "  we do   Student m2 serves on. Run r-7 is training since 2023-11-14 22:20:00",
        "          UTC: disagreement left the tolerance.",
        "  you do  Wait for the verdict of the run.",
        "  paste   proctord status",
        "          proctord retrain --dry-run",
        "  more    RUNBOOK.md, QualityOutOfBounds",
        "  alert   0123456789abcdef0123456789abcdef",
    ]


def test_the_contract_by_which_it_was_judged_is_named() -> None:
    judged = with_condition(contract="3f2a00c1d4e5b6a7")
    assert "  by      contract 3f2a00c1d4e5b6a7" in render(judged).splitlines()
    assert annotations_of(judged)["contract"] == "3f2a00c1d4e5b6a7"


def test_the_end_says_how_long_it_lasted_and_gives_nothing_to_do() -> None:
    over = msgspec.structs.replace(NOTIFICATION, state="resolved", ended_at=1_700_007_300.0)
    text = render(over)
    assert "[page] QualityOutOfBounds resolved" in text
    assert "  now     traffic of language=de" in text
    assert "  over    2023-11-15 00:15:00 UTC, after 2 h" in text
    assert "you do" not in text


def test_news_is_neither_firing_nor_resolved() -> None:
    news = msgspec.structs.replace(with_condition(momentary=True), ended_at=1_700_000_060.0)
    assert render(news).startswith("[page] QualityOutOfBounds at shop")
    assert "  at      2023-11-14" in render(news)


def test_no_line_is_wider_than_a_terminal() -> None:
    words = "disagreement of some traffic " * 60
    text = render(with_condition(summary=words, proctord_does=words, you_do=words))
    assert max(map(len, text.splitlines())) <= WIDTH


@pytest.mark.parametrize(
    "hostile",
    ["\x1b[2J\x1b[31m", "a\r\nyou do  pay", "\u202eevil", "\u200b", "\x00", "\x9b31m", "\udc80"],
    ids=["escape", "forged line", "right to left", "zero width", "nul", "C1", "surrogate"],
)
def test_a_segment_name_cannot_steer_the_terminal_or_forge_a_line(hostile: str) -> None:
    notification = with_condition(
        labels={"segment": f"x={hostile}"}, summary=f"traffic of {hostile}"
    )
    text = render(notification)
    assert "".join(text.split("\n")).isprintable()
    assert len(text.splitlines()) == len(
        render(with_condition(summary="traffic of it")).splitlines()
    )
    assert all(value.isprintable() for value in labels_of(notification).values())


def test_a_text_is_cut_at_its_limit() -> None:
    assert plain("x" * 700, 600) == "x" * 599 + "…"


def test_labels_identify_and_annotations_describe() -> None:
    assert labels_of(NOTIFICATION) == {
        "alertname": "QualityOutOfBounds",
        "instance": "shop",
        "severity": "page",
        "lane": "intents",
        "segment": "language=de",
    }
    described = annotations_of(NOTIFICATION)
    assert described["summary"] == CONDITION.summary
    assert described["description"] == render(NOTIFICATION)
    assert described["commands"] == "proctord status\nproctord retrain --dry-run"


def test_a_terminal_without_umlauts_gets_question_marks_rather_than_no_alert() -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    StdoutChannel("it", terminal).send(with_condition(summary="traffic of Größe=42"))
    terminal.seek(0)
    assert "traffic of Gr??e=42" in terminal.read()
