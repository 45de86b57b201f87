"""``kai-airflow send``: a request to a workflow, as its trigger would send it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from kai_airflow.cli import FOUND_WRONG, payloads, products, sites
from kai_airflow.cli.durations import seconds
from kai_airflow.cli.terminal import print_line, tell
from kai_airflow.errors import KaiAirflowError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from kai_airflow.bridge.runs.sending import Answer, Sent
    from kai_airflow.messaging.codec import Json
    from kai_airflow.messaging.connection import Connection
    from kai_airflow.plan import Workflow

SUMMARY = "send a workflow a request, as its trigger would"
TIMEOUT = 300.0  # seconds
DESCRIPTION = """\
Publish a request on NATS as the workflow's trigger would: the bridge makes a run of it.

--wait waits for what the workflow's exits send back, and prints it: the payload as JSON where there is one reply, a
JSON object for each where there are several. Ctrl-C ends the waiting, not the run.

Exit codes: 0 sent, or answered; 1 with --wait: an exit replied with an error, or the run ended without a reply;
2 it can't be sent, or no reply came in time; 130 interrupted.

  kai-airflow send shop.train '{"n": 1}'
  kai-airflow send shop.train --file request.json --wait
  date +'"%F"' | kai-airflow send shop.train - --wait --timeout 20
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    sites.add_site(parser, DESCRIPTION)
    parser.add_argument("dag_id", metavar="DAG_ID", help="the workflow's DAG, as product.workflow")
    given = parser.add_mutually_exclusive_group()
    given.add_argument("payload", metavar="JSON", nargs="?", default="null", help="- reads standard input (null)")
    given.add_argument("--file", metavar="FILE", help="the payload, a file of JSON; - is standard input")
    parser.add_argument("--trigger", metavar="NAME", help="whose request it is, where the workflow has several")
    parser.add_argument("--request-id", metavar="ID", help="the request's id (a new UUID)")
    parser.add_argument("--wait", action="store_true", help="wait for replies, and print them")
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=TIMEOUT,
        help=f"how long to wait for replies ({TIMEOUT:g})",
    )
    parser.add_argument("--json", action="store_true", help="a JSON object for what was sent, and one for each reply")


def run(args: argparse.Namespace) -> int:
    """Send: 0 when it is sent, with ``--wait`` when it is answered well."""
    import asyncio

    payload = _payload(args)
    return asyncio.run(_run(args, payload))


def _payload(args: argparse.Namespace) -> Json:
    if args.file is not None:
        return payloads.parsed(payloads.read(args.file, "--file"), "--file")
    return payloads.parsed(payloads.read("-", "JSON") if args.payload == "-" else args.payload, "JSON")


async def _run(args: argparse.Namespace, payload: Json) -> int:
    import uuid

    from kai_airflow.bridge.runs import sending
    from kai_airflow.cli.workflows import workflow
    from kai_airflow.messaging.connection import connect

    site = await sites.site(args)
    found = await workflow(site, args.dag_id)
    trigger = products.chosen("trigger", args.trigger, [process.name for process in found.triggers])
    request_id = args.request_id or str(uuid.uuid4())
    async with connect(site.nats, name="kai-airflow send") as connection:
        waiting = f"waiting for stream {found.live_stream}, at most {sending.PATIENCE:g} s"
        sent = await sending.send(connection, found, trigger, payload, request_id, lambda: tell(waiting))
        _say(args, sent)
        return await _wait(args, connection, found, sent) if args.wait else 0


def _say(args: argparse.Namespace, sent: Sent) -> None:
    tell(f"request {sent.request_id} is message {sent.sequence} of {sent.stream}")
    if args.json:
        said = {
            "request_id": sent.request_id,
            "stream": sent.stream,
            "sequence": sent.sequence,
            "trigger": sent.trigger,
        }
        print_line(json.dumps(said))


async def _wait(args: argparse.Namespace, connection: Connection, found: Workflow, sent: Sent) -> int:
    import asyncio

    from kai_airflow.bridge.runs import sending

    tell(f"waiting for a reply, at most {args.timeout:g} s")
    try:
        async with asyncio.timeout(args.timeout):
            came = await sending.answers(connection, found, sent, lambda run_id: tell(f"its run will be {run_id}"))
    except TimeoutError as error:
        raise KaiAirflowError(
            f"no reply to request {sent.request_id} within {args.timeout:g} s. Remedy: see in Airflow whether "
            f"{found.dag_id} is paused or still runs, that `kai-airflow bridge` runs, and "
            "`kai-airflow deadletters list`; or wait longer with --timeout."
        ) from error
    return _show(args, came)


def _show(args: argparse.Namespace, came: Sequence[Answer]) -> int:
    if not came:
        tell("the run has ended, and none of its exits has sent anything for this request")
    for answer in came:
        if args.json or (len(came) > 1 and not answer.failed):
            print_line(json.dumps(answer.as_dict(), ensure_ascii=False))
        elif not answer.failed:
            print_line(json.dumps(answer.payload, ensure_ascii=False, indent=2))
        if answer.failed:
            tell(f"{answer.exit}{answer.channel and '.'}{answer.channel} replies with an error: {answer.message.error}")
    return 0 if came and not any(answer.failed for answer in came) else FOUND_WRONG
