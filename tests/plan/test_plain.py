"""A plan as JSON has it, with and without its secrets."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from kai_airflow.plan import Feed
from kai_airflow.plan.plain import masked, plain

POD = {
    "spec": {
        "automountServiceAccountToken": True,
        "imagePullSecrets": [{"name": "registry"}],
        "volumes": [{"name": "keys", "secret": {"secretName": "keys"}}],
        "containers": [
            {
                "name": "process",
                "env": [
                    {"name": "API_TOKEN", "value": "hunter2"},
                    {"name": "API_TOKEN", "valueFrom": {"secretKeyRef": {"name": "api", "key": "token"}}},
                    {"name": "URL", "value": "nats://me:hunter2@host"},
                ],
                "args": ["--password=hunter2"],
                "securityContext": {"password": ["hunter2"], "credentials": {"a": "hunter2"}},
            }
        ],
    }
}


def test_times_and_intervals_have_a_form_that_loses_nothing() -> None:
    moment = datetime(2026, 7, 1, 6, tzinfo=ZoneInfo("Europe/Madrid"))
    assert plain(moment) == {"time": "2026-07-01T06:00:00+02:00", "timezone": "Europe/Madrid"}
    assert plain(timedelta(minutes=90)) == "@every 5400s"
    assert masked(moment) == plain(moment)


def test_what_a_plan_consists_of_becomes_objects_and_lists() -> None:
    assert plain({"x": (Feed("a", "b"),)}) == {"x": [{"process": "a", "channel": "b"}]}


def test_secrets_are_masked_in_a_pod_and_names_of_secrets_are_not() -> None:
    shown = masked(POD)
    assert "hunter2" not in str(shown)
    assert plain(POD) == POD
    spec, told = shown["spec"], POD["spec"]
    for key in ("automountServiceAccountToken", "imagePullSecrets", "volumes"):
        assert spec[key] == told[key]
    (container,) = spec["containers"]
    assert container["env"] == [
        {"name": "API_TOKEN", "value": "***"},
        {"name": "API_TOKEN", "valueFrom": {"secretKeyRef": {"name": "api", "key": "token"}}},
        {"name": "URL", "value": "nats://me:***@host"},
    ]
    assert container["securityContext"] == {"password": "***", "credentials": "***"}


def test_a_key_of_kubernetes_excuses_no_secret_elsewhere() -> None:
    assert masked({"secret": "hunter2", "secretName": "hunter2"}) == {"secret": "***", "secretName": "***"}
    labels = {"metadata": {"annotations": {"secret": "hunter2", "imagePullSecrets": "hunter2"}}}
    assert masked(labels) == {"metadata": {"annotations": {"secret": "***", "imagePullSecrets": "***"}}}


@pytest.mark.parametrize("value", [None, True, 0, 1.5, "plain"])
def test_scalars_stay_as_they_are(value: object) -> None:
    assert plain(value) is value
    assert masked({"x": value})["x"] is value
