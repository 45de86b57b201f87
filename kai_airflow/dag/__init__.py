"""From the plan to Airflow's DAGs."""

from kai_airflow.dag.builder import build
from kai_airflow.dag.loader import load, load_krt

__all__ = ["build", "load", "load_krt"]
