"""The stack of one machine: nats-server, PostgreSQL, a local Kubernetes API, Airflow; and what talks to it.

``Stack`` brings it up and down, ``AirflowApi`` talks to its Airflow. Linux only: parts are kept in sight by means of
the kernel (:mod:`kai_airflow.local.guard`).
"""
