"""NATS the Airflow way, for any DAG: connection, hook, operator, sensor, and triggers. See docs/nats.md."""
