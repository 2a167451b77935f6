"""Directories of growing, rotating files as a source: one event a line.

Each stream has a directory. Its files are `NAME.jsonl`, and what rotation makes of that:
`NAME.jsonl.1`, `NAME.jsonl-20261103`, `NAME-20261103.jsonl`. Compressed files are not read, so
compress a rotated file later than a day after it was closed (logrotate: `delaycompress`).

A file is known by how it begins (`file_identity`), not by its name. So it keeps its place when it
is renamed; a file that was emptied and written anew is another one; and of two files of which one
goes on as the other, as there are while `copytruncate` copies, the longer one is read, once.

Everything is shard 0: one process reads the directories.
"""

from __future__ import annotations

import os
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, NamedTuple, Self

from monitor.sources import Poll, Record, file_identity
from monitor.sources.file_identity import HEAD_BYTES
from schemas.errors import DependencyDownError, PositionError
from schemas.events import Stream

#: Bytes that one poll reads, all streams together (more only when a single line is longer).
BATCH_BYTES: Final = 2 * 1024 * 1024
#: A longer line is passed as its first 16 MiB: the decoder refuses it, and the dead letter shows
#: how it began. Up to here dead letters hold every byte.
LINE_LIMIT: Final = 16 * 1024 * 1024
#: Seconds between two looks at idle directories.
IDLE: Final = 0.1
#: A busy reader looks for new files and growth this often, seconds.
RESCAN: Final = 0.5

_NAME: Final = re.compile(r"[^.].*\.jsonl([.-][0-9][0-9TZ:.+-]*)?")


class _File(NamedTuple):
    """A file as the last look found it."""

    stream: Stream
    path: str
    partition: str
    size: int
    #: (inode, size, time of change in ns): the same again means nothing happened to it
    stamp: tuple[int, int, int]

    @property
    def name(self) -> str:
        """What the file is known by within its stream."""
        return self.partition.removeprefix(f"{self.stream}/")


class JsonlSource:
    """Reads every line of every file once, and goes on where the journal's positions are.

    Offsets are bytes. A line without its newline waits for it; blank lines are skipped.
    Streams advance together: each poll takes from each stream in proportion to what it has
    unread, so that a long backlog of tickets and answers is read side by side. Within a stream
    the file that was written to longest ago comes first.

    Parameters
    ----------
    directories: the directory of each stream. One that is not there yet has no files.
    start: where the files that are there at the very first start begin: at their `earliest`
        line, or after their `latest`. Files that appear later are read from their first line.
    """

    def __init__(
        self,
        directories: Mapping[Stream, Path],
        *,
        start: Literal["earliest", "latest"] = "earliest",
    ) -> None:
        self._directories = dict(directories)
        self._start = start
        self._gained = frozenset({0})
        #: None until `seek`: nothing flows before
        self._positions: dict[str, int] | None = None
        #: where files without a position begin, not yet told
        self._began: dict[str, int] = {}
        #: True until the first look after a `seek` that had no position at all
        self._first_start = False
        #: partition -> where the search for the end of a very long line goes on
        self._searched: dict[str, int] = {}
        self._files: dict[str, _File] = {}
        self._by_path: dict[str, _File] = {}
        #: files that were shorter than their position at the last look
        self._short: frozenset[str] = frozenset()
        self._look_at = 0.0
        self._look_took = 0.0

    @classmethod
    def under(cls, root: Path, *, start: Literal["earliest", "latest"] = "earliest") -> Self:
        """Read `root/tickets`, `root/answers` and `root/feedback`."""
        streams: tuple[Stream, ...] = ("tickets", "answers", "feedback")
        return cls({stream: root / stream for stream in streams}, start=start)

    def poll(self, timeout: float) -> Poll:
        """Return the next lines, or wait up to `timeout` seconds for some.

        Raises
        ------
        PositionError: a file is shorter than its position.
        DependencyDownError: none of the directories can be read.
        """
        gained, self._gained = self._gained, frozenset()
        if gained or self._positions is None:
            return Poll([], gained, frozenset())
        until = time.monotonic() + timeout
        while True:
            if time.monotonic() >= self._look_at:
                self._look()
            records = self._read()
            began, self._began = self._began, {}
            if not records:
                self._look_at = 0.0
            # what is left of the wait; a look at many files is not taken again at once
            pause = min(until - time.monotonic(), max(IDLE, 10 * self._look_took))
            if records or began or pause <= 0:
                return Poll(records, frozenset(), frozenset(), began)
            time.sleep(pause)

    def seek(self, shard: int, positions: Mapping[str, int]) -> None:
        """Let the lines flow from these byte offsets."""
        assert shard == 0, "files have one shard"
        self._positions = dict(positions)
        self._first_start = not positions
        self._searched.clear()
        self._look_at = 0.0

    def shard_of(self, partition: str) -> int:  # noqa: ARG002 - there is only one
        """Return 0."""
        return 0

    def commit(self, positions: Mapping[str, int]) -> None:
        """Do nothing: no lag tool watches files."""

    def gaps(self, positions: Mapping[str, int]) -> Mapping[str, tuple[int, int]]:
        """Return the files that are shorter than these positions."""
        self._find_files(positions)
        return self._shorter_than(positions)

    def place(self, partition: str) -> str:
        """Return the path that the file had at the last look; the name of one that is gone."""
        file = self._files.get(partition)
        # a path need not be text; what is said of it must be
        return os.fsencode(file.path).decode(errors="replace") if file else partition

    def lag(self) -> Mapping[str, int]:
        """Return the unread bytes of each file, as of the last look."""
        return {file.partition: self._unread(file) for file in self._files.values()}

    def close(self) -> None:
        """Stop; no file is open between two polls."""
        self._positions = None

    def _unread(self, file: _File) -> int:
        return max(0, file.size - (self._positions or {}).get(file.partition, 0))

    # --- looking ---------------------------------------------------------------------------

    def _look(self) -> None:
        """Find files, growth and rotation, and decide where files without a position begin."""
        assert self._positions is not None
        started = time.monotonic()
        self._find_files(self._positions)
        began = {
            file.partition: self._beginning(file)
            for file in self._files.values()
            if file.partition not in self._positions
        }
        self._first_start = False
        self._positions.update(began)
        self._began.update(began)
        self._look_took = time.monotonic() - started
        self._look_at = time.monotonic() + max(RESCAN, 10 * self._look_took)
        self._check_lengths()

    def _find_files(self, positions: Mapping[str, int]) -> None:
        found = _told_apart(list(self._scan(positions)))
        self._by_path = {file.path: file for file in found}
        # the longest of equal beginnings last, so that it is the one that stays
        self._files = {file.partition: file for file in sorted(found, key=lambda file: file.size)}

    def _scan(self, positions: Mapping[str, int]) -> Iterator[_File]:
        missing = 0
        for stream, directory in self._directories.items():
            names = {name.removeprefix(f"{stream}/") for name in positions if "+" in name}
            try:
                with os.scandir(directory) as entries:
                    for entry in entries:
                        if not _NAME.fullmatch(entry.name):
                            continue
                        if file := self._identify(stream, entry, names):
                            yield file
            except FileNotFoundError:
                missing += 1
            except OSError as error:
                raise DependencyDownError(f"cannot read {directory}: {error}") from error
        if missing == len(self._directories):
            places = ", ".join(str(directory) for directory in self._directories.values())
            raise DependencyDownError(
                f"there is no directory to read events from: {places}",
                next_step="create them, or correct the source's directories",
            )

    def _identify(self, stream: Stream, entry: os.DirEntry[str], names: set[str]) -> _File | None:
        """Name the file by how it begins; None while that is not there, or the file is gone."""
        with _going_on_without():
            stat = entry.stat()
            stamp = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            known = self._by_path.get(entry.path)
            if known and known.stamp == stamp:
                return known
            if entry.is_file():
                with _opened(entry.path) as handle:
                    name = file_identity.identify(handle, names)
                if name:
                    return _File(stream, entry.path, f"{stream}/{name}", stat.st_size, stamp)
        return None

    def _beginning(self, file: _File) -> int:
        if self._first_start and self._start == "latest":
            with _going_on_without(), _opened(file.path) as handle:
                return _last_line_end(handle, file.size)
        return 0

    def _check_lengths(self) -> None:
        """Refuse to go on in a file that lost its end: what is there now is not what was read.

        Twice in a row, because a copy that `copytruncate` had not finished, and the original
        already emptied, can look so for a moment.
        """
        assert self._positions is not None
        short = self._shorter_than(self._positions)
        again = {name: gap for name, gap in short.items() if name in self._short}
        self._short = frozenset(short)
        if again:
            paths = ", ".join(self._files[name].path for name in again)
            raise PositionError(
                f"{paths}: shorter than what was read of it already",
                gaps=again,
                next_step="restore it; or `proctord source accept-gap --reason ...` has it read from "
                "its beginning (what is known already counts as a duplicate); then start again",
            )

    def _shorter_than(self, positions: Mapping[str, int]) -> dict[str, tuple[int, int]]:
        return {
            file.partition: (positions[file.partition], 0)
            for file in self._files.values()
            if file.size < positions.get(file.partition, 0)
        }

    # --- reading ---------------------------------------------------------------------------

    def _read(self) -> list[Record]:
        waiting = [file for file in self._files.values() if self._unread(file)]
        total = sum(self._unread(file) for file in waiting)
        records: list[Record] = []
        fault: DependencyDownError | None = None
        for stream in self._directories:
            queue = [file for file in waiting if file.stream == stream]
            share = sum(self._unread(file) for file in queue) / total if queue else 0.0
            try:
                self._read_stream(queue, int(BATCH_BYTES * share), records)
            except DependencyDownError as error:
                fault = error
        # what was read before the fault counts as read: it must leave now or is lost
        if fault and not records:
            raise fault
        return records

    def _read_stream(self, queue: list[_File], quota: int, records: list[Record]) -> None:
        for file in sorted(queue, key=lambda file: (file.stamp[2], file.path)):
            found = self._read_file(file, quota)
            records += found
            quota -= found[-1].next_offset - found[0].offset if found else 0
            if quota <= 0:
                return

    def _read_file(self, file: _File, quota: int) -> list[Record]:
        assert self._positions is not None
        start = self._positions[file.partition]
        with _going_on_without(), _opened(file.path) as handle:
            records, end = self._lines(handle, file, start, quota)
            # last: had the file been emptied or replaced before the lines were read, its
            # beginning would tell, and the lines would be another file's
            if file_identity.is_still(handle, file.name):
                self._positions[file.partition] = end
                return records
        self._by_path.pop(file.path, None)
        self._look_at = 0.0
        return []

    def _lines(self, handle: int, file: _File, start: int, quota: int) -> tuple[list[Record], int]:
        """Return the complete lines from `start` on, at least one if there is one."""
        # a small share must still hold a whole line of usual length
        chunk = os.pread(handle, min(max(quota, HEAD_BYTES), file.size - start), start)
        end = chunk.rfind(b"\n") + 1
        if end:
            return _split(file, start, chunk[:end]), start + end
        return self._long_line(handle, file, start, start + len(chunk))

    def _long_line(
        self, handle: int, file: _File, start: int, searched: int
    ) -> tuple[list[Record], int]:
        """Return the one line at `start` whose end is after `searched`, if it has come."""
        at = max(searched, self._searched.pop(file.partition, 0))
        while chunk := os.pread(handle, BATCH_BYTES, at):
            newline = chunk.find(b"\n")
            if newline >= 0:
                end = at + newline
                value = os.pread(handle, min(end - start, LINE_LIMIT), start)
                return [_record(file, start, end + 1, value)], end + 1
            at += len(chunk)
        self._searched[file.partition] = at
        return [], start


def _split(file: _File, start: int, lines: bytes) -> list[Record]:
    stream, partition = file.stream, file.partition
    records = []
    for line in lines[:-1].split(b"\n"):
        end = start + len(line) + 1
        if line and not line.isspace():
            records.append(Record(stream, 0, partition, start, end, None, None, line, ()))
        start = end
    return records


def _record(file: _File, start: int, end: int, value: bytes) -> Record:
    return Record(file.stream, 0, file.partition, start, end, None, None, value, ())


def _told_apart(found: list[_File]) -> list[_File]:
    """Give files that have the same name, and go on differently, names of their own."""
    same: defaultdict[str, list[_File]] = defaultdict(list)
    for file in found:
        same[file.partition].append(file)
    apart: list[_File] = []
    for files in same.values():
        split = _split_up(files) if len(files) > 1 else None
        apart += files if split is None else _told_apart(split)
    return apart


def _split_up(files: list[_File]) -> list[_File] | None:
    """Name files by more of their beginning; None where each goes on as the longest does."""
    longest = max(files, key=lambda file: file.size)
    places: list[int] = []
    for file in files:
        with _going_on_without():
            place = file_identity.difference(file.path, longest.path)
            places += [] if place is None else [place]
    if not places:
        return None
    named = []
    for file in files:
        # one that is shorter than where they part has nothing that the others have not
        with _going_on_without():
            if name := file_identity.longer(file.path, file.name, min(places) + 1):
                named.append(file._replace(partition=f"{file.stream}/{name}"))
    return named


def _last_line_end(handle: int, size: int) -> int:
    """Return the offset after the last newline before `size`."""
    end = size
    while end:
        start = max(0, end - HEAD_BYTES)
        newline = os.pread(handle, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


@contextmanager
def _opened(path: str) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def _going_on_without() -> Iterator[None]:
    """Pass over a file that was renamed or deleted since it was seen; the next look knows.

    Raises
    ------
    DependencyDownError: the file is there and cannot be read.
    """
    try:
        yield
    except FileNotFoundError:
        return
    except OSError as error:
        raise DependencyDownError(f"cannot read {error.filename}: {error.strerror}") from error
