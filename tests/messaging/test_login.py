"""Logging in, each way, on a real nats-server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from kai_airflow.messaging.address import NatsAddress
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.errors import NatsAddressError, NatsUnavailableError
from tests.messaging.credentials import Authority, Operator, nkey

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartNats

SECRET = "p@ss/w:rd%"


async def use(address: NatsAddress) -> None:
    async with connect(address, name="test", timeout=5) as own:
        await own.nc.flush()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def written(folder: Path, text: str) -> str:
    path = folder / "secret"
    path.write_text(text)
    return str(path)


async def test_any_letter_may_be_in_a_user_and_a_password(start_nats: StartNats) -> None:
    server = start_nats(f'authorization {{ user: "a:b", password: "{SECRET}" }}')
    address = NatsAddress(server.url, user="a:b", password=SECRET)
    await use(address)
    await use(NatsAddress(address.pods_url))  # quoted in a URL, too


async def test_a_token_is_taken_from_its_field_or_from_the_address(start_nats: StartNats) -> None:
    server = start_nats(f'authorization {{ token: "{SECRET}" }}')
    address = NatsAddress(server.url, token=SECRET)
    await use(address)
    await use(NatsAddress(address.pods_url))


async def test_an_nkey_is_a_seed_or_a_file_with_it(start_nats: StartNats, tmp_path: Path) -> None:
    key = nkey()
    server = start_nats(f"authorization {{ users: [{{ nkey: {key.public} }}] }}")
    await use(NatsAddress(server.url, nkey=key.seed))
    await use(NatsAddress(server.url, nkey=written(tmp_path, key.seed + "\n")))
    with pytest.raises(NatsUnavailableError, match=r"refuses.*Authorization.*Remedy"):
        await use(NatsAddress(server.url, nkey=nkey().seed))


async def test_creds_are_a_file_or_what_stands_in_it(start_nats: StartNats, tmp_path: Path) -> None:
    operator = Operator()
    server = start_nats(operator.config, jetstream=False)
    await use(NatsAddress(server.url, creds=operator.creds()))
    await use(NatsAddress(server.url, creds=written(tmp_path, operator.creds())))
    with pytest.raises(NatsUnavailableError, match=r"refuses.*Authorization.*Remedy"):
        await use(NatsAddress(server.url, creds=Operator().creds()))


async def test_a_creds_file_that_was_renewed_is_read_when_it_reconnects(start_nats: StartNats, tmp_path: Path) -> None:
    first, second = Operator(), Operator()
    server = start_nats(first.config, jetstream=False)
    async with connect(NatsAddress(server.url, creds=written(tmp_path, first.creds())), name="test") as own:
        server.kill()
        written(tmp_path, "gone for a moment")  # which doesn't end it
        await asyncio.to_thread(server.restart, second.config)
        written(tmp_path, second.creds())
        await own.breaks.mended.wait()
        await own.nc.flush()


async def test_the_servers_certificate_is_checked_against_the_authority(
    start_nats: StartNats, authority: Authority, tmp_path: Path
) -> None:
    server = start_nats(authority.config())
    await use(NatsAddress(server.url, tls_ca=str(authority.ca)))
    await use(NatsAddress(server.url.replace("nats://", "tls://"), tls_ca=authority.ca.read_text()))
    (tmp_path / "other").mkdir()
    with pytest.raises(NatsUnavailableError, match=r"certificate verify failed.*Remedy: give the certificate auth"):
        await use(NatsAddress(server.url, tls_ca=str(Authority(tmp_path / "other").ca)))
    with pytest.raises(NatsUnavailableError, match=r"certificate verify failed.*Remedy: give the certificate auth"):
        await use(NatsAddress(server.url))


async def test_a_client_certificate_is_files_or_texts(start_nats: StartNats, authority: Authority) -> None:
    server, (certificate, key) = start_nats(authority.config(verify=True)), authority.client
    ca = str(authority.ca)
    await use(NatsAddress(server.url, tls_ca=ca, tls_cert=str(certificate), tls_key=str(key)))
    await use(NatsAddress(server.url, tls_ca=ca, tls_cert=certificate.read_text(), tls_key=key.read_text()))
    await use(NatsAddress(server.url, tls_ca=ca, tls_cert=certificate.read_text() + key.read_text()))
    with pytest.raises(NatsUnavailableError, match="Remedy"):
        await use(NatsAddress(server.url, tls_ca=ca))


async def test_nothing_is_said_to_a_server_without_tls_where_it_is_demanded(start_nats: StartNats) -> None:
    server = start_nats("authorization { token: t0ken }\ntrace: true")
    with pytest.raises(
        NatsUnavailableError, match=r"refuses: it doesn't require TLS.*Remedy: have nats-server require"
    ):
        await use(NatsAddress(server.url.replace("nats://", "tls://"), token="t0ken"))
    server.stop()
    assert not [line for line in server.output if "CONNECT" in line]


async def test_of_several_servers_one_is_enough(start_nats: StartNats) -> None:
    gone, there = start_nats(), start_nats('authorization { user: "kai", password: "s3cret" }')
    gone.stop()
    urls = f"127.0.0.1:{gone.port},{there.url}"
    await use(NatsAddress(urls, user="kai", password="s3cret"))
    await use(NatsAddress(NatsAddress(urls, user="kai", password="s3cret").pods_url))


SEED = nkey().seed


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"token": "hidden-1", "user": "kai", "password": "hidden-2"}, "several logins: user and password, token"),
        ({"creds": "hidden-1", "nkey": SEED}, "several logins: creds, nkey"),
        ({"creds": "/hidden-1"}, "creds: no such file can be read"),
        ({"creds": f"-----BEGIN USER NKEY SEED-----\n{SEED}"}, "no NATS USER JWT in the creds"),
        ({"creds": "-----BEGIN NATS USER JWT-----\nx\n-----BEGIN USER NKEY SEED-----\nhidden-1"}, "nkey seed is none"),
        ({"nkey": SEED[:-1]}, "nkey: no such file can be read"),
        ({"nkey": SEED[:-8] + "öhidden1"}, "nkey seed is none"),
        ({"nkey": "\0"}, "nkey: neither a path nor a key"),
        ({"nkey": __file__}, "nkey seed is none"),
        ({"tls_ca": "/hidden-1"}, "certificate authority: no such file"),
        ({"tls_ca": __file__}, "certificate authority is no PEM text"),
        ({"tls_cert": "/hidden-1"}, "client's certificate or key: no such file"),
        ({"tls_cert": __file__}, "client's certificate and key are no pair"),
        ({"tls_key": "/hidden-1"}, "TLS key without its certificate"),
    ],
)
async def test_what_cannot_be_a_login_is_an_error_that_shows_nothing_of_it(fields: dict[str, str], said: str) -> None:
    with pytest.raises(NatsAddressError, match=rf"nats://.*{said}.*Remedy") as caught:
        await use(NatsAddress("nats://127.0.0.1:1", **fields))
    assert "hidden" not in str(caught.value)
    assert SEED[:-8] not in str(caught.value)


async def test_a_clients_key_for_another_certificate_is_an_error_and_leaves_no_file(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "texts").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "texts"))
    certificate, key = authority.client[0].read_text(), authority.server[1].read_text()
    with pytest.raises(NatsAddressError, match="no pair in PEM"):
        await use(NatsAddress("nats://127.0.0.1:1", tls_cert=certificate, tls_key=key))
    assert not list((tmp_path / "texts").iterdir())


async def test_a_server_that_falls_silent_is_noticed(start_nats: StartNats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kai_airflow.messaging.connection.PING_INTERVAL", 0.05)
    server = start_nats()
    async with connect(server.url, name="test") as own:
        server.pause()
        async with asyncio.timeout(5):
            while own.nc.is_connected:  # noqa: ASYNC110  # the client tells nobody of a silent server
                await asyncio.sleep(0.01)
        await asyncio.to_thread(server.restart, "")
        await own.breaks.mended.wait()
