"""Alembic's entry: run the migrations on the engine that `schemas.journal` hands over."""

import sqlalchemy as sa
from alembic import context

from schemas.tables import metadata

#: Of processes that start at once on an empty PostgreSQL one makes the tables, the others wait.
_LOCK = 0x70726F63

with context.config.attributes["engine"].begin() as connection:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    # batch mode rebuilds a table where SQLite cannot alter it
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    context.run_migrations()
