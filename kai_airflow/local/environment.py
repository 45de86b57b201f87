"""What a child of the stack finds in its environment: nothing of the caller's Airflow, NATS or PostgreSQL."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# Settings of other Airflows, databases and clusters that the caller may work with.
FOREIGN = ("AIRFLOW", "PG", "NATS_", "KUBECONFIG", "KUBERNETES_", "VIRTUAL_ENV", "PYTHONHOME")
LOCAL = "127.0.0.1,localhost"


def basis(caller: Mapping[str, str]) -> dict[str, str]:
    """What every part gets: the caller's environment without what is foreign, this interpreter's programs first."""
    kept = {name: value for name, value in caller.items() if not name.startswith(FOREIGN)}
    programs = os.path.dirname(sys.executable)  # noqa: PTH120  # not resolved: a virtual environment's is a link
    kept["PATH"] = os.pathsep.join(filter(None, (programs, caller.get("PATH"))))
    if sys.prefix != sys.base_prefix:
        kept["VIRTUAL_ENV"] = sys.prefix
    kept["PYTHONUNBUFFERED"] = "1"  # a part's last words reach its log
    for name in ("no_proxy", "NO_PROXY"):  # parts talk to each other, never through a proxy
        kept[name] = ",".join(filter(None, (caller.get(name), LOCAL)))
    return kept
