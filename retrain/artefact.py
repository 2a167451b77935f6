"""A student as files: immutable, complete, named by the sha256 of its manifest.

    model.safetensors config.json tokenizer.json tokenizer_config.json
    labels.json         the labels, in the order of the model's outputs
    calibration.json    {"temperature": T}: confidence = softmax(logits / T)
    eval/scores.jsonl   how it did on the rows that were held out of its training
    README.md           model card
    manifest.json       written last

Anybody with plain transformers can serve it. Nothing in it can run code: no pickles.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import msgspec

from retrain.durable import digest, flush_tree, move_into_place
from schemas.errors import ArtefactError

MANIFEST = "manifest.json"
REQUIRED = ("model.safetensors", "config.json", "tokenizer.json", "labels.json", "calibration.json")

_ID = re.compile(r"[0-9a-f]{64}")
_SUFFIXES = {".safetensors", ".json", ".jsonl", ".md", ".txt"}


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One file of an artefact."""

    sha256: str
    #: bytes
    size: int


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """Where a student comes from. Holds no clock: the same inputs name the same artefact."""

    run_id: str
    lane: str
    #: artefact that training went on from, or the base
    parent: str
    dataset: str
    contract: str
    seed: int
    steps: int
    #: rows of each part of the dataset
    rows: dict[str, int]
    settings: dict[str, str | int | float]
    #: versions of Python and of the libraries that trained it
    versions: dict[str, str]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`manifest.json`."""

    format: int = 1
    files: dict[str, FileEntry]
    lineage: Lineage


def check_id(artefact_id: str) -> str:
    """Return the id if it is one.

    Raises
    ------
    ArtefactError: it is not 64 lower-case hex digits, so it might be a path.

    >>> check_id("../../etc")
    Traceback (most recent call last):
        ...
    schemas.errors.ArtefactError: '../../etc' is no artefact id: 64 hex digits are expected
    """
    if not _ID.fullmatch(artefact_id):
        raise ArtefactError(f"{artefact_id[:80]!r} is no artefact id: 64 hex digits are expected")
    return artefact_id


def locate(root: Path, artefact_id: str) -> Path:
    """Return the directory of an artefact below the registry's root.

    Raises
    ------
    ArtefactError: the id is none, there is no such directory, or it is a link to elsewhere.
    """
    path = root / check_id(artefact_id)
    if path.is_symlink() or not path.is_dir():
        raise ArtefactError(f"artefact {artefact_id[:12]} is not in {root}")
    return path


def seal(draft: Path, lineage: Lineage) -> str:
    """Write the manifest of a finished draft and return the artefact's id.

    The manifest is written after every file it names: a draft without one is a crash's leftover.

    Raises
    ------
    ArtefactError: a required file is missing, or a file is of a kind that is refused.
    """
    manifest = Manifest(files=_inventory(draft), lineage=lineage)
    _check_names(draft, set(manifest.files))
    content = msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1)
    (draft / MANIFEST).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def publish(draft: Path, root: Path, artefact_id: str) -> Path:
    """Move a sealed draft to its name in `root`, durably; the draft must lie in `root`.

    Publishing what is there already changes nothing: the name says that the content is the same.
    """
    final = root / check_id(artefact_id)
    if final.exists():
        verify(final)
        shutil.rmtree(draft)
        return final
    flush_tree(draft)
    move_into_place(draft, final)
    return final


def verify(directory: Path) -> Manifest:
    """Return an artefact's manifest after checking its name and every byte below it.

    Raises
    ------
    ArtefactError: the name, a file's hash or size differs, a file is missing, unlisted, a link,
        or of a kind that could run code.
    """
    try:
        raw = (directory / MANIFEST).read_bytes()
        manifest = msgspec.json.decode(raw, type=Manifest)
        found = _inventory(directory)
    except (OSError, msgspec.MsgspecError) as error:
        raise ArtefactError(f"artefact {directory.name[:12]} cannot be read: {error}") from error
    if hashlib.sha256(raw).hexdigest() != directory.name:
        raise ArtefactError(f"artefact {directory.name[:12]}: its manifest was changed")
    wrong = sorted(n for n in found | manifest.files if found.get(n) != manifest.files.get(n))
    if wrong:
        raise ArtefactError(f"artefact {directory.name[:12]} was changed: {', '.join(wrong)}")
    _check_names(directory, set(found))
    return manifest


def _inventory(directory: Path) -> dict[str, FileEntry]:
    paths = sorted(p for p in directory.rglob("*") if not p.is_dir() or p.is_symlink())
    links = [p.name for p in paths if p.is_symlink()]
    if links:
        raise ArtefactError(f"an artefact may not hold links: {', '.join(links)}")
    return {
        str(p.relative_to(directory)): FileEntry(sha256=digest(p), size=p.stat().st_size)
        for p in paths
        if p != directory / MANIFEST
    }


def _check_names(directory: Path, names: set[str]) -> None:
    missing = [name for name in REQUIRED if name not in names]
    refused = sorted(name for name in names if Path(name).suffix not in _SUFFIXES)
    if missing or refused:
        raise ArtefactError(
            f"artefact in {directory.name[:12]}: missing {missing or 'nothing'}, "
            f"refused {refused or 'nothing'}"
        )
