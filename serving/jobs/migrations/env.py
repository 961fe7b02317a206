"""Runs the migrations on the connection `serving.jobs.engines.migrate` brings, inside its transaction."""

from alembic import context

from serving.jobs.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
