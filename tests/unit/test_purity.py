"""A unit test is pure, so that all of them take seconds; so is the core, so that it can be replayed.

What the core may import stands in pyproject.toml; here is what no import shows.
"""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: they belong to an integration test, next door
IMPURE = re.compile(
    r"\b(tmp_path|tempfile|subprocess|socket|threading|sleep|create_engine|write_text|write_bytes)\b"
    r"|\bimport (torch|transformers|river|scipy\.(stats|integrate))|from (torch|river|scipy\.stats) "
)


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.glob("*.py")), ids=lambda p: p.stem)
def test_a_unit_test_starts_nothing_and_writes_no_file(path: Path) -> None:
    source = path.read_text(encoding="utf-8") if path != Path(__file__) else ""
    assert not [found[0] for found in IMPURE.finditer(source)]


#: the time of this machine, numbers nobody can draw again, and files
UNREPEATABLE = re.compile(
    r"\b(now|utcnow|today)\(|\bdefault_rng\(\)|\bnp\.random\.(?!default_rng|Generator)|\bopen\("
)


def core() -> list[Path]:
    """The files of the modules that pyproject.toml calls the core."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (names,) = [c["source_modules"] for c in contracts if c["name"].startswith("The core ")]
    places = [ROOT / name.replace(".", "/") for name in names]
    found = [path for place in places for path in (*place.rglob("*.py"), place.with_suffix(".py"))]
    return sorted(p for p in found if p.exists() and "channels" not in p.parts)


@pytest.mark.parametrize("path", core(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_core_reads_no_clock_draws_no_chance_and_opens_no_file(path: Path) -> None:
    code = re.sub(r'""".*?"""', "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert not [found[0] for found in UNREPEATABLE.finditer(code)]
