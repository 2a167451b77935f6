"""Alembic's entry: run the migrations on the engine that `schemas.journal` hands over."""

from alembic import context

from schemas.tables import metadata

with context.config.attributes["engine"].begin() as connection:
    # batch mode rebuilds a table where SQLite cannot alter it
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    context.run_migrations()
