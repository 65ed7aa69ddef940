"""PostgreSQL out of the wheel `pgserver`, until standard input ends. `python postgres_server.py FOLDER`.

A script of its own, so that it can run in the interpreter that has the peers. Prints one line of JSON: where the
programs are, where the socket is, the postmaster's process. As root it runs as the user `pgserver`, which the wheel
adds. Memory is set as for a machine of its own; the rest is as it comes.
"""

import json
import os
import sys
from pathlib import Path

import pgserver

SETTINGS = {"shared_buffers": "4GB", "maintenance_work_mem": "3GB", "max_parallel_maintenance_workers": "1"}
"""Everything fits; the cores are two: the leader builds and one helper."""


def main(folder: str) -> None:
    """Serve."""
    first = pgserver.get_server(folder)
    first.psql("CREATE EXTENSION vector;")
    for name, value in SETTINGS.items():
        first.psql(f"ALTER SYSTEM SET {name} = '{value}';")
    first.cleanup()
    server = pgserver.get_server(folder)
    told = {
        "programs": str(Path(pgserver.__file__).parent / "pginstall" / "bin"),
        "socket": str(server.get_postmaster_info().socket_dir),
        "pid": server.get_pid(),
    }
    print(json.dumps(told), flush=True)
    os.read(0, 1)
    server.cleanup()


if __name__ == "__main__":
    main(sys.argv[1])
