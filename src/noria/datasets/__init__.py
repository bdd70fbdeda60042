"""Datasets as immutable snapshots: rows with event times, labels with the time they became known."""
