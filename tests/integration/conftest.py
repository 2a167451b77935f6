"""A journal for each test that asks for one, on each database that it may live in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa

from schemas.journal import ensure_schema, open_journal
from tests.postgres_rig import Server


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Give the URL of another new journal at each call.

    What concerns one database only says so:
    `@pytest.mark.parametrize("new_url", ["sqlite"], indirect=True)`.
    """
    numbers = count()
    if request.param == "sqlite":
        yield lambda: f"sqlite:///{tmp_path}/journal-{next(numbers)}.db"
        return
    server: Server = request.getfixturevalue("postgres")
    with ExitStack() as databases:
        yield lambda: databases.enter_context(server.database())


@pytest.fixture
def url(new_url: Callable[[], str]) -> str:
    """The URL of the test's journal."""
    return new_url()


@pytest.fixture
def new_journal(new_url: Callable[[], str]) -> Iterator[Callable[[], sa.Engine]]:
    """Open another empty journal at each call."""
    with ExitStack() as engines:

        def journal() -> sa.Engine:
            engine = open_journal(new_url())
            engines.callback(engine.dispose)
            ensure_schema(engine)
            return engine

        yield journal


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    """An empty journal."""
    engine = open_journal(url)
    ensure_schema(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction in it that lasts as long as the test."""
    with engine.begin() as connection:
        yield connection
