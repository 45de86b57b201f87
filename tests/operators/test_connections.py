"""From Airflow's connections to what app.yaml needs, with Airflow's own connections."""

from __future__ import annotations

import json

import pytest

from kai_airflow.operators.connections import (
    ConnectionMissingError,
    ConnectionWrongError,
    nats_address,
    services,
)


def test_login_and_password_are_quoted_into_the_address_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "nats", "host": "h", "port": 4333, "login": "a:b", "password": "p@ss/word"}
    monkeypatch.setenv("AIRFLOW_CONN_NATS_DEFAULT", json.dumps(connection))
    assert nats_address().pods_url == "nats://a%3Ab:p%40ss%2Fword@h:4333"
    assert "p%40ss" not in repr(nats_address())


def test_a_missing_connection_says_what_to_add(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_NATS_DEFAULT", raising=False)
    with pytest.raises(ConnectionMissingError, match=r"no connection 'nats_default'\. Remedy: add one"):
        nats_address()


def test_without_the_optional_connection_no_service_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_KAI_SERVICES", raising=False)
    assert services().sections == {}


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"minoi": {}}, "section 'minoi' .* isn't one of minio, auth, predictions, measurements"),
        ({"minio": "text"}, "section 'minio' of its extra is no map"),
        ({"minio": {"endpiont": "x"}}, "minio.endpiont of its extra isn't one of endpoint"),
    ],
)
def test_a_service_that_app_yaml_has_no_place_for_is_an_error(
    monkeypatch: pytest.MonkeyPatch, extra: object, said: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KAI_SERVICES", json.dumps({"conn_type": "generic", "extra": extra}))
    with pytest.raises(ConnectionWrongError, match=said):
        services()


def test_a_services_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"minio": {"client_password": "hidden"}}
    monkeypatch.setenv("AIRFLOW_CONN_KAI_SERVICES", json.dumps({"conn_type": "generic", "extra": extra}))
    assert services().sections == extra
    assert "hidden" not in repr(services())
