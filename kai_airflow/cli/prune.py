"""``kai-airflow prune``: removes from NATS what no KRT names any more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from kai_airflow.cli import sites
from kai_airflow.cli.confirming import confirmed
from kai_airflow.cli.terminal import print_line, print_lines, table, tell
from kai_airflow.errors import KaiAirflowError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from kai_airflow.bridge.prune import Leftover
    from kai_airflow.bridge.site import Site
    from kai_airflow.messaging.connection import Connection

SUMMARY = "remove from NATS what is left of versions that no KRT names any more"
DESCRIPTION = """\
Remove from NATS what is left of products, versions and workflows that no KRT names any more: their streams, key-value
buckets and object stores, with all that they hold. It shows them and asks; without a terminal it needs --yes.

Nothing is touched that no bridge has made, and nothing while a KRT file has errors. A stream whose messages aren't
all processed, or whose runs haven't ended, stays, and what belongs to it, unless --force names it.

Exit codes: 0 done, 2 it can't.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    sites.add_site(parser, DESCRIPTION)
    parser.add_argument("--dry-run", action="store_true", help="say what would be removed, and remove nothing")
    parser.add_argument(
        "--force", metavar="STREAM", action="append", default=[], help="this one, too, with messages that wait; repeat"
    )
    parser.add_argument("--yes", action="store_true", help="don't ask")
    parser.add_argument(
        "--json", action="store_true", help="a JSON object for each, a line each; `spared` says why it stays"
    )


def run(args: argparse.Namespace) -> int:
    """Prune: 0 when it is done, or when nobody wants it."""
    import asyncio

    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    from kai_airflow.messaging.connection import connect

    site = await sites.site(args)
    async with connect(site.nats, name="kai-airflow prune") as connection:
        found = await _found(args, site, connection)
        _require_known(args.force, found)
        _show(args, found)
        going = [one for one in found if not one.spared]
        if args.dry_run or not going:
            tell(f"{len(going)} to remove, {len(found) - len(going)} stay")
        elif confirmed(f"Remove {len(going)} for good, with all messages in them?", yes=args.yes):
            # Asked again: while somebody thought about it, messages may have come.
            await _remove(connection, await _found(args, site, connection), going)
        else:
            tell("nothing is removed")
    return 0


async def _found(args: argparse.Namespace, site: Site, connection: Connection) -> list[Leftover]:
    import asyncio

    from kai_airflow.bridge.client import reaching
    from kai_airflow.bridge.prune import leftovers, named, needed

    keep = await asyncio.to_thread(named, site.folders)
    async with reaching(site.airflow) as airflow:
        return await leftovers(connection, keep, await needed(airflow), args.force)


def _require_known(force: Sequence[str], found: Sequence[Leftover]) -> None:
    from kai_airflow.krt.wording import choice, quoted

    known = [one.name for one in found if one.kind.endswith("stream")]
    for name in force:
        if name not in known:
            remedy = choice(name, known) if known else "Leave it out."
            raise KaiAirflowError(f"--force: no stream {quoted(name)} is left over. Remedy: {remedy}")


def _show(args: argparse.Namespace, found: Sequence[Leftover]) -> None:
    if args.json:
        for one in found:
            print_line(json.dumps(one.as_dict()))
        return
    rows = [(one.kind, one.name, str(one.messages), _fate(one)) for one in found]
    if rows:
        print_lines(table(("what", "name", "messages", ""), rows))


def _fate(one: Leftover) -> str:
    return f"stays: {one.spared}; --force {one.name}" if one.spared else "to remove"


async def _remove(connection: Connection, found: Sequence[Leftover], agreed: Sequence[Leftover]) -> None:
    from kai_airflow.bridge.prune import remove

    names = {one.name for one in agreed}
    going = [one for one in found if one.name in names and not one.spared]
    for one in going:
        await remove(connection, one)
    tell(f"{len(going)} removed")
    if left := names - {one.name for one in going}:
        tell(f"{len(left)} stay: messages have come meanwhile")
