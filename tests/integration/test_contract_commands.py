"""`proctord contract`: look at what is in force, and put another one in force."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from monitor.__main__ import app
from schemas.errors import NotAllowedError
from schemas.journal import ensure_schema, open_journal

CONFIG = """
[journal]
url = "sqlite:///{root}/proctord.db"
[contract]
tolerance = {tolerance}
approvers = ["eva"]
[teacher]
kind = "scripted"
file = "answers.jsonl"
"""


class House:
    """A directory with a settings file that can be rewritten."""

    def __init__(self, root: Path) -> None:
        self.config = root / "proctord.toml"
        self.write(0.1)
        engine = open_journal(f"sqlite:///{root}/proctord.db")
        ensure_schema(engine)
        engine.dispose()

    def write(self, tolerance: float) -> None:
        self.config.write_text(CONFIG.format(root=self.config.parent, tolerance=tolerance))

    def ask(self, *words: str) -> Result:
        return CliRunner().invoke(app, [*words, "-c", str(self.config)])

    def accept(self, by: str = "eva", reason: str = "agreed") -> Result:
        return self.ask("contract", "accept", "--by", by, "--reason", reason)

    def standing(self) -> str:
        shown = json.loads(self.ask("contract", "show", "--json").stdout)
        return str(shown["standing"]["state"])


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_contract_is_accepted_changed_and_accepted_again(house: House) -> None:
    assert house.standing() == "not_accepted"
    first = house.accept()
    assert first.exit_code == 0, first.output
    assert "accepted disagreement: 10 %" in first.stdout
    assert house.standing() == "in_force"
    house.write(0.2)
    assert house.standing() == "changed"
    assert "accepted disagreement: 10 % -> 20 % (looser)" in house.ask("contract", "show").stdout
    assert "10 % -> 20 % (looser)" in house.accept(reason="the season").stdout
    assert house.standing() == "in_force"
    audit = house.ask("audit").stdout
    assert "the season" in audit
    assert "agreed" in audit


def test_what_is_in_force_is_not_accepted_twice(house: House) -> None:
    house.accept()
    again = house.accept(reason="once more")
    assert again.exit_code == 0
    assert "is in force, accepted by eva" in again.stdout
    assert "once more" not in house.ask("audit").stdout


def test_who_is_no_approver_is_refused_before_anything_is_shown(house: House) -> None:
    refused = house.accept(by="bob")
    assert isinstance(refused.exception, NotAllowedError)
    assert not refused.stdout
    assert house.standing() == "not_accepted"


def test_nobody_accepts_without_a_reason_or_under_an_endless_name(house: House) -> None:
    assert house.accept(reason=" ").exit_code == 2
    assert house.accept(by="e" * 129).exit_code == 2
    assert house.standing() == "not_accepted"


@pytest.mark.parametrize(("said", "standing"), [("n", "not_accepted"), ("y", "in_force")])
def test_on_a_terminal_it_asks_first(house: House, said: str, standing: str) -> None:
    ours, theirs = pty.openpty()
    words = ["contract", "accept", "--by", "eva", "--reason", "agreed", "-c", str(house.config)]
    os.write(ours, f"{said}\n".encode())
    done = subprocess.run(
        [sys.executable, "-m", "monitor", *words],
        stdin=theirs,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(ours)
    os.close(theirs)
    assert "Is this what was agreed?" in done.stderr
    assert house.standing() == standing


def test_the_other_pages_say_where_the_contract_stands(house: House) -> None:
    assert "nobody has accepted contract" in house.ask("status").stdout
    house.accept()
    assert "is in force, accepted by eva" in house.ask("status").stdout
    status = json.loads(house.ask("status", "--json").stdout)
    assert status["contract_standing"]["state"] == "in_force"
    assert "tolerance 10 %" in house.ask("check-config").stdout
