"""Files that grow, rotate, vanish and break, on a real file system."""

from __future__ import annotations

import os
import shutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.sources import jsonl
from monitor.sources.jsonl import JsonlSource
from schemas.errors import DependencyDownError, PositionError
from tests.source_reader import Reader


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The file that production writes tickets to."""
    (tmp_path / "tickets").mkdir()
    return tmp_path / "tickets" / "app.jsonl"


@pytest.fixture
def reader(log: Path) -> Iterator[Reader]:
    source = JsonlSource({"tickets": log.parent})
    yield Reader(source)
    source.close()


def _append(log: Path, *lines: str) -> None:
    with log.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def _again(reader: Reader, log: Path) -> Reader:
    """A new process that goes on from what the last one checkpointed."""
    return Reader(JsonlSource({"tickets": log.parent}), reader.positions)


@pytest.mark.parametrize("rotated", ["app.jsonl.1", "app.jsonl-20261103", "app-20261103.jsonl"])
def test_a_renamed_file_keeps_its_place_and_the_new_one_starts_at_its_first_line(
    reader: Reader, log: Path, rotated: str
) -> None:
    _append(log, "1", "2")
    reader.take(2)
    _append(log, "3")
    log.rename(log.parent / rotated)
    _append(log, "4")
    reader.take(4)
    assert reader.values("tickets") == [b"1", b"2", b"3", b"4"]


def test_rotation_while_nobody_reads_loses_nothing(reader: Reader, log: Path) -> None:
    _append(log, "1", "2")
    reader.take(2)
    _append(log, "3")
    log.rename(log.parent / "app.jsonl.1")
    _append(log, "4")
    later = _again(reader, log)
    later.take(2)
    assert later.values("tickets") == [b"3", b"4"]


def test_copytruncate_reads_the_copy_on_and_the_emptied_file_anew(
    reader: Reader, log: Path
) -> None:
    """The copy has the same first line, so it is the same file: nothing comes twice."""
    _append(log, "1", "2")
    reader.take(2)
    _append(log, "3")
    shutil.copy(log, log.parent / "app.jsonl.1")
    reader.take(3)
    os.truncate(log, 0)
    _append(log, "4", "5", "6", "7")
    reader.take(7)
    assert reader.values("tickets") == [str(n).encode() for n in range(1, 8)]


def test_a_place_is_the_path_that_the_file_had_when_it_was_read(reader: Reader, log: Path) -> None:
    _append(log, "1")
    (record,) = reader.take(1)
    assert reader.source.place(record.partition) == str(log)
    log.rename(log.parent / "app.jsonl.1")
    reader.turn()
    reader.turn()
    assert reader.source.place(record.partition) == f"{log}.1"
    assert reader.source.place("tickets/gone") == "tickets/gone"


def test_two_files_with_the_same_first_line_are_both_read(reader: Reader, log: Path) -> None:
    other = log.parent / "other.jsonl"
    _append(log, "", "header", "1", "2", "3")
    reader.take(4)
    _append(other, "header", "4")
    reader.take(4 + 4 + 2)
    assert set(reader.values("tickets")) == {b"header", b"1", b"2", b"3", b"4"}
    _append(log, "5")
    _append(other, "6")
    reader.take(12)
    assert set(reader.values("tickets")[10:]) == {b"5", b"6"}
    later = _again(reader, log)
    log.rename(log.parent / "app.jsonl.1")
    other.rename(log)
    _append(log, "7")
    _append(log.parent / "app.jsonl.1", "8")
    later.take(2)
    assert set(later.values("tickets")) == {b"7", b"8"}, "each goes on where it was"


def test_files_that_all_begin_with_a_header_survive_rotation(reader: Reader, log: Path) -> None:
    """Whether renamed or copied: the new file is not taken for the old one."""
    _append(log, "header", "1", "2")
    reader.take(3)
    log.rename(log.parent / "app.jsonl.1")
    _append(log, "header", "3")
    reader.take(3 + 3 + 2)
    shutil.copy(log, log.parent / "app.jsonl.2")
    os.truncate(log, 0)
    (log.parent / "app.jsonl.1").unlink()
    _append(log, "header", "4", "5")
    reader.take(3 + 3 + 2 + 3)
    assert reader.values("tickets")[-3:] == [b"header", b"4", b"5"]


def test_three_files_are_told_apart_wherever_they_part(reader: Reader, log: Path) -> None:
    for name, lines in {"a": ["h", "1", "2"], "b": ["h", "1", "3", "4"], "c": ["h", "5"]}.items():
        _append(log.parent / f"{name}.jsonl", *lines)
    reader.take(9)
    assert sorted(map(bytes.decode, reader.values("tickets"))) == list("112345hhh")


def test_a_file_that_is_replaced_between_look_and_read_is_not_read_as_the_old_one(
    reader: Reader, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _append(log, "old 1", "old 2")
    reader.take(2)
    monkeypatch.setattr(jsonl, "RESCAN", 3600.0)
    _append(log, "old 3")
    reader.take(3)
    monkeypatch.setattr(reader.source, "_look", _replacing(reader.source, log))
    _append(log, "old 4")
    reader.take(5)
    assert reader.values("tickets")[3:] == [b"new line 1", b"new line 2"]


def _replacing(source: object, log: Path):  # noqa: ANN202
    look = source._look  # type: ignore[attr-defined]
    replaced = []

    def look_then_replace() -> None:
        look()
        if not replaced:
            replaced.append(True)
            log.unlink()
            _append(log, "new line 1", "new line 2")

    return look_then_replace


def test_a_deleted_file_is_passed_over(reader: Reader, log: Path) -> None:
    _append(log, "1")
    reader.take(1)
    log.unlink()
    reader.turn()
    _append(log.parent / "other.jsonl", "2")
    reader.take(2)
    assert reader.values("tickets") == [b"1", b"2"]


def test_a_line_without_its_newline_waits_for_it(reader: Reader, log: Path) -> None:
    _append(log, "1")
    with log.open("a") as file:
        file.write("2 and")
    reader.take(1)
    assert reader.values("tickets") == [b"1"]
    _append(log, " more")
    reader.take(2)
    assert reader.values("tickets") == [b"1", b"2 and more"]


def test_blank_lines_are_no_records_and_offsets_count_their_bytes(
    reader: Reader, log: Path
) -> None:
    _append(log, "1", "", "  ", "2")
    first, second = reader.take(2)
    assert (first.offset, first.next_offset) == (0, 2)
    assert (second.offset, second.next_offset) == (6, 8)


@pytest.mark.parametrize("name", ["app.jsonl.gz", "app.jsonl.1.gz", ".app.jsonl", "app.json"])
def test_other_files_are_not_read(reader: Reader, log: Path, name: str) -> None:
    _append(log.parent / name, "no")
    _append(log, "yes")
    reader.take(1)
    assert reader.values("tickets") == [b"yes"]


@pytest.mark.parametrize("size", [jsonl.HEAD_BYTES + 1, 3 * 1024 * 1024, jsonl.LINE_LIMIT])
def test_a_long_line_arrives_whole_up_to_the_limit(reader: Reader, log: Path, size: int) -> None:
    _append(log, "x" * size, "after")
    reader.take(2)
    assert [len(value or b"") for value in reader.values("tickets")] == [size, 5]


def test_a_line_beyond_the_limit_is_cut_in_bounded_memory(
    reader: Reader, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "LINE_LIMIT", 1024 * 1024)
    size = 40 * 1024 * 1024
    with log.open("wb") as file:
        file.write(b"first\n")
        file.truncate(size)  # a hole: 40 MB of NUL that take no room
        file.seek(size)
        file.write(b"\nafter\n")
    tracemalloc.start()
    read = reader.take(3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [len(one.value or b"") for one in read] == [5, 1024 * 1024, 5]
    assert read[2].offset == size + 1
    assert peak < 12 * 1024 * 1024


def test_streams_of_unlike_size_are_read_side_by_side(tmp_path: Path) -> None:
    """Each ticket's answer is near it, in a backlog of many batches."""
    for stream, line in (("tickets", "t" * 900), ("answers", "a" * 100)):
        (tmp_path / stream).mkdir()
        _append(tmp_path / stream / "app.jsonl", *(f"{n} {line}" for n in range(8000)))
    reader = Reader(JsonlSource.under(tmp_path))
    apart = []
    while len(reader.read) < 16_000:
        reader.turn()
        apart.append(abs(len(reader.values("tickets")) - len(reader.values("answers"))))
    assert len(apart) > 4
    assert max(apart) < 200


def test_a_file_that_lost_its_end_is_refused_and_can_be_read_anew(
    reader: Reader, log: Path
) -> None:
    _append(log, "first", "second", "third")
    reader.take(3)
    os.truncate(log, len("first\nsecond\n"))
    with pytest.raises(PositionError, match=r"app\.jsonl: shorter") as caught:
        reader.until(lambda: False)
    [(partition, gap)] = caught.value.gaps.items()
    assert gap == (reader.positions[partition], 0)
    assert JsonlSource.under(log.parents[1]).gaps(reader.positions) == {partition: gap}
    reader.source.seek(0, {partition: 0})
    reader.take(5)
    assert reader.values("tickets")[3:] == [b"first", b"second"]


def test_no_directory_at_all_is_said_and_one_that_comes_later_is_read(tmp_path: Path) -> None:
    reader = Reader(JsonlSource.under(tmp_path / "events"))
    with pytest.raises(DependencyDownError, match="no directory to read events from"):
        reader.until(lambda: False)
    (tmp_path / "events" / "answers").mkdir(parents=True)
    _append(tmp_path / "events" / "answers" / "a.jsonl", "1")
    reader.take(1)
    assert reader.values("answers") == [b"1"]


def test_idle_files_are_not_opened_again(
    reader: Reader, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand rotated files cost a directory listing a look, not a thousand reads."""
    for n in range(1000):
        _append(log.parent / f"app-{n:04d}.jsonl", f"line of {n}")
    reader.take(1000)
    opened: list[str] = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, *rest: opened.append(path) or real(path, *rest))
    _append(log.parent / "app-0500.jsonl", "one more")
    reader.take(1001)
    assert {Path(path).name for path in opened} == {"app-0500.jsonl"}
