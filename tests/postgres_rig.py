"""A PostgreSQL server for tests: one a session, in a directory of its own, and a database a test.

The server's programs are looked for in `PROCTORD_POSTGRES_BIN` alone where it is set, else on the
path and where Debian puts them. As PostgreSQL refuses to run as root, it runs as `postgres` there,
or as `nobody`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from schemas.journal import open_journal, upgrade

#: seconds that a test waits for the server to start or stop
PATIENCE = 60.0

#: Nothing survives a power cut, which no test causes. What was committed survives a kill.
_SETTINGS = {"listen_addresses": "", "fsync": "off", "full_page_writes": "off"}

#: The database in which a journal was made once, to be copied.
_TEMPLATE = "journal"

#: Deletes what is in the tables, which is little: to truncate them takes new files for each.
_EMPTY = """
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
        CONTINUE WHEN name = 'alembic_version';
        EXECUTE format('DELETE FROM %I', name);
    END LOOP;
    PERFORM setval(oid, 1, false) FROM pg_class WHERE relkind = 'S';
END $$
"""


class Server:
    """One server on a Unix socket, with its data in `directory`."""

    def __init__(self, programs: Path, directory: Path) -> None:
        self._programs = programs
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)
        self._free: list[str] = []
        self._revision = ""
        self._user = _user()
        # asks before each use if the connection still lives: some tests kill the server
        self._postgres = sa.create_engine(
            self._url("postgres"), isolation_level="AUTOCOMMIT", pool_pre_ping=True
        )

    def create(self) -> None:
        """Make the server's data, start it, and make the journal that tests get copies of."""
        if self._user:
            shutil.chown(self._directory, self._user)
        # the order of words is a language's here, as with most servers, and not that of bytes
        order = ["--encoding=UTF8", "--locale=C", "--locale-provider=icu", "--icu-locale=en-US"]
        self._run("initdb", "--username=test", "--auth=trust", "--no-sync", *order, "data")
        self.start()
        self._administer(f"CREATE DATABASE {_TEMPLATE}")
        engine = open_journal(self._url(_TEMPLATE))
        self._revision = upgrade(engine)
        engine.dispose()

    def start(self) -> None:
        """Start, recover what a kill left, and wait until clients are let in."""
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        command = [self._programs / "postgres", "-D", "data", "-k", self._directory, *settings]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._as_user())
        until = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"PostgreSQL did not start:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """Let every session break off where it is, as a crash does; nothing is written out."""
        if self._process:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(PATIENCE)
            self._process = None

    def close(self) -> None:
        """Stop, and delete all databases."""
        self._postgres.dispose()
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    @contextmanager
    def database(self) -> Iterator[str]:
        """Give the URL of a database that holds an empty journal."""
        if not self._free:
            self._free.append(self._new_database(_TEMPLATE))
        name = self._free.pop()
        yield self._url(name)
        self._empty(name)
        self._free.append(name)

    @contextmanager
    def bare_database(self) -> Iterator[str]:
        """Give the URL of a database without any table."""
        name = self._new_database("template1")
        yield self._url(name)
        self._administer(f"DROP DATABASE {name} WITH (FORCE)")

    def _new_database(self, template: str) -> str:
        name = f"test_{next(self._numbers)}"
        self._administer(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def _empty(self, database: str) -> None:
        """Make a used database new again, ten times faster than another one is made."""
        others = f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{database}'"
        self._administer(others)
        engine = sa.create_engine(self._url(database))
        with engine.begin() as connection:
            connection.execute(sa.text(_EMPTY))
            connection.execute(
                sa.text("UPDATE alembic_version SET version_num = :new"), {"new": self._revision}
            )
        engine.dispose()

    @property
    def _log(self) -> Path:
        return self._directory / "server.log"

    def _url(self, database: str) -> str:
        return f"postgresql+psycopg://test@/{database}?host={self._directory}"

    def _administer(self, statement: str) -> None:
        with self._postgres.connect() as connection:
            connection.execute(sa.text(statement))

    def _answers(self) -> bool:
        try:
            self._administer("SELECT 1")
        except sa.exc.OperationalError:
            return False
        return True

    def _run(self, program: str, *words: str) -> None:
        command = [self._programs / program, *words]
        subprocess.run(
            command, check=True, capture_output=True, timeout=PATIENCE, **self._as_user()
        )

    def _as_user(self) -> dict[str, Any]:
        where: dict[str, Any] = {"cwd": self._directory}
        if self._user:
            entry = pwd.getpwnam(self._user)
            where |= {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        return where


def _user() -> str:
    """Name whom the server runs as; "": whoever runs the tests."""
    if os.geteuid() != 0:
        return ""
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def _programs() -> Path | None:
    told = os.environ.get("PROCTORD_POSTGRES_BIN")
    found = shutil.which("postgres")
    places = [
        *([Path(found).resolve().parent] if found else []),
        *sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True),
    ]
    if told:
        places = [Path(told)]
    return next((place for place in places if (place / "initdb").exists()), None)


def _version(programs: Path) -> float:
    return float(programs.parent.name)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """One server for all tests of a session; skips where there is none."""
    pytest.importorskip("psycopg", reason="no PostgreSQL: install proctord[postgres]")
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL: install its server, or set PROCTORD_POSTGRES_BIN")
    server = Server(programs, Path(tempfile.mkdtemp(prefix="proctord-postgres-")))
    try:
        server.create()
        yield server
    finally:
        server.close()
