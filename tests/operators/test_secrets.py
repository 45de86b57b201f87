"""What is told to Airflow's masking, on Airflow's own masking."""

from __future__ import annotations

from dataclasses import replace

import pytest
from airflow.sdk._shared.secrets_masker import _secrets_masker, redact

from kai_airflow.messaging.connection import NatsAddress
from kai_airflow.operators.connections import Services
from kai_airflow.operators.secrets import mask_secrets
from tests.kube.test_objects import PROCESS, WORKFLOW


@pytest.fixture(autouse=True)
def _fresh() -> None:
    _secrets_masker().reset_masker()  # type: ignore[no-untyped-call]


def masked(text: str) -> str:
    found = redact(text)
    assert isinstance(found, str)
    return found


def test_secrets_of_all_three_configs_the_services_and_nats_are_masked() -> None:
    mask_secrets(
        replace(WORKFLOW, version_config={"db_password": "version-secret"}, config={"token": "workflow-secret"}),
        replace(
            PROCESS,
            config={
                "github_secret": "process-secret",
                "shown": "plain-value",
                "url": "postgres://me:url-secret@host/db",
                "dsn": "Server=host;Password=dsn-secret;Timeout=5",
            },
            pod={"spec": {"containers": [{"env": [{"name": "DB_PASSWORD", "value": "pod-secret"}, {"name": "NONE"}]}]}},
        ),
        NatsAddress("nats://user:p%40ss%2Fw@host:4222"),
        Services({"minio": {"endpoint": "minio-host", "client_password": "service-secret"}}),
    )
    for secret in (
        "version-secret",
        "workflow-secret",
        "process-secret",
        "pod-secret",
        "url-secret",
        "dsn-secret",
        "service-secret",
        "p%40ss%2Fw",
    ):
        assert secret not in masked(f"line with {secret} in it")
    assert masked("plain-value at minio-host") == "plain-value at minio-host"


def test_a_secret_of_several_lines_is_masked_line_by_line() -> None:
    key = "-----BEGIN KEY-----\nabcdefgh12345\n-----END KEY-----"
    mask_secrets(WORKFLOW, replace(PROCESS, config={"private_key": key}), NatsAddress("nats://h"), Services({}))
    assert "abcdefgh12345" not in masked("abcdefgh12345")


def test_a_flag_with_a_sensitive_name_does_not_take_its_word_out_of_the_log() -> None:
    mask_secrets(WORKFLOW, replace(PROCESS, config={"use_token": "false"}), NatsAddress("nats://h"), Services({}))
    assert masked("it is false") == "it is false"
