"""Who calls a demo trigger over HTTP, as the image map starts it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from kai_airflow.local import ports

if TYPE_CHECKING:
    import pytest

    from tests.conftest import LiveWorkflow, Program

DAGS = Path(__file__).parents[2] / "dags"
IMAGES = yaml.safe_load((DAGS / "images.yaml").read_text())


def processes(product: str) -> dict[str, dict[str, Any]]:
    """The processes of the one workflow of an example, by their names."""
    document = yaml.safe_load((DAGS / product / "krt.yaml").read_text())
    return {process["name"]: process for process in document["workflows"][0]["processes"]}


async def start(live: LiveWorkflow, process: dict[str, Any], **config: str) -> Program:
    """A process of an example, with its configuration or other values in it; an empty text leaves a key out."""
    python, *arguments = IMAGES[process["image"]]
    assert python == "python"
    make = live.trigger_app if process["type"] == "trigger" else live.app
    configured = {key: value for key, value in (process.get("config", {}) | config).items() if value}
    return await live.run(make(process["name"], process.get("subscriptions", []), **configured), *arguments)


async def start_server(
    live: LiveWorkflow, process: dict[str, Any], monkeypatch: pytest.MonkeyPatch, **config: str
) -> tuple[Program, str]:
    """A trigger that listens, on a free port; gives its URL too."""
    port = ports.free(1)[0]
    monkeypatch.setenv(f"KAI_AIRFLOW_PORT_{process['networking']['targetPort']}", str(port))
    program = await start(live, process, **config)
    await program.said(f"listening on port {port}")
    return program, f"http://127.0.0.1:{port}"
