"""The stack's own ``kai-airflow bridge``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from kai_airflow.local.supervisor import Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kai_airflow.local.home import Home

NAME = "bridge"


def part(home: Home, environment: Mapping[str, str], rank: int) -> Part:
    """The bridge of the stack that is kept in this home."""
    command = (sys.executable, "-P", "-m", "kai_airflow.cli", "bridge", "--home", str(home.path))
    return Part(NAME, command, environment, rank)
