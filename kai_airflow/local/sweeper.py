"""The stack's own ``kai-airflow sweep``, which ends pods that no task waits for any more."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from kai_airflow.local import airflow
from kai_airflow.local.supervisor import Part

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME = "sweeper"
EVERY = 5  # seconds


def part(kubeconfig: Path, ui: str, password: str, environment: Mapping[str, str], rank: int) -> Part:
    """The sweep of the cluster that ``kubeconfig`` names, asking the Airflow at ``ui``."""
    variables = {
        **environment,
        "KUBECONFIG": str(kubeconfig),
        "KAI_AIRFLOW_URL": ui,
        "KAI_AIRFLOW_USER": airflow.USER,
        "KAI_AIRFLOW_PASSWORD": password,
    }
    command = (sys.executable, "-P", "-m", "kai_airflow.cli", "sweep", "--every", str(EVERY))
    return Part(NAME, command, variables, rank)
