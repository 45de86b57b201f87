"""Asking before what can't be undone."""

from __future__ import annotations

import sys

from kai_airflow.errors import KaiAirflowError


def confirmed(question: str, *, yes: bool) -> bool:
    """Whether the user wants it: says so now at a terminal, or has said so with ``--yes``.

    :raises KaiAirflowError: there is nobody to ask
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise KaiAirflowError(f"{question} Nobody can be asked here. Remedy: say --yes.")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
