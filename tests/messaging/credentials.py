"""Keys, creds files and certificates, made up for a test."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import nkeys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path


def nkey(kind: int = nkeys.PREFIX_BYTE_USER) -> Key:
    """A new key of a user, an account, or an operator."""
    return Key(bytes(nkeys.encode_seed(os.urandom(32), kind)).decode())


@dataclass(frozen=True)
class Key:
    seed: str

    @property
    def public(self) -> str:
        return nkeys.from_seed(bytearray(self.seed, "ascii")).public_key.decode()  # type: ignore[no-any-return]

    def jwt(self, subject: str, **claims: Any) -> str:
        """A token about a subject, signed with this key as nsc does it."""
        body = {
            "iss": self.public,
            "sub": subject,
            "name": "n",
            "iat": 1,
            "jti": "j",
            "nats": {"version": 2, **claims},
        }
        text = ".".join(_base64(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, body))
        signature = nkeys.from_seed(bytearray(self.seed, "ascii")).sign(text.encode())
        return f"{text}.{_base64(signature)}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@dataclass(frozen=True)
class Operator:
    """A decentralized setup with one account: a configuration for nats-server, and users' creds."""

    key: Key = field(default_factory=lambda: nkey(nkeys.PREFIX_BYTE_OPERATOR))
    account: Key = field(default_factory=lambda: nkey(nkeys.PREFIX_BYTE_ACCOUNT))

    @property
    def config(self) -> str:
        limits = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
        account = self.key.jwt(self.account.public, type="account", limits={**limits, "wildcards": True})
        operator = self.key.jwt(self.key.public, type="operator")
        return f"operator: {operator}\nresolver: MEMORY\nresolver_preload: {{ {self.account.public}: {account} }}"

    def creds(self) -> str:
        """What stands in a new user's creds file."""
        user = nkey()
        jwt = self.account.jwt(user.public, type="user", subs=-1, data=-1, payload=-1)
        return (
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
        )


class Authority:
    """A certificate authority, with the certificates that it signs for 127.0.0.1 and for a client."""

    def __init__(self, folder: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"ca {os.urandom(4).hex()}")])
        self.folder = folder
        self.ca = self._written("ca.pem", _pem(self._signed(self._key, self._name, is_authority=True)))
        self.server = self._pair("server")
        self.client = self._pair("client")

    def config(self, *, verify: bool = False) -> str:
        """The part of nats-server's configuration that has it demand TLS, and clients' certificates."""
        certificate, key = self.server
        tls = {"cert_file": str(certificate), "key_file": str(key), "ca_file": str(self.ca), "verify": verify}
        return f"tls: {json.dumps(tls)}"

    def _pair(self, name: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._signed(key, subject, is_authority=False)
        form = (
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return self._written(f"{name}.pem", _pem(certificate)), self._written(f"{name}.key", key.private_bytes(*form))

    def _signed(self, key: ec.EllipticCurvePrivateKey, subject: x509.Name, *, is_authority: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
            # Python is strict from 3.13 on: an authority says that it signs, and each certificate whose it is.
            .add_extension(_usage(is_authority=is_authority), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256())

    def _written(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign")
    off = dict.fromkeys((*others, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(digital_signature=not is_authority, key_cert_sign=is_authority, **off)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
