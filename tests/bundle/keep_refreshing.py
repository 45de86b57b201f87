"""Refreshes a bundle again and again until its standard input ends: ``keep_refreshing.py DAGS``. Prints READY first."""

from __future__ import annotations

import sys
import threading

from kai_airflow.bundle import KrtDagBundle


def main(dags: str) -> None:
    """Two threads at it, with one bundle."""
    over = threading.Event()
    bundle = KrtDagBundle(name="krt", path=dags)
    threads = [threading.Thread(target=keep_refreshing, args=(bundle, over)) for _ in range(2)]
    for thread in threads:
        thread.start()
    print("READY", flush=True)  # noqa: T201
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join()


def keep_refreshing(bundle: KrtDagBundle, over: threading.Event) -> None:
    while not over.is_set():
        bundle.refresh()


if __name__ == "__main__":
    main(sys.argv[1])
