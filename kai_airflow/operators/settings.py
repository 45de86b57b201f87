"""Airflow's configuration section ``[kai_airflow]``: what streams keep, and how many runs may wait."""

from __future__ import annotations

from airflow.sdk.configuration import conf

from kai_airflow.errors import KaiAirflowError
from kai_airflow.messaging.streams import WEEK, Retention

SECTION = "kai_airflow"
QUEUED_RUNS = 1000


class SettingError(KaiAirflowError):
    """A setting that says nothing sensible."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(f"[{SECTION}] {key} = {text!r}: not a number above 0. Remedy: write one, or leave it out.")


def retention() -> Retention:
    """What streams keep. Raises SettingError."""
    return Retention(
        max_age=_number("stream_max_age") or WEEK,
        max_bytes=_number("stream_max_bytes"),
        replicas=_number("stream_replicas"),
    )


def max_queued_runs() -> int:
    """How many runs of a DAG may wait in Airflow. Raises SettingError."""
    return _number("max_queued_runs") or QUEUED_RUNS


def _number(key: str) -> int | None:
    text = conf.get(SECTION, key, fallback="").strip()
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise SettingError(key, text)
    return int(text)
