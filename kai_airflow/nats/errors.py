"""What can be wrong with Airflow's connections."""

from __future__ import annotations

from kai_airflow.errors import KaiAirflowError


class ConnectionMissingError(KaiAirflowError):
    """Airflow doesn't know a connection that a task needs."""


class ConnectionWrongError(KaiAirflowError):
    """A connection says something that can't be used."""

    def __init__(self, conn_id: str, what: str, remedy: str = "see docs/deploying.md") -> None:
        super().__init__(f"Airflow's connection {conn_id!r}: {what}. Remedy: {remedy}.")
