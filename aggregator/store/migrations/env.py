"""What Alembic runs: the migrations on the connection that `upgrade` was given, whose transaction stays open."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], render_as_batch=True, transactional_ddl=True)
context.run_migrations()
