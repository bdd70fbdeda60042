"""One SQLite commit a step, by hand: the least that durability costs. SYNCHRONOUS is FULL or NORMAL."""

import os
import sqlite3

from contest import HOME, N, Timed, contend, slow, tell, traced

journal = sqlite3.connect(HOME / "journal.db", isolation_level=None)
journal.execute("PRAGMA journal_mode=WAL")
journal.execute(f"PRAGMA synchronous={os.environ['SYNCHRONOUS']}")
journal.execute("CREATE TABLE IF NOT EXISTS steps(number INTEGER PRIMARY KEY, value INTEGER)")


def kept(number, step, x):
    found = journal.execute("SELECT value FROM steps WHERE number = ?", (number,)).fetchone()
    if found:
        return found[0]
    value = step(x)
    journal.execute("INSERT INTO steps VALUES(?, ?)", (number, value))
    return value


def inc(x):
    return x + 1


def chain(step=inc):
    with Timed() as timed:
        x = 0
        for number in range(N):
            x = kept(number, step, x)
    tell(x, timed)


def fan():
    with Timed() as timed:
        total = sum([kept(number, inc, number) for number in range(N)])
    tell(total, timed)


contend(chain=chain, fan=fan, cached=lambda: chain(traced), crash=lambda: chain(slow))
