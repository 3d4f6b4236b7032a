"""Another program that holds the lock of the database: from "held" until it is told to let go."""

from __future__ import annotations

import sqlite3
import sys

if __name__ == "__main__":
    connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
    for mode in sys.stdin:
        connection.execute(f"begin {mode}")
        print("held", flush=True)
        sys.stdin.readline()
        connection.execute("rollback")
        print("free", flush=True)
