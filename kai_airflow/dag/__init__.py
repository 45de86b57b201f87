"""From the plan to Airflow's DAGs."""

from kai_airflow.dag.builder import build
from kai_airflow.dag.loader import load

__all__ = ["build", "load"]
