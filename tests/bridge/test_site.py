"""Where everything is, for another process."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kai_airflow.bridge.site import AirflowSite, Settings, Site
from kai_airflow.messaging.address import NatsAddress
from kai_airflow.messaging.streams import Retention

SITE = Site(
    folders=(Path("/a"), Path("/b c")),
    nats=NatsAddress("nats://kai:s3cret@host:4222"),
    airflow=AirflowSite("http://airflow", "bridge", "s3cret"),
    settings=Settings(Retention(60.0, 1 << 30, 3), 7),
)


def test_it_is_read_as_it_was_written() -> None:
    assert Site.from_json(SITE.to_json()) == SITE
    assert Site.from_json(SITE.to_json().encode()) == SITE


@given(st.text(), st.text(), st.none() | st.integers(1), st.none() | st.integers(1))
def test_any_text_and_number_is_read_as_it_was_written(
    user: str, password: str, size: int | None, copies: int | None
) -> None:
    site = Site((), NatsAddress("nats://x"), AirflowSite("u", user, password), Settings(Retention(1, size, copies)))
    assert Site.from_json(site.to_json()) == site


def test_no_password_is_shown() -> None:
    assert "s3cret" not in repr(SITE)
    assert "s3cret" not in str(SITE)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, AirflowSite("http://localhost:8080", "", "")),
        ({"KAI_AIRFLOW_URL": "https://a/b/"}, AirflowSite("https://a/b", "", "")),
        (
            {"KAI_AIRFLOW_URL": "", "KAI_AIRFLOW_USER": "u", "KAI_AIRFLOW_PASSWORD": "p"},
            AirflowSite("http://localhost:8080", "u", "p"),
        ),
    ],
)
def test_airflows_api_is_told_by_variables(environment: dict[str, str], expected: AirflowSite) -> None:
    assert AirflowSite.of(environment) == expected
