"""What keeps a process from starting, or its author from sending."""

from kai_airflow.errors import KaiAirflowError


class ProcessError(KaiAirflowError):
    """A process cannot start, or was asked for what it cannot do."""
