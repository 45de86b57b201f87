"""What keeps a process from starting, its author from sending, or a trigger from its reply."""

from kai_airflow.errors import KaiAirflowError


class ProcessError(KaiAirflowError):
    """A process cannot start, or was asked for what it cannot do."""


class NoReplyError(ProcessError):
    """No reply to a trigger's request in time."""

    def __init__(self, request_id: str, seconds: float) -> None:
        super().__init__(
            f"no reply to request {request_id} within {seconds:g} s. Remedy: see the logs of the workflow's processes, "
            "or wait longer."
        )
