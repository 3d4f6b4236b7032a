"""Another program that moves the log into the database all the time, by every mode that SQLite has."""

from __future__ import annotations

import itertools
import sqlite3
import sys

if __name__ == "__main__":
    connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0.05)
    for mode in itertools.cycle(["passive", "full", "restart", "truncate"]):
        connection.execute(f"pragma wal_checkpoint({mode})").fetchall()
