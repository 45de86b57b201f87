"""``kai-airflow replay``: past messages as new runs."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from kai_airflow.cli import products, sites
from kai_airflow.cli.counting import Count
from kai_airflow.cli.terminal import print_line, readable, tell
from kai_airflow.errors import KaiAirflowError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Coroutine, Sequence
    from datetime import datetime

    from kai_airflow.bridge.client import Airflow
    from kai_airflow.bridge.runs.replay import Choice, Past, Replay
    from kai_airflow.bridge.runs.requests import RunRequest
    from kai_airflow.bridge.site import Site
    from kai_airflow.messaging.connection import Connection
    from kai_airflow.plan import Workflow

SUMMARY = "start new runs with past messages of a workflow's triggers"
DESCRIPTION = """\
Start new runs with past messages of a workflow's triggers, as long as NATS keeps them.

Each run gets as many messages as x-airflow.messages_per_run says. Nobody gets a reply for them. A replay that is ended
or interrupted says with what --seq to go on. It waits while the DAG is paused, or too many of its runs are queued.

TIME is ISO 8601, as 2026-01-02T03:04:05+01:00; UTC where it names no zone.

  kai-airflow replay shop.train --from 2026-01-02T03:00Z --to 2026-01-02T04:00Z
  kai-airflow replay shop.train --seq 5-7,9 --dry-run
"""
SPAN = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    sites.add_site(parser, DESCRIPTION)
    parser.add_argument("dag_id", metavar="DAG_ID", help="the workflow's DAG, as product.workflow")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--from", dest="since", metavar="TIME", help="messages published from then on")
    which.add_argument("--seq", metavar="NUMBERS", help="messages by their sequences in the stream, as 5-7,9")
    parser.add_argument("--to", dest="until", metavar="TIME", help="and before then (all)")
    parser.add_argument("--trigger", metavar="NAME", help="of this trigger only (all)")
    parser.add_argument("--version", metavar="V", help="messages of another version, as v1.0.0 (the KRT's own)")
    parser.add_argument("--rate", metavar="N", type=float, help="so many runs a second at most (no limit)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be started, and start nothing")
    parser.add_argument("--json", action="store_true", help="a JSON object for each run, a line each")


def run(args: argparse.Namespace) -> int:
    """Replay: 0 when every run is started."""
    from kai_airflow.cli.foreground import cancelled_by_signals

    return cancelled_by_signals(_run(args, _choice(args)))


def _choice(args: argparse.Namespace) -> Choice:
    from kai_airflow.bridge.runs.replay import Choice

    if args.rate is not None and args.rate <= 0:
        raise KaiAirflowError(f"--rate: {args.rate:g} runs a second never come. Remedy: give more than 0.")
    if args.seq is not None:
        if args.until is not None:
            raise KaiAirflowError("--to goes with --from. Remedy: leave out --to, or --seq.")
        return Choice(spans=_spans(args.seq))
    return Choice(since=_time("--from", args.since), until=_time("--to", args.until))


def _spans(text: str) -> tuple[tuple[int, int], ...]:
    spans = [(int(found[1]), int(found[2] or found[1])) for part in text.split(",") if (found := SPAN.fullmatch(part))]
    if len(spans) != text.count(",") + 1 or any(not 0 < first <= last for first, last in spans):
        raise KaiAirflowError(
            f"--seq: {readable(text)!r} names no messages. Remedy: write numbers from 1 on, as 5-7,9."
        )
    return tuple(spans)


def _time(argument: str, text: str | None) -> datetime | None:
    from datetime import UTC, datetime

    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        moment.timestamp()  # also what is beyond the years that there are, in another zone
    except (ValueError, OverflowError) as error:
        raise KaiAirflowError(
            f"{argument}: {readable(text)!r} is no time. Remedy: write ISO 8601, as 2026-01-02T03:04:05Z."
        ) from error
    if moment.tzinfo is None:
        tell(f"{argument}: {text} is taken as UTC")
        return moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC)


async def _run(args: argparse.Namespace, choice: Choice) -> int:
    from kai_airflow.bridge.client import reaching
    from kai_airflow.cli.workflows import require_batch, workflow
    from kai_airflow.messaging.connection import connect

    site = await sites.site(args)
    found = _of_version(args.version, await workflow(site, args.dag_id))
    require_batch(found, "replay")
    async with connect(site.nats, name="kai-airflow replay") as connection, reaching(site.airflow) as airflow:
        replay = await _prepared(args, site, found, connection, airflow)
        messages = await _messages(args, found, choice, connection)
        await _start(args, replay, messages, found.messages_per_run)
    return 0


def _of_version(version: str | None, found: Workflow) -> Workflow:
    """The same DAG with the stream of another version."""
    from dataclasses import replace

    from kai_airflow.plan import names

    if version is None:
        return found
    return replace(found, live_stream=names.live_stream(found.product, version, found.name))


async def _prepared(
    args: argparse.Namespace, site: Site, found: Workflow, connection: Connection, airflow: Airflow
) -> Replay:
    from kai_airflow.bridge.runs.gate import Gate
    from kai_airflow.bridge.runs.replay import Replay
    from kai_airflow.messaging.streams import created

    moment = await created(connection.js, found.live_stream)
    if not args.dry_run and await airflow.dag(found.dag_id) is None:
        raise KaiAirflowError(
            f"Airflow at {airflow.url} has no DAG {found.dag_id} (yet). Remedy: see that its bundle reads this "
            "KRT file, and Airflow's import errors."
        )
    gate = Gate(airflow, found.dag_id, site.settings.max_queued_runs)
    return Replay(connection, airflow, gate, found.dag_id, found.live_stream, moment)


async def _messages(args: argparse.Namespace, found: Workflow, choice: Choice, connection: Connection) -> list[Past]:
    from kai_airflow.bridge.runs.replay import past

    triggers = [process.name for process in found.triggers]
    if args.trigger is not None:
        triggers = [products.chosen("trigger", args.trigger, triggers)]
    messages = await past(connection, found.live_stream, triggers, choice)
    if not messages:
        raise KaiAirflowError(
            f"stream {found.live_stream} holds no such message of {' or '.join(triggers)} (any more). "
            "Remedy: name other times or sequences; messages are kept for as long as [kai_airflow] stream_max_age says."
        )
    return messages


async def _start(args: argparse.Namespace, replay: Replay, messages: Sequence[Past], most: int) -> None:
    """Start the runs one by one; where that ends before its time, say how to go on."""
    import asyncio

    from kai_airflow.bridge.runs.replay import chunks
    from kai_airflow.messaging import ranges

    planned = chunks(messages, most)
    count, done, runs = Count("run(s)", len(planned)), 0, 0
    try:
        for chunk in planned:
            request = await _paced(args, replay, chunk, first=not done)
            done += 1
            if request is not None:  # told only after it counts: nobody may read any more
                runs += 1
                _say(args, replay, request)
            count.at(done)
            if _interrupted():
                raise asyncio.CancelledError
    finally:
        count.over()
        for sequence, reason in replay.left_out:
            tell(f"message {sequence} is left out: {reason}")
        if rest := sorted(one.sequence for chunk in planned[done:] for one in chunk):
            verb = "looked at" if args.dry_run else "done"
            tell(f"{done} of {len(planned)} run(s) {verb}. The rest: --seq {ranges.to_text(rest)}")
    verb = "would be started" if args.dry_run else "started"
    tell(f"{runs} run(s) {verb} with {len(messages) - len(replay.left_out)} message(s)")


async def _paced(args: argparse.Namespace, replay: Replay, chunk: Sequence[Past], *, first: bool) -> RunRequest | None:
    """Start one run, not earlier than the rate allows; None where there is nothing to start."""
    import asyncio

    request = await replay.request(chunk)
    if request is not None and not args.dry_run:
        if args.rate and not first:
            await asyncio.sleep(1 / args.rate)
        await replay.admitted()
        await _whole(replay.start(request))
    return request


def _say(args: argparse.Namespace, replay: Replay, request: RunRequest) -> None:
    origin = request.origin.to_conf()
    said = {"dag_id": replay.dag_id, "run_id": replay.run_id(request), **origin}
    print_line(json.dumps(said) if args.json else readable(f"{said['run_id']}: {request.note}"))


async def _whole(doing: Coroutine[Any, Any, None]) -> None:
    """Do it to its end, even where Ctrl-C comes meanwhile: nobody could tell whether the run is there."""
    import asyncio

    task = asyncio.ensure_future(doing)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task


def _interrupted() -> bool:
    import asyncio

    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
