"""The schema's history, as Alembic revisions; a test proves that all of them together equal the tables."""
