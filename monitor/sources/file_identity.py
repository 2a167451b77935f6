"""What a growing file is known by: how it begins, whatever its name is.

The first line that is not blank tells most files apart. Where two files share it (a header, an
event that was published twice), they are known by so many bytes of their beginning as it takes to
tell them apart, and so is every later file with that line. A file of which another is the
continuation is the same file: a copy, or one that is being copied.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from typing import Final

#: Bytes of the first line that give a file its identity; the rest of a longer one does not count.
HEAD_BYTES: Final = 64 * 1024
#: Bytes in which two files with the same first line must differ, to be two.
COMPARED_BYTES: Final = 1024 * 1024


def first_line(handle: int) -> str | None:
    """Return the name that the first line gives an open file; None while that is not complete."""
    head = os.pread(handle, 1024, 0)
    if b"\n" not in head.lstrip():
        head += os.pread(handle, HEAD_BYTES - len(head), len(head))
    return _line_name(head)


def _line_name(head: bytes) -> str | None:
    line, newline, _ = head.lstrip().partition(b"\n")
    if not newline and len(head) < HEAD_BYTES:
        return None
    return _digest(line)


def identify(handle: int, known: Collection[str]) -> str | None:
    """Return the name of an open file; None while too little of it is there.

    Parameters
    ----------
    known: names of before. Only those that `longer` gave matter.
    """
    line = first_line(handle)
    if line is None:
        return None
    lengths = sorted({_length(name) for name in known if name.startswith(f"{line}+")})
    names = [_begins(handle, line, length) for length in reversed(lengths)]
    found = next((name for name in names if name in known), None)
    # the line alone names none of several files: its position may be another one's
    return found or (names[-1] if names else line)


def is_still(handle: int, name: str) -> bool:
    """Tell whether an open file begins as the one of this name."""
    line, more, _ = name.partition("+")
    return name == (_begins(handle, line, _length(name)) if more else first_line(handle))


def difference(one: str, other: str) -> int | None:
    """Return where two files with the same first line differ; None where one goes on as the other.

    Raises
    ------
    OSError: one of them cannot be read, or is gone.
    """
    heads = [_head(path) for path in (one, other)]
    shared = min(len(head) for head in heads)
    lines = {_line_name(head[:HEAD_BYTES]) for head in heads}
    if heads[0][:shared] == heads[1][:shared] or len(lines) > 1:
        return None  # or one was written anew since it was named
    return next(n for n, (a, b) in enumerate(zip(*heads, strict=False)) if a != b)


def longer(path: str, name: str, length: int) -> str | None:
    """Return the name that so many bytes give a file; None while it is shorter."""
    head = _head(path)[:length]
    return _name(name.partition("+")[0], head) if len(head) == length else None


def _head(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - scandir gives paths as text
        return file.read(COMPARED_BYTES)


def _begins(handle: int, line: str, length: int) -> str | None:
    head = os.pread(handle, length, 0)
    return _name(line, head) if len(head) == length else None


def _name(line: str, head: bytes) -> str:
    return f"{line}+{len(head)}.{_digest(head)}"


def _length(name: str) -> int:
    return int(name.partition("+")[2].partition(".")[0])


def _digest(value: bytes) -> str:
    return hashlib.blake2b(value, digest_size=16).hexdigest()
