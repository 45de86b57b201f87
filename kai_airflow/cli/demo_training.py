"""The example of KAI's README: a push event that GitHub would post, its run, and the reply."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx

from kai_airflow.bridge.runs.sending import Sent, answers
from kai_airflow.cli.demonstration import NAME, published, wait_for
from kai_airflow.cli.outcome import TAIL, Changes, by_start, show_log, show_payload, table
from kai_airflow.demo.event import posted
from kai_airflow.demo.webhook import EVENT, PATH, SIGNATURE, signature
from kai_airflow.local.airflow_api import AirflowApi
from kai_airflow.local.errors import StackError
from kai_airflow.messaging.codec import decode
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.reading import messages
from kai_airflow.messaging.streams import created
from kai_airflow.plan import names

if TYPE_CHECKING:
    from rich.console import Console

    from kai_airflow.bridge.runs.sending import Answer
    from kai_airflow.local.stack import Stack
    from kai_airflow.plan import Workflow

DAG = "github-trainer.training-workflow"
TRIGGER = "github-trigger"
SEED = 1  # of the push event
ANSWER_TIME = 20.0  # seconds for the trigger to answer
START_TIME = 60.0  # seconds until the bridge must have made a run of the message
REPLY_TIME = 60.0  # seconds until it must have sent the reply
RUN_TIME = 300.0  # seconds that the run may take


def show(stack: Stack, console: Console) -> bool:
    """Post the event, follow its run, and show the reply. True when every task succeeded and the reply came."""
    workflow = wait_for(stack, DAG)
    url = asyncio.run(published(stack, workflow, TRIGGER))
    request_id = post(f"{url}{PATH}", workflow)
    console.print(f"\na signed push event was posted to {url}{PATH}", highlight=False, soft_wrap=True)
    sent = asyncio.run(_sent(stack, workflow, request_id))
    console.print(f"{TRIGGER} published it as message {sent.sequence} of {sent.stream}", highlight=False)
    succeeded = _followed(stack, console, sent)
    replies = asyncio.run(_replies(stack, workflow, sent))
    for reply in replies:
        show_payload(console, f"reply to {TRIGGER}:", reply.message.error if reply.failed else reply.payload)
    return succeeded and not any(reply.failed for reply in replies)


def post(url: str, workflow: Workflow) -> str:
    """Do what GitHub does; gives the id of the request that the trigger made of it.

    :raises StackError: the trigger isn't there, or refuses
    """
    (trigger,) = (process for process in workflow.triggers if process.name == TRIGGER)
    body = posted(SEED)
    headers = {EVENT: "push", SIGNATURE: signature(body, trigger.config["github_secret"].encode())}
    try:
        answer = httpx.post(url, content=body, headers=headers, timeout=ANSWER_TIME, trust_env=False)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise StackError(f"{TRIGGER}: {error}. Remedy: see its log.") from error
    return str(answer.json()["requestID"])


def _followed(stack: Stack, console: Console, sent: Sent) -> bool:
    with AirflowApi(stack.url, stack.user, stack.password) as api:
        run = api.wait_for_start(DAG, sent.run_id, START_TIME)
        console.print(f"run {run.run_id} of {DAG}", highlight=False)
        api.wait_for_run(run, RUN_TIME, Changes(console).show)
        tasks = by_start(api.tasks(run))
        manifests = {task.task_id: api.xcom(run, task.task_id, "manifest") for task in tasks}
        console.print(table(tasks, manifests))
        for task in tasks:
            if task.state == "failed":
                show_log(console, task, api.log(run, task.task_id, task.try_number)[-TAIL:])
    return all(task.state == "success" for task in tasks)


async def _sent(stack: Stack, workflow: Workflow, request_id: str) -> Sent:
    """The message that the trigger has published. Raises StackError where there is none."""
    stream, subject = workflow.live_stream, names.output_subject(workflow.live_stream, TRIGGER)
    async with connect(stack.nats_url, name=NAME) as connection:
        moment = await created(connection.js, stream)
        async for message in messages(connection, stream, subject):
            if decode(message.data or b"").request_id == request_id:
                return Sent(stream, moment, TRIGGER, message.seq or 0, request_id)
    raise StackError(f"stream {stream} has no request {request_id}. Remedy: see the log of {TRIGGER}.")


async def _replies(stack: Stack, workflow: Workflow, sent: Sent) -> list[Answer]:
    """What came back. Raises StackError where that is nothing."""
    replies: list[Answer] = []
    async with connect(stack.nats_url, name=NAME) as connection:
        with suppress(TimeoutError):
            async with asyncio.timeout(REPLY_TIME):
                replies = await answers(connection, workflow, sent)
    if not replies:
        raise StackError(
            f"no reply came to message {sent.sequence} of {sent.stream} within {REPLY_TIME:g} s of the run's end. "
            "Remedy: see the log of the bridge."
        )
    return replies
