"""What can go wrong with the stack of one machine."""

from kai_airflow.errors import KaiAirflowError


class StackError(KaiAirflowError):
    """A part of the stack that can't start, or that ended; the message says which, and what to do."""
