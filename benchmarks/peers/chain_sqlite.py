import sqlite3

from timing import FOLDER, N, Timed, tell

base = sqlite3.connect(f"{FOLDER}/steps.db", isolation_level=None)
base.execute("PRAGMA journal_mode=WAL")
base.execute("PRAGMA synchronous=FULL")
base.execute("CREATE TABLE steps (number INTEGER PRIMARY KEY, result TEXT)")
with Timed() as timed:
    x = 0
    for number in range(N):
        x = x + 1
        base.execute("BEGIN IMMEDIATE")
        base.execute("INSERT INTO steps VALUES (?, ?)", (number, str(x)))
        base.execute("COMMIT")
tell(x, timed)
