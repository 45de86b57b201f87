"""Makes a folder, and removes it when nobody needs it any more.

A program of its own, standard library only, started by its path (``python -I -S janitor.py PREFIX``): see
:mod:`kai_airflow.local.scratch`. It says where the folder is, then waits for the end of its standard input, a pipe of
which its parent holds the other end; then for the folder's lock.
"""

from __future__ import annotations

import fcntl
import shutil
import sys
import tempfile
from pathlib import Path

LOCK = "lock"


def main(prefix: str) -> None:
    """Keep one folder."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=prefix))
    except OSError as error:
        sys.exit(str(error))
    try:
        with (folder / LOCK).open("w") as lock:
            print(folder, flush=True)  # noqa: T201  # its parent reads it
            sys.stdin.read()
            fcntl.flock(lock, fcntl.LOCK_EX)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(sys.argv[1])
