"""A unit test is pure, so that all of them take seconds."""

import re
from pathlib import Path

import pytest

#: they belong to an integration test, next door
IMPURE = re.compile(
    r"\b(tmp_path|tempfile|subprocess|socket|threading|sleep|create_engine|write_text|write_bytes)\b"
    r"|\bimport (torch|transformers|river|scipy\.(stats|integrate))|from (torch|river|scipy\.stats) "
)


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.glob("*.py")), ids=lambda p: p.stem)
def test_a_unit_test_starts_nothing_and_writes_no_file(path: Path) -> None:
    source = path.read_text(encoding="utf-8") if path != Path(__file__) else ""
    assert not [found[0] for found in IMPURE.finditer(source)]
