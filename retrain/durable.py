"""Files that are whole or absent after a crash: hash, flush, then rename."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_CHUNK = 1 << 20  # bytes read at a time while hashing


def digest(path: Path) -> str:
    """Return the sha256 of a file's content, as 64 hex digits."""
    seen = hashlib.sha256()
    with path.open("rb") as source:
        while block := source.read(_CHUNK):
            seen.update(block)
    return seen.hexdigest()


def flush(path: Path) -> None:
    """Wait until a file or a directory listing is on the disk.

    Raises
    ------
    OSError: the disk refused. It is not tried again: after a failed fsync the kernel may have
        dropped the pages, and a second call would report success for data that is gone.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_tree(directory: Path) -> None:
    """Flush every file below a directory, then the directories, deepest first."""
    below = sorted(directory.rglob("*"), reverse=True)
    for path in [p for p in below if p.is_file()]:
        flush(path)
    for path in [p for p in below if p.is_dir()]:
        flush(path)
    flush(directory)


def replace_bytes(path: Path, content: bytes) -> None:
    """Put a file in place of another in one step: a reader sees the old or the new one, whole."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with draft.open("wb") as target:
        target.write(content)
        target.flush()
        os.fsync(target.fileno())
    draft.replace(path)
    # without this the rename itself may be lost with the power
    flush(path.parent)


def move_into_place(draft: Path, final: Path) -> None:
    """Rename a finished directory to its final name and make the rename durable.

    Raises
    ------
    OSError: `final` exists already, or lies on another file system.
    """
    draft.rename(final)
    flush(final.parent)
    if draft.parent != final.parent:
        flush(draft.parent)
