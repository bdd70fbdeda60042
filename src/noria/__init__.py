"""Noria: continuous training for Python."""
