"""What can go wrong with a measurement."""

from kai_airflow.errors import KaiAirflowError


class BenchmarkError(KaiAirflowError):
    """Something can't be measured."""
