"""Checkpoints that survive a kill at any instant.

The model library writes its files one after the other into the final directory, so that a kill
leaves a "last checkpoint" that cannot be resumed. Here a draft is filled, hashed, flushed, and
only then renamed; what is found later is checked against its hashes before it is trusted.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from retrain.durable import digest, flush_tree, move_into_place

SEAL = "COMPLETE.json"
#: checkpoints that are kept: the newest, and one more should it turn out damaged
KEPT = 2


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """`COMPLETE.json`, written after all that it names."""

    step: int
    #: of everything that decides the next step: data, order of rows, settings, versions
    fingerprint: str
    files: dict[str, str]


def draft_of(root: Path) -> Path:
    """Return the directory that a checkpoint is written into before it has a name."""
    return root / ".draft"


def write(root: Path, step: int, fingerprint: str, fill: Callable[[Path], None]) -> Path:
    """Make a checkpoint and return its directory; `fill` writes the files into the path given.

    Guarantee: `root/step-N` is whole or absent, whenever the process is killed.
    """
    draft, final = draft_of(root), root / f"step-{step:08d}"
    for leftover in (draft, final):
        shutil.rmtree(leftover, ignore_errors=True)
    draft.mkdir(parents=True)
    fill(draft)
    files = {str(p.relative_to(draft)): digest(p) for p in draft.rglob("*") if p.is_file()}
    seal = Seal(step=step, fingerprint=fingerprint, files=files)
    (draft / SEAL).write_bytes(msgspec.json.encode(seal))
    flush_tree(draft)
    move_into_place(draft, final)
    # older ones go only now, when the new one is on the disk
    for old in _all(root)[KEPT:]:
        shutil.rmtree(old)
    return final


def newest(root: Path, fingerprint: str) -> Path | None:
    """Return the newest whole checkpoint of this very training, or None."""
    return next((path for path in _all(root) if _whole(path, fingerprint)), None)


def _all(root: Path) -> list[Path]:
    return sorted(root.glob("step-*"), reverse=True)


def _whole(path: Path, fingerprint: str) -> bool:
    try:
        seal = msgspec.json.decode((path / SEAL).read_bytes(), type=Seal)
        same = all(digest(path / name) == sha for name, sha in seal.files.items())
    except (OSError, msgspec.MsgspecError):
        return False
    return same and seal.fingerprint == fingerprint
