"""When a replay looks at what it read: once a window, and once more at the end."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from factories import START, answer, ticket, traffic
from typer.testing import CliRunner, Result

from monitor.__main__ import app
from monitor.loops.consume import ConsumeTurn
from monitor.replay import replay
from schemas.events import Event, Ticket, encode
from schemas.journal import ensure_schema, open_journal


class Consumer:
    """Turns of a `ConsumeLoop` after which its watermark stands at these times; then no more."""

    def __init__(self, *watermarks: float | None) -> None:
        self._coming = list(watermarks)
        self.watermark: float | None = None

    def once(self, now: float, timeout: float) -> ConsumeTurn:
        assert (now, timeout) == (self.watermark or 0.0, 0.0)
        if not self._coming:
            return ConsumeTurn(0, checkpointed=False)
        self.watermark = self._coming.pop(0)
        return ConsumeTurn(10, checkpointed=False)

    def checkpoint(self, now: float) -> None:
        assert now == self.watermark


def looks(*watermarks: float | None) -> list[float]:
    """Return the times at which a replay with windows of 600 s evaluates."""
    found: list[float] = []

    def evaluate(now: float) -> Any:
        found.append(now)
        return SimpleNamespace(signals=())

    monitor: Any = SimpleNamespace(
        consume=Consumer(*watermarks),
        label=SimpleNamespace(once=lambda _now: SimpleNamespace(labelled=0)),
        embed=None,
        evaluate=SimpleNamespace(once=evaluate),
    )
    policy: Any = SimpleNamespace(decide=lambda _now: None)
    engine = open_journal("sqlite://")
    ensure_schema(engine)
    assert not list(replay(monitor, engine, policy, every=600.0))
    engine.dispose()
    return found


@pytest.mark.parametrize(
    ("prose", "watermarks", "expected"),
    [
        ("nothing to read", [], []),
        ("events, but no watermark yet", [None, None], []),
        ("one look a window, not one a batch", [700, 800, 1190, 1210, 1300], [700, 1210]),
        ("a batch that spans windows is one look", [700, 4000, 4100], [700, 4000]),
    ],
)
def test_a_replay_looks_when_a_window_closed_and_at_the_end(
    prose: str, watermarks: list[float | None], expected: list[float]
) -> None:
    at_the_end = [watermarks[-1]] * 2 if expected else []
    assert looks(*watermarks) == expected + at_the_end, prose


_SETTINGS = """
[contract]
tolerance = 0.1
[pipeline]
window_seconds = 20.0
[sampling]
random_rate = 0.5
[teacher]
kind = "scripted"
file = "answers.jsonl"
"""


def history(root: Path, events: list[Event]) -> Result:
    """Replay these events; the teacher would say "a" to all of them."""
    for name in ("tickets", "answers"):
        (root / name).mkdir(parents=True)
        lines = [encode(e) + b"\n" for e in events if isinstance(e, Ticket) == (name == "tickets")]
        (root / name / "log.jsonl").write_bytes(b"".join(lines))
    rows = [
        {"id": e.ticket_id, "text": e.text, "teacher": {"label": "a"}}
        for e in events
        if isinstance(e, Ticket)
    ]
    (root / "answers.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (root / "proctord.toml").write_text(_SETTINGS)
    return CliRunner().invoke(app, ["replay", str(root), "-c", str(root / "proctord.toml")])


def said(replayed: Result) -> list[tuple[str, str]]:
    """Return which signals there were, and when."""
    found = [json.loads(line) for line in replayed.stdout.splitlines()]
    return [(one["severity"], one["at"]) for one in found if one["kind"] == "signal"]


_YEAR_9999 = 253_370_764_800.0


@pytest.mark.parametrize("place", [0, 2, 501])
def test_one_event_of_the_year_9999_changes_nothing_that_is_said(
    tmp_path: Path, place: int
) -> None:
    events = traffic(["a"] * 200 + ["a", "b"] * 200)
    stray = [ticket("stray", _YEAR_9999), answer("stray", _YEAR_9999, "a", "m1")]
    without = history(tmp_path / "without", events)
    replayed = history(tmp_path / "with", [*events[:place], *stray, *events[place:]])
    assert replayed.exit_code == 0, replayed.stderr
    assert said(replayed) == said(without)
    assert any(severity == "page" for severity, _ in said(replayed))
    assert "dated more than a month after the others: " in replayed.stderr
    assert "dated" not in without.stderr


def test_a_replay_goes_on_after_a_silence_of_months(tmp_path: Path) -> None:
    after = traffic(["a"] * 200 + ["a", "b"] * 200, START + 100 * 86400.0, "m2")
    replayed = history(tmp_path, [*traffic(["a"] * 300), *after])
    assert any(severity == "page" for severity, _ in said(replayed))
