"""What a viewer of the demo sees, on a terminal and elsewhere."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from monitor.demo.curve import Curve
from monitor.demo.view import View
from schemas.alerts import Condition, Notification

LONG = "all traffic: above what was accepted; " * 6 + "15.0 % is accepted."


def console(width: int = 80, *, terminal: bool) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, force_terminal=terminal, width=width, height=24), file


def display(view: View, width: int) -> list[str]:
    """The lines below the story."""
    drawn, file = console(width, terminal=False)
    drawn.print(view._display())
    return file.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_the_display_keeps_its_height_and_fits_whatever_it_shows(width: int) -> None:
    view = View(console(width, terminal=True)[0], tickets=7500, tolerance=0.15)
    assert len(display(view, width)) == 5
    for served in range(50, 7501, 50):
        view.progress(served, "a run is training; " * served, 0.9 * served / 7500)
    lines = display(view, width)
    assert len(lines) == 5
    assert {len(line) for line in lines} == {width}
    assert "90.0 %, accepted 15.0 %" in lines[3]


def test_a_long_line_of_the_story_goes_on_below_its_words_and_nothing_is_cut() -> None:
    on, file = console(80, terminal=True)
    View(on, tickets=10, tolerance=0.1).say("ALERT", LONG)
    lines = [line.rstrip() for line in file.getvalue().replace("\x1b[1m", "").splitlines()]
    first, *rest = [line.replace("\x1b[0m", "") for line in lines]
    assert first.startswith("ALERT      all traffic")
    assert all(line.startswith(" " * 11) for line in rest)
    assert " ".join(line[11:].strip() for line in (first, *rest)) == LONG
    assert max(map(len, (first, *rest))) <= 80


def test_of_a_very_long_text_the_beginning_and_the_end_are_told() -> None:
    on, file = console(width=400, terminal=True)
    words = f"hold: {LONG * 2} {'123.4 ' * 60} 0 labels are new"
    View(on, tickets=10, tolerance=0.1).say("decision", words)
    told = re.sub(r"\x1b\[\d*m", "", file.getvalue()).rstrip()
    assert told.startswith("decision   hold: all traffic")
    assert told.endswith("0 labels are new")
    assert len(told) < 310
    assert set(told.split()) - {"…", "decision"} <= set(words.split()), "no number was cut in two"


def test_elsewhere_each_event_is_one_line_and_no_display_is_drawn() -> None:
    on, file = console(terminal=False)
    with View(on, tickets=10, tolerance=0.1) as view:
        view.say("ALERT", LONG * 4)
        view.progress(5, "serving", 0.2)
    assert file.getvalue() == f"ALERT      {LONG * 4}\n"


@pytest.mark.parametrize(
    ("severity", "state", "told"),
    [
        ("page", "firing", "ALERT      QualityOutOfBounds: a customer's [2J words\n"),
        ("warn", "firing", "ALERT      QualityOutOfBounds: a customer's [2J words\n"),
        ("info", "firing", "news       QualityOutOfBounds: a customer's [2J words\n"),
        (
            "page",
            "resolved",
            "resolved   QualityOutOfBounds (lane shop, segment *): a customer's [2J words\n",
        ),
    ],
)
def test_a_notification_is_told_by_what_it_is(severity: str, state: str, told: str) -> None:
    condition = Condition(
        name="QualityOutOfBounds",
        severity=severity,
        labels={"lane": "shop", "segment": "*"},
        since=0.0,
        summary="a customer's \x1b[2J words",
        proctord_does="",
        you_do="",
    )
    on, file = console(terminal=False)
    view = View(on, tickets=10, tolerance=0.1)
    view.send(
        Notification(
            instance="shop",
            dedup_key="k",
            state=state,
            condition=condition,
            started_at=0.0,
            ended_at=None,
        )
    )
    view.notify()
    view.notify()  # it was told, and is not told again
    assert file.getvalue() == told


def test_the_curve_goes_from_the_first_customer_to_the_last_at_any_width() -> None:
    curve = Curve(customers=1000, accepted=0.1)
    for served in range(100, 1001, 100):
        curve.add(served, 0.4 if served > 500 else 0.0)
    assert curve.drawn(10).plain == "▁▁▁▁▁▇▇▇▇▇"
    assert curve.drawn(5).plain == "▁▁▄▇▇"
    assert [str(span.style) for span in curve.drawn(10).spans] == ["green"] * 5 + ["red"] * 5
