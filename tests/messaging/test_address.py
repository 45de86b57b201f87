"""Addresses as data: what they show, what pods get, what another process gets."""

from __future__ import annotations

import json

import pytest

from kai_airflow.messaging.address import NatsAddress
from kai_airflow.messaging.errors import NatsAddressError
from tests.messaging.credentials import nkey

SEED = nkey().seed
CREDS = f"-----BEGIN NATS USER JWT-----\nthe-jwt\n-----END\n-----BEGIN USER NKEY SEED-----\n{SEED}\n-----END\n"
FULL = NatsAddress(
    "tls://one:1,tls://two:2",
    user="kai",
    password="p@ss",
    tls_ca="/ca.pem",
    tls_cert="/client.pem",
    tls_key="-----BEGIN PRIVATE KEY-----\nhidden-line\n-----END PRIVATE KEY-----",
    pods="nats://pod:p0d@inner:4222",
)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (NatsAddress("nats://h:1", user="kai", password="s3cret"), "nats://kai:***@h:1"),
        (NatsAddress("h:1,tls://i", user="kai", password="s3cret"), "nats://kai:***@h:1,tls://kai:***@i"),
        (NatsAddress("nats://h:1", token="s3cret"), "nats://***@h:1"),
        (NatsAddress("nats://h:1", creds=CREDS), "nats://h:1"),
        (NatsAddress("nats://h:1", nkey=SEED), "nats://h:1"),
        (FULL, "tls://kai:***@one:1,tls://kai:***@two:2"),
    ],
)
def test_no_login_is_shown(address: NatsAddress, shown: str) -> None:
    assert str(address) == shown
    assert repr(address) == f"NatsAddress({shown!r})"


@pytest.mark.parametrize(
    ("address", "url"),
    [
        (NatsAddress("nats://h:1"), "nats://h:1"),
        (NatsAddress("nats://a:b@h:1"), "nats://a:b@h:1"),
        (NatsAddress("h:1, tls://i:2", user="a:b", password="p@ss"), "nats://a%3Ab:p%40ss@h:1,tls://a%3Ab:p%40ss@i:2"),
        (NatsAddress("nats://h:1", token="t/n"), "nats://t%2Fn@h:1"),
        (NatsAddress("nats://h:1", user="a", password="b", pods="nats://p:2"), "nats://a:b@p:2"),
        (NatsAddress("nats://h:1", creds=CREDS, pods="nats://p:2"), "nats://p:2"),
        (FULL, "nats://pod:p0d@inner:4222"),
    ],
)
def test_a_pods_address_has_a_login_in_it(address: NatsAddress, url: str) -> None:
    assert address.pods_url == url


@pytest.mark.parametrize("login", [{"creds": CREDS}, {"nkey": SEED}, {"tls_cert": "/client.pem"}])
def test_a_login_that_no_address_can_carry_is_an_error_for_pods(login: dict[str, str]) -> None:
    with pytest.raises(NatsAddressError, match=r"pods can't log in there.*Remedy: give an address for pods"):
        _ = NatsAddress("nats://h:1", **login).pods_url


def test_another_process_gets_the_whole_address() -> None:
    assert NatsAddress.from_json(json.loads(json.dumps(FULL.as_json()))) == FULL
    assert NatsAddress("nats://h:1").as_json() == {"url": "nats://h:1"}


def test_every_secret_is_named_for_masking_and_a_path_is_none() -> None:
    found = set(FULL.secrets())
    assert {"p@ss", "p%40ss", "p0d", "hidden-line"} <= found
    assert not {"/ca.pem", "/client.pem"} & found
    assert set(NatsAddress("h", nkey=SEED).secrets()) == {SEED}
    assert {"the-jwt", SEED} <= set(NatsAddress("h", creds=CREDS).secrets())
    assert set(NatsAddress("nats://t%2Fn@h", creds="/run/kai.creds").secrets()) == {"t/n", "t%2Fn"}


@pytest.mark.parametrize(
    ("address", "demanded"),
    [
        (NatsAddress("nats://h"), False),
        (NatsAddress("nats://h,tls://i"), True),
        (NatsAddress("nats://h", tls_ca="/ca.pem"), True),
        (NatsAddress("nats://h", tls_cert="/client.pem"), True),
    ],
)
def test_tls_is_demanded_by_the_scheme_or_by_certificates(address: NatsAddress, demanded: bool) -> None:
    assert address.demands_tls is demanded
