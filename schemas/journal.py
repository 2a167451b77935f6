"""Opening the journal, and the few statements that both programs need in the same form.

With `accepting` the one file of the ground floor that performs IO: the programs may not import
each other, and must agree on how a transaction begins, on who leads and on what the audit says.

Concurrency: on SQLite every transaction is `BEGIN IMMEDIATE`, because a transaction that reads
first and writes later fails with "database is locked" instead of waiting its turn; `reader`
opts out for work that writes nothing. One writer process a file. On PostgreSQL the isolation is
READ COMMITTED, and each guarded write names its guard in the WHERE clause or locks its row;
`snapshot` and `reader` see one state from their first statement to their last.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.pool import StaticPool

from schemas import tables
from schemas.errors import (
    ConfigError,
    DependencyDownError,
    FencedError,
    HeldElsewhereError,
    NotFoundError,
    ProctordError,
    SchemaMismatchError,
)

#: seconds that SQLite waits for another writer before it gives up
BUSY_TIMEOUT = 5.0

#: seconds that PostgreSQL leaves a transaction open in which nothing happens: a process that was
#: frozen in the middle of one would keep its locks, and nobody could take over from it
IDLE_TIMEOUT = 120.0

#: How libpq finds out that the server is gone without a word. What the URL says wins.
_LIBPQ = {
    "connect_timeout": 10,  # seconds, as the next two
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
}


def open_journal(url: str) -> sa.Engine:
    """Open the database at an SQLAlchemy URL; nothing is created or read yet.

    `sqlite://` alone is a private journal in memory, shared by the threads of this process.

    Raises
    ------
    ConfigError: the URL names another kind of database, or its driver is not installed.
    """
    try:
        engine = _make_engine(sa.make_url(url))
    except (sa.exc.ArgumentError, ModuleNotFoundError) as error:
        raise ConfigError(
            f"`journal.url` cannot be used: {error}",
            next_step="write sqlite:///FILE; or postgresql+psycopg://USER@HOST/DATABASE, and "
            "install proctord[postgres]",
        ) from error
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _configure_sqlite)
        sa.event.listen(engine, "begin", _begin_immediate)
    else:
        sa.event.listen(engine, "connect", _configure_postgresql)
    return engine


def _make_engine(url: sa.URL) -> sa.Engine:
    kind = url.get_backend_name()
    if kind == "sqlite":
        memory = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
        return sa.create_engine(url, hide_parameters=True, **({} if url.database else memory))
    if kind != "postgresql":
        raise sa.exc.ArgumentError(f"a journal lives in SQLite or PostgreSQL, not in {kind}")
    return sa.create_engine(
        url,
        hide_parameters=True,  # errors are logged, and a dead letter is not redacted
        connect_args={name: v for name, v in _LIBPQ.items() if name not in url.query},
        isolation_level="READ COMMITTED",  # whatever the server's default is
        pool_pre_ping=True,  # connections of before a restart of the server are dead
    )


def _configure_postgresql(connection: Any, _record: Any) -> None:
    timeout = f"SET idle_in_transaction_session_timeout = {int(IDLE_TIMEOUT * 1000)}"
    connection.execute(timeout)
    connection.commit()


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # else the driver begins on its own, deferred
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        f"busy_timeout={int(BUSY_TIMEOUT * 1000)}",
        "foreign_keys=ON",
        "wal_autocheckpoint=0",  # `tidy` alone checkpoints, see there
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: sa.Connection) -> None:
    reading = connection.get_execution_options().get("proctord_read_only", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def snapshot(engine: sa.Engine) -> sa.Engine:
    """Return the same journal for transactions whose statements have to see one state.

    On PostgreSQL a write to a row that somebody else changed since then raises
    `OperationalError`, and the transaction is to be tried again. SQLite knows no other way.
    """
    if engine.dialect.name == "sqlite":
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ")


def reader(engine: sa.Engine) -> sa.Engine:
    """Return the same journal for transactions that only read: they wait for no writer."""
    return snapshot(engine).execution_options(proctord_read_only=True)


def tidy(engine: sa.Engine) -> None:
    """Move SQLite's write-ahead log into the database file; other databases see to themselves.

    Up to SQLite 3.51.2 two connections that checkpoint at the same time can corrupt the file
    (sqlite.org/wal.html, "the WAL-reset bug"). So no connection does it by itself, and one
    thread of the one process that holds the journal's lock calls this now and then.
    """
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            # not inside a transaction: SQLAlchemy's connection has begun one by itself
            raw = connection.connection.driver_connection
            assert raw is not None
            raw.rollback()
            raw.execute("PRAGMA wal_checkpoint(PASSIVE)")


@contextmanager
def sole_writer(engine: sa.Engine) -> Iterator[None]:
    """Hold an SQLite journal's lock file while a daemon runs; other databases need none.

    Raises
    ------
    HeldElsewhereError: another daemon holds it. The kernel lets go of it when a process dies.
    """
    path = engine.url.database
    if engine.dialect.name != "sqlite" or not path:
        yield
        return
    with Path(f"{path}.lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise HeldElsewhereError(
                f"another proctord runs on the journal {path}",
                next_step="stop it, or use PostgreSQL for more than one process",
            ) from error
        yield


def insert(connection: sa.Connection, table: sa.Table) -> Any:
    """Return the dialect's `INSERT`, the one that knows `on_conflict_do_*`."""
    module = sqlite if connection.dialect.name == "sqlite" else postgresql
    return module.insert(table)


def add(connection: sa.Connection, table: sa.Table, values: Mapping[str, Any]) -> bool:
    """Insert a row unless a unique key of it is taken; say whether it was inserted.

    By what `RETURNING` yields: the number of rows that an `INSERT` concerned is no driver's duty
    to tell, and psycopg's comes as -1.
    """
    statement = insert(connection, table).values(values).on_conflict_do_nothing()
    return connection.execute(statement.returning(sa.literal_column("1"))).first() is not None


# --- schema --------------------------------------------------------------------------------


def _alembic(engine: sa.Engine) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["engine"] = engine
    return config


def explained(error: sa.exc.DatabaseError, journal: str) -> ProctordError:
    """Say in our words what hinders: a database that does not answer, or one that is spoilt."""
    why = next(iter(str(error.orig).splitlines()), type(error.orig).__name__)
    if isinstance(error, sa.exc.OperationalError):
        return DependencyDownError(
            f"the journal at {journal} does not open: {why}",
            next_step="check `journal.url` and that the server runs, then `proctord doctor`",
        )
    return ConfigError(
        f"the journal at {journal} cannot be read: {why}",
        next_step="check `journal.url`; if it is right, put the file's last backup in its place",
    )


def schema_revision(engine: sa.Engine) -> tuple[str | None, str]:
    """Revision of the database (None: empty, or not there), and the one that this code wants.

    Raises
    ------
    DependencyDownError: the database does not answer.
    ConfigError: it is no database, or it may not be read.
    SchemaMismatchError: a proctord wrote it that knows more revisions than this one.
    """
    scripts = ScriptDirectory.from_config(_alembic(engine))
    wanted = str(scripts.get_current_head())
    if _is_missing(engine):
        return None, wanted  # SQLite would make the file only by being asked
    try:
        with reader(engine).connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
    except sa.exc.DatabaseError as error:
        raise explained(error, engine.url.render_as_string()) from error
    if current is not None and current not in {s.revision for s in scripts.walk_revisions()}:
        raise SchemaMismatchError(
            f"the journal at {engine.url.render_as_string()} was written by a newer proctord: its "
            f"schema is at {current}, and this one knows none after {wanted}",
            next_step="install that proctord; a journal is never made older",
        )
    return current, wanted


def _is_missing(engine: sa.Engine) -> bool:
    path = engine.url.database or ":memory:"
    if engine.dialect.name != "sqlite" or path == ":memory:" or path.startswith("file:"):
        return False
    return not Path(path).exists()


def upgrade(engine: sa.Engine) -> str:
    """Bring the schema to this code's revision, of a journal that is not there too; return it.

    Raises
    ------
    ConfigError: the database refuses, as PostgreSQL does a role that may create no table.
    DependencyDownError, SchemaMismatchError: as `schema_revision`.
    """
    schema_revision(engine)
    try:
        command.upgrade(_alembic(engine), "head")
    except sa.exc.ProgrammingError as error:
        raise ConfigError(
            f"the journal's tables cannot be made: {str(error.orig).splitlines()[0]}",
            next_step="make the role of `journal.url` the owner of its database, or "
            "`GRANT CREATE ON SCHEMA public` to it",
        ) from error
    except sa.exc.DatabaseError as error:
        raise explained(error, engine.url.render_as_string()) from error
    return schema_revision(engine)[1]


def ensure_schema(engine: sa.Engine) -> None:
    """Create an empty journal's tables; refuse one of another version.

    Raises
    ------
    SchemaMismatchError: the tables are older or newer than this code.
    DependencyDownError, ConfigError: as `upgrade`.
    """
    if schema_revision(engine)[0] is None:
        upgrade(engine)
    check_schema(engine)


def check_schema(engine: sa.Engine) -> None:
    """Refuse a journal that is not there, or of another version; for those who only look.

    Raises
    ------
    NotFoundError: there is none yet.
    SchemaMismatchError, DependencyDownError, ConfigError: as `schema_revision`.
    """
    current, wanted = schema_revision(engine)
    if current is None:
        raise NotFoundError(
            f"there is no journal at {engine.url.render_as_string()} yet",
            next_step="`proctord run` makes it; if it should be there, check `journal.url`",
        )
    if current != wanted:
        what = f"the journal's schema is at {current}, this proctord wants {wanted}"
        raise SchemaMismatchError(
            what, next_step="back the journal up, then run `proctord db upgrade`"
        )


# --- leadership ----------------------------------------------------------------------------


class Leadership(msgspec.Struct, frozen=True):
    """A lease that this process held when it looked."""

    name: str
    holder: str
    #: grows with each change of holder; a write under an older token is refused
    token: int


def lead(
    connection: sa.Connection, name: str, holder: str, now: float, ttl: float
) -> Leadership | None:
    """Take or renew a lease; None while another holder's has not expired.

    A holder that was frozen past its lease finds its token outgrown: `check_leadership` in each
    of its write transactions then refuses the write.
    """
    table = tables.lease
    row = connection.execute(
        sa.select(table).where(table.c.name == name).with_for_update()
    ).one_or_none()
    if row is None:
        first = {"name": name, "holder": holder, "token": 1, "expires_at": now + ttl}
        return Leadership(name, holder, 1) if add(connection, table, first) else None
    if row.holder != holder and row.expires_at > now:
        return None
    token = row.token if row.holder == holder and row.expires_at > now else row.token + 1
    connection.execute(
        sa.update(table)
        .where(table.c.name == name, table.c.token == row.token)
        .values(holder=holder, token=token, expires_at=now + ttl)
    )
    return Leadership(name, holder, token)


def check_leadership(connection: sa.Connection, leadership: Leadership) -> None:
    """Refuse to write for a leader that was replaced.

    Raises
    ------
    FencedError: the lease carries another token now.
    """
    table = tables.lease
    token = connection.scalar(
        sa.select(table.c.token).where(table.c.name == leadership.name).with_for_update()
    )
    if token != leadership.token:
        what = f"{leadership.holder} no longer leads `{leadership.name}`"
        raise FencedError(what)


def resign(connection: sa.Connection, leadership: Leadership) -> None:
    """Give a lease back, so that another process need not wait for it to expire."""
    table = tables.lease
    connection.execute(
        sa.update(table)
        .where(table.c.name == leadership.name, table.c.token == leadership.token)
        .values(expires_at=0.0)
    )


# --- audit ---------------------------------------------------------------------------------


def record_audit(
    connection: sa.Connection,
    *,
    now: float,
    actor: str,
    action: str,
    subject: str,
    reason: str,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Add one row to the audit: who did what to which thing, and why."""
    connection.execute(
        sa.insert(tables.audit).values(
            at=now,
            actor=actor,
            action=action,
            subject=subject,
            reason=reason,
            detail=dict(detail or {}),
        )
    )
