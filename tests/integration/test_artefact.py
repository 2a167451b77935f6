"""An artefact is what its name says, or it is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from retrain.artefact import Lineage, locate, publish, seal, verify
from schemas.errors import ArtefactError

LINEAGE = Lineage(
    run_id="run-1",
    lane="default",
    parent="scratch",
    dataset="d" * 64,
    contract="c",
    seed=1,
    steps=10,
    rows={"train": 5},
    settings={"epochs": 1.0},
    versions={"python": "3.11"},
)


def draft(root: Path, name: str = ".draft") -> Path:
    path = root / name
    (path / "eval").mkdir(parents=True)
    (path / "model.safetensors").write_bytes(b"weights")
    for file in ("config.json", "tokenizer.json", "labels.json", "calibration.json"):
        (path / file).write_text("{}")
    (path / "eval" / "scores.jsonl").write_text("")
    return path


@pytest.fixture
def made(tmp_path: Path) -> Path:
    path = draft(tmp_path)
    return publish(path, tmp_path, seal(path, LINEAGE))


def test_an_artefact_that_was_published_is_verified_and_tells_where_it_comes_from(
    made: Path,
) -> None:
    manifest = verify(made)
    assert manifest.lineage == LINEAGE
    assert "eval/scores.jsonl" in manifest.files
    assert locate(made.parent, made.name) == made


def test_the_same_content_has_the_same_name_and_is_published_once(
    made: Path, tmp_path: Path
) -> None:
    again = draft(tmp_path)
    assert publish(again, tmp_path, seal(again, LINEAGE)) == made
    assert [p.name for p in tmp_path.iterdir()] == [made.name]


def change_a_byte(path: Path) -> None:
    (path / "model.safetensors").write_bytes(b"weighty")


def cut_a_file(path: Path) -> None:
    (path / "model.safetensors").write_bytes(b"")


def lose_a_file(path: Path) -> None:
    (path / "eval" / "scores.jsonl").unlink()


def add_a_file(path: Path) -> None:
    (path / "extra.json").write_text("{}")


def add_a_pickle(path: Path) -> None:
    (path / "pytorch_model.bin").write_bytes(b"\x80\x04")


def link_elsewhere(path: Path) -> None:
    (path / "eval" / "secret.json").symlink_to("/etc/hostname")


def change_the_manifest(path: Path) -> None:
    text = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(text.replace('"steps": 10', '"steps": 11'))


def lose_the_manifest(path: Path) -> None:
    (path / "manifest.json").unlink()


def garble_the_manifest(path: Path) -> None:
    (path / "manifest.json").write_text("{")


@pytest.mark.parametrize(
    "damage",
    [
        change_a_byte,
        cut_a_file,
        lose_a_file,
        add_a_file,
        add_a_pickle,
        link_elsewhere,
        change_the_manifest,
        lose_the_manifest,
        garble_the_manifest,
    ],
)
def test_a_damaged_artefact_is_refused(made: Path, damage: Callable[[Path], None]) -> None:
    damage(made)
    with pytest.raises(ArtefactError):
        verify(made)


def test_an_artefact_under_another_name_is_refused(made: Path) -> None:
    other = made.with_name("0" * 64)
    made.rename(other)
    with pytest.raises(ArtefactError, match="manifest was changed"):
        verify(other)


@pytest.mark.parametrize(
    "name", ["", "..", "../" * 20, "A" * 64, "a" * 63, "a" * 64 + "\n", "/etc"]
)
def test_a_name_that_is_no_hash_is_never_made_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtefactError):
        locate(tmp_path, name)


def test_a_link_in_place_of_an_artefact_is_refused(made: Path) -> None:
    name = made.name
    made.rename(made.with_name("elsewhere"))
    made.symlink_to(made.with_name("elsewhere"))
    with pytest.raises(ArtefactError, match="is not in"):
        locate(made.parent, name)


@pytest.mark.parametrize("name", ["code.py", "optimizer.pt", "weights.pkl"])
def test_nothing_that_can_run_is_sealed(tmp_path: Path, name: str) -> None:
    path = draft(tmp_path)
    (path / name).write_text("")
    with pytest.raises(ArtefactError, match="refused"):
        seal(path, LINEAGE)


def test_an_incomplete_draft_is_not_sealed(tmp_path: Path) -> None:
    path = draft(tmp_path)
    (path / "tokenizer.json").unlink()
    with pytest.raises(ArtefactError, match=r"missing \['tokenizer\.json'\]"):
        seal(path, LINEAGE)
