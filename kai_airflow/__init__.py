"""Run AI workflows described in Konstellation KAI's KRT files on Apache Airflow."""

__version__ = "0.1.0"
