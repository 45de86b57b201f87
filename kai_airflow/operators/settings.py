"""Airflow's configuration section ``[kai_airflow]``: what streams keep, how many runs may wait, where to publish."""

from __future__ import annotations

import json

from airflow.sdk.configuration import conf

from kai_airflow.errors import KaiAirflowError
from kai_airflow.kube import Publishing
from kai_airflow.messaging.streams import WEEK, Retention

SECTION = "kai_airflow"
QUEUED_RUNS = 1000


class SettingError(KaiAirflowError):
    """A setting that says nothing sensible."""

    def __init__(self, key: str, text: str, wanted: str = "a number above 0") -> None:
        super().__init__(f"[{SECTION}] {key} = {text!r}: not {wanted}. Remedy: write one, or leave it out.")


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


def publishing() -> Publishing:
    """How triggers are published. Raises SettingError."""
    return Publishing(
        domain=_text("base_domain"),
        ingress_class=_text("ingress_class"),
        annotations=_annotations("ingress_annotations"),
        tls_secret=_text("ingress_tls_secret"),
    )


def _annotations(key: str) -> dict[str, str]:
    text = _text(key)
    try:
        said = json.loads(text or "{}")
    except ValueError:
        said = None
    if not isinstance(said, dict) or not all(isinstance(value, str) for value in said.values()):
        raise SettingError(key, text, "a JSON object of texts")
    return said


def _text(key: str) -> str:
    return str(conf.get(SECTION, key, fallback="")).strip()


def _number(key: str) -> int | None:
    text = _text(key)
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise SettingError(key, text)
    return int(text)
