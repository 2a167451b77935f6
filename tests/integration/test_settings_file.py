"""A settings file that cannot be read says why, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import ConfigError
from schemas.settings import read_file


def test_a_file_that_is_no_toml_names_itself(tmp_path: Path) -> None:
    path = tmp_path / "proctord.toml"
    path.write_text("[journal\n")
    with pytest.raises(ConfigError, match=r"proctord\.toml is not TOML"):
        read_file(path)


def test_a_file_that_is_missing_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--config"):
        read_file(tmp_path / "none.toml")
