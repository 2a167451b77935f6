"""The command line at its edges: no journal, a spoilt one, a full disk, another directory."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from monitor.__main__ import app, load
from monitor.doctor import examine
from schemas.errors import ConfigError, NotFoundError

CONFIG = """
[contract]
tolerance = 0.1
[teacher]
kind = "scripted"
file = "answers.jsonl"
"""


class House:
    """A directory with a settings file, in which no command is called."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.journal = root / "proctord.db"
        self.config = root / "proctord.toml"
        self.config.write_text(CONFIG)
        row = {"id": "t1", "text": "where is it?", "teacher": {"label": "tracking"}}
        (root / "answers.jsonl").write_text(json.dumps(row))

    def ask(self, *words: str) -> Result:
        return CliRunner().invoke(app, [*words, "-c", str(self.config)])

    def findings(self) -> dict[str, str]:
        monitor, _ = load(self.config)
        found = examine(monitor, registry=self.root / "registry", python=Path("/none"))
        return {finding.what: finding.line() for finding in found if finding.outcome != "note"}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (tmp_path / "house").mkdir()
    return House(tmp_path / "house")


@pytest.mark.parametrize(
    "words",
    [
        "status",
        "quality",
        "alerts",
        "audit",
        "models",
        "dlq list",
        "dlq show 1",
        "gold list",
        "gold status",
        "contract show",
        "retrain --dry-run",
        "promote abc --reason why",
        "rollback --reason why",
    ],
)
def test_who_looks_where_no_journal_is_makes_none(house: House, words: str) -> None:
    told = house.ask(*words.split())
    assert isinstance(told.exception, NotFoundError)
    assert f"no journal at sqlite:///{house.journal} yet" in str(told.exception)
    assert not house.journal.exists()


def test_checks_need_no_journal_and_make_none(house: House) -> None:
    assert house.ask("check-config").exit_code == 0
    assert house.ask("db", "current").stdout.startswith("journal: empty")
    assert "`proctord run` makes it" in house.findings()["journal"]
    assert not house.journal.exists()


def test_accepting_a_contract_makes_the_journal_beside_the_settings(house: House) -> None:
    assert house.ask("contract", "accept", "--reason", "agreed").exit_code == 0
    assert house.journal.exists()
    assert "agreed" in house.ask("audit").stdout
    assert list(Path().iterdir()) == []


def test_a_spoilt_journal_hides_no_other_finding(house: House) -> None:
    house.journal.write_text("garbage " * 200)
    for words in ("status", "db current", "db upgrade"):
        told = house.ask(*words.split())
        assert isinstance(told.exception, ConfigError), words
        assert "file is not a database" in str(told.exception)
    found = house.findings()
    assert "file is not a database" in found["journal"]
    assert found["teacher"].startswith("ok")
    assert "contract" not in found


def test_a_look_that_fails_as_nobody_foresaw_hides_no_other(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.doctor.stand", lambda *_: 1 / 0)
    found = house.findings()
    assert found["contract"].startswith("broken")
    assert "ZeroDivisionError" in found["contract"]
    assert found["teacher"].startswith("ok")


def test_a_journal_elsewhere_than_in_a_database_is_told_by_the_check(house: House) -> None:
    house.config.write_text(f'[journal]\nurl = "foo://host/db"\n{CONFIG}')
    told = house.ask("check-config")
    assert isinstance(told.exception, ConfigError)
    assert "not in foo" in str(told.exception)


def test_a_webhook_that_could_not_sign_is_refused_early(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = '[alerts.channels.oncall]\nkind = "webhook"\nurl = "https://hooks.example.com/1"\n'
    house.config.write_text(f'{CONFIG}{channel}secret_env = "ONCALL_SECRET"\n')
    monkeypatch.delenv("ONCALL_SECRET", raising=False)
    told = house.ask("check-config")
    assert isinstance(told.exception, ConfigError)
    assert "$ONCALL_SECRET is not set" in str(told.exception)
    monkeypatch.setenv("ONCALL_SECRET", "s3cret")
    assert house.ask("check-config").exit_code == 0


def test_labels_are_imported_all_or_none(house: House) -> None:
    rows = [{"id": f"t{i}", "text": "hi", "teacher": {"label": "refund"}} for i in range(1001)]
    file = house.root / "history.jsonl"
    good = "\n".join(json.dumps(row) for row in rows)
    file.write_text(f"{good}\n{{broken\n")
    told = house.ask("labels", "import", str(file))
    assert isinstance(told.exception, ConfigError)
    assert "line 1002" in str(told.exception)
    file.write_text(good)
    assert house.ask("labels", "import", str(file)).stdout.startswith("1,001 labels are new")


@pytest.mark.parametrize("words", ["alerts", "audit", "dlq list", "gold list"])
@pytest.mark.parametrize("limit", ["0", "-3"])
def test_a_limit_is_one_at_least(house: House, words: str, limit: str) -> None:
    assert house.ask(*words.split(), "--limit", limit).exit_code == 2


def proctord(*words: str, stdout: str) -> subprocess.CompletedProcess[str]:
    with Path(stdout).open("w", encoding="utf-8") as out:
        return subprocess.run(
            [sys.executable, "-m", "monitor", *words],
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )


def test_a_full_disk_under_the_output_is_one_line(house: House) -> None:
    done = proctord("check-config", "-c", str(house.config), stdout="/dev/full")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "proctord: what was asked for could not be written: No space left on device"
    ]


def test_a_journal_that_is_spoilt_in_the_middle_is_told_in_words(house: House) -> None:
    house.ask("contract", "accept", "--reason", "agreed")
    with closing(sqlite3.connect(house.journal)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = bytearray(house.journal.read_bytes())
    whole[4096:] = b"\xff" * (len(whole) - 4096)  # the first page says what tables there are
    house.journal.write_bytes(whole)
    done = proctord("audit", "-c", str(house.config), stdout="/dev/null")
    assert "Traceback" not in done.stderr
    assert "malformed" in done.stderr
    assert done.returncode == 78


def test_it_says_which_version_it_is() -> None:
    said = CliRunner().invoke(app, ["--version"])
    assert said.exit_code == 0
    assert said.stdout.startswith("proctord ")
