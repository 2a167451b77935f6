"""Texts from outside reach no terminal raw, whichever command prints them."""

from __future__ import annotations

from pathlib import Path

import factories
import pytest
from typer.testing import CliRunner

from monitor.__main__ import app
from monitor.alerts.stages import AlertSettings, reconcile
from monitor.estimation.quality import JudgedWindow, estimate_quality
from monitor.store import evaluation, notifying
from schemas.alerts import Condition
from schemas.journal import ensure_schema, open_journal, record_audit
from schemas.windows import Moments

#: clears the screen, rings, and forges a line
EVIL = "channel=\x1b[2J\x07mail\nresolved page AllIsWell"
NOW = factories.START


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings with a journal in which each name that comes from outside is hostile."""
    file = tmp_path / "proctord.toml"
    file.write_text(
        f'[journal]\nurl = "sqlite:///{tmp_path}/proctord.db"\n'
        f'[registry]\nroot = "{tmp_path}/registry"\n[source]\nroot = "{tmp_path}/events"\n'
        '[contract]\ntolerance = 0.1\n[teacher]\nkind = "scripted"\nfile = "answers.jsonl"\n'
    )
    engine = open_journal(f"sqlite:///{tmp_path}/proctord.db")
    ensure_schema(engine)
    alert = Condition(
        name="QualityOutOfBounds",
        severity="page",
        labels={"lane": "default", "segment": EVIL},
        since=NOW,
        summary=f"traffic of {EVIL}",
        proctord_does="",
        you_do="",
    )
    window = JudgedWindow(
        segment=EVIL,
        model=EVIL[8:],
        start=NOW,
        end=NOW + 600,
        tickets=500,
        labels=100,
        lost=0,
        total=100.0,
        squares=0.0,
        uniform=Moments(100, 20.0, 20.0),
    )
    with engine.begin() as connection:
        settings = AlertSettings(instance="shop", channels=())
        notifying.apply(connection, reconcile([alert], [], NOW, settings, lambda _: ""), NOW)
        evaluation.add_estimate(connection, estimate_quality(window, window, 0.1))
        record_audit(connection, now=NOW, actor=EVIL, action="promote", subject=EVIL, reason=EVIL)
    engine.dispose()
    return file


@pytest.mark.parametrize("command", ["status", "alerts", "quality", "audit"])
def test_a_hostile_name_is_printed_as_plain_words(command: str, config: Path) -> None:
    # with `color` nothing is stripped, as on a terminal
    done = CliRunner().invoke(app, [command, "-c", str(config)], color=True)
    assert done.exit_code == 0, done.output
    assert "[2Jmail" in done.output
    assert not set(done.output) & set("\x1b\x07")
    assert not any(line.startswith("resolved page") for line in done.output.splitlines())
