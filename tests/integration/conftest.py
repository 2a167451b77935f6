"""A journal for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from schemas.journal import ensure_schema, open_journal


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    """An empty journal in a file."""
    engine = open_journal(f"sqlite:///{tmp_path}/journal.db")
    ensure_schema(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction in it that lasts as long as the test."""
    with engine.begin() as connection:
        yield connection
