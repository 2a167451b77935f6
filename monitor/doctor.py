"""`proctord doctor`: try what the daemon needs, one thing at a time, and say how to mend it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeVar

import sqlalchemy as sa

from monitor.app import make_channels, make_embedder, make_source, make_teacher
from monitor.config import MonitorSettings
from monitor.store.positions import positions
from monitor.teachers import Question
from schemas.acceptance import stand
from schemas.accepting import last_acceptance
from schemas.errors import ProctordError, TeacherUnavailableError
from schemas.journal import check_schema, open_journal, reader, schema_revision

T = TypeVar("T")

#: bytes without which a retraining would end in a full disk
ENOUGH_DISK: Final = 2 * 1024**3
#: SQLite before this can corrupt a write-ahead log under two checkpointers (sqlite.org/wal.html)
SAFE_SQLITE: Final = (3, 51, 3)


class Finding(NamedTuple):
    """What one look came to."""

    what: str
    outcome: Literal["ok", "note", "broken"]
    words: str
    exit_code: int = 0

    def line(self) -> str:
        """Return it as one line for a terminal."""
        return f"{self.outcome:6}  {self.what:10}  {self.words}"


def examine(settings: MonitorSettings, *, registry: Path, python: Path) -> list[Finding]:
    """Look at everything; one thing that is broken hides no other."""
    looks: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("journal", lambda: _journal(settings)),
        ("contract", lambda: _contract(settings)),
        ("codecs", _codecs),
        ("source", lambda: _source(settings)),
        ("teacher", lambda: _teacher(settings)),
        ("embedder", lambda: _embedder(settings)),
        ("channels", lambda: _channels(settings)),
        ("registry", lambda: _registry(registry)),
        ("trainer", lambda: _trainer(python)),
        ("sampling", lambda: _salt(settings)),
    )
    return [finding for what, look in looks for finding in _guarded(what, look)]


def _guarded(what: str, look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(look())
    except ProctordError as error:
        found.append(Finding(what, "broken", _one_line(error), error.exit_code))
    except Exception as error:  # noqa: BLE001 - what nobody foresaw must not hide the other looks
        found.append(Finding(what, "broken", f"{type(error).__name__}: {_one_line(error)}", 1))
    return found


def _one_line(error: Exception) -> str:
    return " - ".join(line.strip() for line in str(error).splitlines())


def _journal(settings: MonitorSettings) -> Iterator[Finding]:
    engine = open_journal(settings.journal.url)
    name = engine.url.render_as_string(hide_password=True)
    current, _ = schema_revision(engine)
    if current is None:
        yield _no_journal(name, engine.url.database if engine.dialect.name == "sqlite" else None)
    else:
        check_schema(engine)
        yield Finding("journal", "ok", f"{name}, {current}")
    if engine.dialect.name == "sqlite" and sqlite3.sqlite_version_info < SAFE_SQLITE:
        words = f"SQLite {sqlite3.sqlite_version}: one process checkpoints, as proctord sees to"
        yield Finding("journal", "note", f"{words}; let no other program write to the file")


def _no_journal(name: str, file: str | None) -> Finding:
    if file is not None and not os.access(Path(file).parent, os.W_OK):
        words = f"{name}: there is none, and {Path(file).parent} cannot be written to"
        return Finding("journal", "broken", words, 78)
    return Finding("journal", "ok", f"{name}: empty yet, `proctord run` makes it")


def _asked(settings: MonitorSettings, question: Callable[[sa.Connection], T], otherwise: T) -> T:
    """Ask the journal; `otherwise` where there is none yet. Raises what its own look tells."""
    engine = open_journal(settings.journal.url)
    if schema_revision(engine)[0] is None:
        return otherwise
    check_schema(engine)
    with reader(engine).connect() as connection:
        return question(connection)


def _contract(settings: MonitorSettings) -> Iterator[Finding]:
    try:
        accepted = _asked(settings, last_acceptance, None)
    except ProctordError:
        return  # the journal's finding says what to do
    standing = stand(settings.contract, accepted, time.time())
    yield Finding("contract", "ok" if standing.in_force else "note", standing.words)


def _codecs() -> Iterator[Finding]:
    modules = {"crc32c": "crc32c", "lz4": "lz4", "snappy": "snappy", "zstd": "zstandard"}
    missing = [name for name, module in modules.items() if not importlib.util.find_spec(module)]
    if missing:
        words = f"missing: {', '.join(missing)}; install `kafka-python[crc32c,lz4,snappy,zstd]`"
        yield Finding("codecs", "broken", words, 69)
    else:
        yield Finding("codecs", "ok", "crc32c, gzip, lz4, snappy, zstd")


def _source(settings: MonitorSettings) -> Iterator[Finding]:
    # a look, not a poll: that would join the group and take shards from a daemon that runs
    source = make_source(settings.source)
    gaps = source.gaps(_positions(settings))
    if gaps:
        words = f"{', '.join(map(source.place, gaps))}: events are gone that were not read"
        yield Finding("source", "broken", f"{words}; see `proctord source accept-gap --help`", 78)
    else:
        yield Finding("source", "ok", f"{settings.source.kind} answers, and has what comes next")


def _positions(settings: MonitorSettings) -> dict[str, int]:
    try:
        return _asked(settings, positions, {})
    except ProctordError:
        return {}  # the journal's finding says what to do


def _teacher(settings: MonitorSettings) -> Iterator[Finding]:
    teacher = make_teacher(settings.teacher, settings.task.labels)
    if settings.teacher.kind == "scripted":
        yield Finding("teacher", "ok", "recorded answers are readable")
        return
    question = Question(
        ticket_id="doctor", text="Where is my parcel?", taxonomy=settings.task.labels
    )
    try:
        answer = teacher.ask(question)
    except TeacherUnavailableError as error:
        yield Finding("teacher", "broken", _one_line(error), error.exit_code)
        return
    finally:
        teacher.close()
    said = f"answers in {answer.latency_ms:.0f} ms for ${answer.cost_usd:.6f}"
    if answer.output is None:
        yield Finding("teacher", "broken", f"{said}, but abstained: {answer.abstained}", 1)
    else:
        yield Finding("teacher", "ok", f"{teacher.name} {said}")


def _embedder(settings: MonitorSettings) -> Iterator[Finding]:
    embedder = make_embedder(settings.drift)
    if embedder is None:
        yield Finding("embedder", "ok", "off: no [drift.embedder]")
        return
    embedder.embed(["Where is my parcel?"])  # loads the model
    began = time.perf_counter()
    (vector,) = embedder.embed(["Where is my parcel?"])
    took = time.perf_counter() - began
    words = f"{embedder.fingerprint} makes {len(vector)} numbers of a text in {took * 1e3:.0f} ms"
    yield Finding("embedder", "ok", words)


def _channels(settings: MonitorSettings) -> Iterator[Finding]:
    names = ", ".join(make_channels(settings))
    yield Finding("channels", "ok" if names else "note", names or "none: nobody would be told")


def _registry(root: Path) -> Iterator[Finding]:
    place = root if root.exists() else root.absolute().parent
    if not os.access(place, os.W_OK):
        yield Finding("registry", "broken", f"{place} cannot be written to", 78)
        return
    free = shutil.disk_usage(place).free
    words = f"{root}, {free / 1024**3:.1f} GiB free"
    yield Finding("registry", "ok" if free >= ENOUGH_DISK else "note", words)


def _trainer(python: Path) -> Iterator[Finding]:
    # in the interpreter of the child: this process must not import torch
    script = "import torch, transformers; print(torch.__version__, transformers.__version__)"
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter that the settings name
            [python, "-c", script], capture_output=True, text=True, timeout=120, check=False
        )
    except OSError as error:
        yield Finding("trainer", "broken", f"{python}: {error.strerror}", 78)
        return
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        words = f"{python}: {last[0]}; install `proctord[train]` there"
        yield Finding("trainer", "broken", words, 69)
        return
    torch_version, transformers_version = done.stdout.split()
    yield Finding("trainer", "ok", f"torch {torch_version}, transformers {transformers_version}")


def _salt(settings: MonitorSettings) -> Iterator[Finding]:
    settings.sampling.salt()
    if settings.sampling.salt_env is None and settings.sampling.salt_file is None:
        yield Finding(
            "sampling",
            "note",
            "no `salt_env` or `salt_file`: whoever knows proctord can foresee it",
        )
    else:
        yield Finding("sampling", "ok", f"{settings.sampling.random_rate:.1%} of the tickets")
