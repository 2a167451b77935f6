from pathlib import Path

import pytest

from schemas.jsonschema import __main__, documents


def test_the_command_writes_every_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(__main__, "FOLDER", tmp_path)
    __main__.main()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == documents()
    assert "ticket.v1.json" in capsys.readouterr().out
