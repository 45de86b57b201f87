"""Where a process listens that the KRT gives a ``networking``.

On a cluster each pod has an address of its own. The stack of one machine runs processes side by side on one address,
so it gives each a port of its own and names it in the environment.
"""

from __future__ import annotations

import os

from kai_airflow.process.errors import ProcessError

VARIABLE = "KAI_AIRFLOW_PORT_{}"
EVERYWHERE, HERE = "0.0.0.0", "127.0.0.1"  # noqa: S104  # a pod's neighbours reach it by the pod's address
HIGHEST = 65535


def port(declared: int) -> int:
    """The port to listen on where the KRT's ``targetPort`` is ``declared``.

    :raises ProcessError: ``KAI_AIRFLOW_PORT_{declared}`` holds something else than a port
    """
    given = os.environ.get(VARIABLE.format(declared), str(declared))
    if not given.isascii() or not given.isdecimal() or not 0 < int(given) <= HIGHEST:
        raise ProcessError(f"{VARIABLE.format(declared)} is no port: {given!r}. Remedy: a number up to {HIGHEST}.")
    return int(given)


def address(declared: int) -> tuple[str, int]:
    """Host and port to listen on: all of a pod's addresses, and on a machine that others share its loopback alone.

    Raises as :func:`port`.
    """
    return HERE if VARIABLE.format(declared) in os.environ else EVERYWHERE, port(declared)
