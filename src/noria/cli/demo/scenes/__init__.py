"""Scenes of the demonstration in which something goes wrong on purpose, each real, each with its numbers."""
