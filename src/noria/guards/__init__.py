"""Judges data before anything learns from it: schema, quality, poisoning, feedback loops; keeps what is in quarantine."""
