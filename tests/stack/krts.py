"""What the end-to-end tests put into a stack's dags folder."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kai_airflow.local.airflow_api import AirflowApi
    from kai_airflow.local.stack import Stack

RESOURCES = "resourceLimits: {CPU: {request: 100m}, memory: {request: 100M}}"


def process(name: str, kind: str, image: str, *subscriptions: str, more: str = "") -> str:
    """One process; ``more`` continues its flow mapping."""
    listed = f", subscriptions: [{', '.join(subscriptions)}]" if subscriptions else ""
    return f'{{name: {name}, type: {kind}, image: "{image}", {RESOURCES}{listed}{more}}}'


def krt(*processes: str, workflow: str = "work", description: str = "a test", more: str = "") -> str:
    """A product of one workflow; ``more`` is lines at the top."""
    listed = "".join(f"\n      - {one}" for one in processes)
    return f"""\
version: v1.0.0
description: '{description}'
{more}
workflows:
  - name: {workflow}
    type: training
    processes:{listed}
"""


def install_examples(dags: Path) -> None:
    """Put this repository's dags folder into a stack's."""
    shutil.copytree(Path(__file__).parents[2] / "dags", dags, dirs_exist_ok=True)


def until(happened: Callable[[], bool], seconds: float) -> None:
    """Wait for what an Airflow that runs on its own comes to see."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(0.2)


def problem(api: AirflowApi, file: str) -> str:
    """The import error of a file, empty where there is none."""
    return "".join(one.text for one in api.import_errors() if one.file.startswith(file))


def add_images(stack: Stack, images: Mapping[str, list[str]]) -> None:
    """Have the stack run these images as these commands."""
    with (stack.dags / "images.yaml").open("a") as file:
        file.writelines(f"\n{json.dumps(image)}: {json.dumps(words)}\n" for image, words in images.items())
