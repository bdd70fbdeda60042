"""One thread at a time looks into code."""

import threading

parsing = threading.RLock()
"""Held by whoever makes syntax trees: Python 3.11 keeps one count of their depth for all threads, and raises
`SystemError` when another thread has changed it meanwhile (see python/cpython#106905)."""
