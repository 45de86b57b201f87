"""The example that serves: calls of its REST trigger, their answers, and how long they took."""

from __future__ import annotations

import asyncio
import time
from statistics import median
from typing import TYPE_CHECKING

import httpx

from kai_airflow.cli.demonstration import published, wait_for
from kai_airflow.demo.rest import path_of
from kai_airflow.local.errors import StackError

if TYPE_CHECKING:
    from rich.console import Console

    from kai_airflow.local.stack import Stack

DAG = "house-prices.valuation"
TRIGGER = "rest-trigger"
HOUSES = [{"area": area, "rooms": 2 + area // 40, "built": 1990, "distance": 5} for area in range(40, 240, 10)]
SHOWN = 3  # answers
NO_HOUSE = {"area": 5}
ANSWER_TIME = 20.0  # seconds for an answer


def show(stack: Stack, console: Console) -> bool:
    """Ask for prices, one after the other, and for that of no house. True when all were answered as they should."""
    workflow = wait_for(stack, DAG)
    began = time.perf_counter()
    (trigger,) = (process for process in workflow.triggers if process.name == TRIGGER)
    url = asyncio.run(published(stack, workflow, TRIGGER)) + path_of(trigger.config)
    console.print(
        f"\n{url} answers, {time.perf_counter() - began:.1f} s after its start", highlight=False, soft_wrap=True
    )
    return call(url, console)


def call(url: str, console: Console) -> bool:
    """Make the calls, and show what comes of them. Raises StackError where nobody answers."""
    try:
        with httpx.Client(timeout=ANSWER_TIME, trust_env=False) as client:
            client.post(url, json=HOUSES[0])  # makes the connection
            answers, seconds = zip(*(_timed(client, url, house) for house in HOUSES), strict=True)
            refused, _ = _timed(client, url, NO_HOUSE)
    except httpx.HTTPError as error:
        raise StackError(f"{TRIGGER}: {error}. Remedy: see its log.") from error
    shown = [*zip(HOUSES, answers, strict=True)][:SHOWN]
    for house, answer in [*shown, (NO_HOUSE, refused)]:
        console.print(f"  {house}: {answer.status_code} {answer.text}", markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"{len(HOUSES)} calls: median {median(seconds) * 1000:.1f} ms, slowest {max(seconds) * 1000:.1f} ms",
        highlight=False,
    )
    return all(answer.status_code == httpx.codes.OK for answer in answers) and refused.status_code == 400


def _timed(client: httpx.Client, url: str, house: dict[str, int]) -> tuple[httpx.Response, float]:
    began = time.perf_counter()
    answer = client.post(url, json=house)
    return answer, time.perf_counter() - began
