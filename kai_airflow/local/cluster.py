"""The local Kubernetes API as a part of the stack."""

from __future__ import annotations

import secrets
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import yaml

from kai_airflow.local.home import write_private
from kai_airflow.local.supervisor import Part

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME = "kubernetes"
IMAGES = "images.yaml"  # in the dags folder: the command for each image


@dataclass(frozen=True)
class Doors:
    """The ports of the API and of its Ingresses.

    They are the part's, not each start's, as is its token: who has loaded the kubeconfig, or was given an address of
    an Ingress, reaches it after a restart, too.
    """

    api: int
    ingress: int


def part(folder: Path, doors: Doors, images: Path, environment: Mapping[str, str], rank: int) -> Part:
    """The local Kubernetes API in ``folder``; it writes a kubeconfig there once it serves."""
    token = folder / "token"
    write_private(token, secrets.token_urlsafe(32))
    files = ("--home", str(folder), "--images", str(images), "--token-file", str(token))
    ports = ("--port", str(doors.api), "--ingress-port", str(doors.ingress))
    command = (sys.executable, "-P", "-m", "kai_airflow.local.kubernetes", *files, *ports)
    return Part(NAME, command, environment, rank)


async def answers(kubeconfig: Path) -> bool:
    """Whether the API that ``kubeconfig`` names is ready."""
    server = _server(kubeconfig)
    if server is None:
        return False
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"{server}/readyz", timeout=5)).is_success
    except httpx.TransportError:
        return False


def _server(kubeconfig: Path) -> str | None:
    try:
        return str(yaml.safe_load(kubeconfig.read_bytes())["clusters"][0]["cluster"]["server"])
    except FileNotFoundError:
        return None
