"""The journal on real databases: its schema, its leases, its lock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from schemas import journal, tables
from schemas.errors import (
    ConfigError,
    DependencyDownError,
    FencedError,
    HeldElsewhereError,
    NotFoundError,
    SchemaMismatchError,
)

ON_SQLITE = pytest.mark.parametrize("new_url", ["sqlite"], indirect=True)


def test_the_migrations_make_the_tables_that_the_code_describes(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, tables.metadata) == []


def test_an_empty_journal_is_created_and_a_current_one_left_alone(engine: sa.Engine) -> None:
    before = journal.schema_revision(engine)
    journal.ensure_schema(engine)
    assert journal.schema_revision(engine) == before
    assert before[0] == before[1]


def test_an_older_journal_is_refused_with_the_command_that_helps(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "schema_revision", lambda _: ("0000", "0001"))
    with pytest.raises(SchemaMismatchError) as refused:
        journal.ensure_schema(engine)
    assert "proctord db upgrade" in str(refused.value)
    assert refused.value.exit_code == 78


@pytest.mark.parametrize("command", [journal.ensure_schema, journal.check_schema, journal.upgrade])
def test_a_journal_of_a_newer_proctord_is_for_that_one_alone(
    engine: sa.Engine, command: Callable[[sa.Engine], object]
) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaMismatchError, match=r"newer proctord.*9999") as refused:
        command(engine)
    assert "install that proctord" in str(refused.value)
    assert "db upgrade" not in str(refused.value)


def test_whoever_only_looks_makes_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    engine = journal.open_journal(f"sqlite:///{path}")
    assert journal.schema_revision(engine)[0] is None
    with pytest.raises(NotFoundError, match="`proctord run` makes it"):
        journal.check_schema(engine)
    assert not path.exists()
    journal.ensure_schema(engine)
    journal.check_schema(engine)
    engine.dispose()


@pytest.mark.parametrize(
    "command", [journal.schema_revision, journal.check_schema, journal.upgrade]
)
def test_a_file_that_is_no_database_is_told_in_words(
    tmp_path: Path, command: Callable[[sa.Engine], object]
) -> None:
    path = tmp_path / "g.db"
    path.write_text("garbage " * 200)
    engine = journal.open_journal(f"sqlite:///{path}")
    with pytest.raises(ConfigError, match="file is not a database"):
        command(engine)
    engine.dispose()


def test_a_journal_that_cannot_be_opened_is_a_dependency_that_is_down() -> None:
    engine = journal.open_journal("sqlite:////nowhere/at/all/journal.db")
    with pytest.raises(DependencyDownError):
        journal.ensure_schema(engine)


@pytest.mark.parametrize(
    ("prose", "url", "told"),
    [
        ("another kind of database", "mysql://kim@host/db", "not in mysql"),
        ("a file instead of a URL", "proctord.db", "URL"),
        ("a driver that nobody has", "postgresql+odd://kim@host/db", "odd"),
    ],
)
def test_a_url_that_cannot_be_used_is_a_configuration_error(
    prose: str, url: str, told: str
) -> None:
    with pytest.raises(ConfigError, match=told) as refused:
        journal.open_journal(url)
    assert "write sqlite:///FILE" in str(refused.value), prose


def test_only_one_holder_leads_until_its_lease_expires(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        first = journal.lead(connection, "evaluate", "a", now=0.0, ttl=15.0)
        assert first is not None
        assert journal.lead(connection, "evaluate", "b", now=14.0, ttl=15.0) is None
        renewed = journal.lead(connection, "evaluate", "a", now=14.0, ttl=15.0)
        assert renewed == first, "a renewal keeps the token"
        second = journal.lead(connection, "evaluate", "b", now=30.0, ttl=15.0)
        assert second is not None
        assert second.token == first.token + 1


def test_a_leader_that_slept_through_its_lease_can_write_no_more(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        frozen = journal.lead(connection, "evaluate", "a", now=0.0, ttl=15.0)
        journal.lead(connection, "evaluate", "b", now=20.0, ttl=15.0)
        assert frozen is not None
        with pytest.raises(FencedError):
            journal.check_leadership(connection, frozen)


def test_a_lease_that_was_given_back_is_free_at_once(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        first = journal.lead(connection, "notify", "a", now=0.0, ttl=15.0)
        assert first is not None
        journal.resign(connection, first)
        assert journal.lead(connection, "notify", "b", now=1.0, ttl=15.0) is not None


@ON_SQLITE
def test_a_second_daemon_on_one_sqlite_file_is_refused(engine: sa.Engine) -> None:
    with journal.sole_writer(engine):
        with pytest.raises(HeldElsewhereError) as refused, journal.sole_writer(engine):
            pass
        assert refused.value.exit_code == 75
    with journal.sole_writer(engine):
        """free again"""


@ON_SQLITE
def test_transactions_that_read_first_and_write_later_wait_for_each_other(
    engine: sa.Engine,
) -> None:
    """Deferred transactions would fail with "database is locked" here; immediate ones do not."""

    def raise_number() -> None:
        for _ in range(50):
            with engine.begin() as connection:
                table = tables.number
                value = connection.scalar(sa.select(table.c.value)) or 0.0
                statement = journal.insert(connection, table).values(name="n", value=value + 1)
                connection.execute(
                    statement.on_conflict_do_update(
                        index_elements=["name"], set_={"value": value + 1}
                    )
                )

    threads = [threading.Thread(target=raise_number) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with engine.begin() as connection:
        assert connection.scalar(sa.select(tables.number.c.value)) == 200.0


@ON_SQLITE
def test_the_write_ahead_log_is_moved_into_the_file_when_told(
    engine: sa.Engine,
) -> None:
    file = Path(engine.url.database or "")
    with engine.begin() as connection:
        for n in range(200):
            journal.record_audit(
                connection, now=n, actor="a", action="b", subject="c", reason="d" * 1000
            )
    size = file.stat().st_size
    journal.tidy(engine)
    assert file.stat().st_size > size


def test_audit_rows_say_who_what_and_why(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        journal.record_audit(
            connection, now=1.0, actor="mira", action="promote", subject="m1", reason="because"
        )
        row = connection.execute(sa.select(tables.audit)).one()
    assert (row.actor, row.action, row.subject, row.reason) == ("mira", "promote", "m1", "because")
