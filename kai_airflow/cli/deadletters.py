"""``kai-airflow deadletters``: messages that could become no run."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from kai_airflow.cli import CANNOT, sites
from kai_airflow.cli.confirming import confirmed
from kai_airflow.cli.terminal import print_line, print_lines, table, tell

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from kai_airflow.bridge.runs.deadletters import DeadLetter
    from kai_airflow.bridge.site import Site
    from kai_airflow.messaging.connection import Connection
    from kai_airflow.plan import Workflow

SUMMARY = "list, show, send on again or drop messages that could become no run"
DESCRIPTION = """\
Messages of triggers that could become no run: nobody can read them, or Airflow refused them for good. They are kept
with the reason for as long as messages are kept.

  kai-airflow deadletters list            all of them, a line each
  kai-airflow deadletters show 3          what is in one
  kai-airflow deadletters redrive 3 4     publish them where they were, for another attempt
  kai-airflow deadletters drop 3          delete it for good
"""
LIST = "List dead letters, the oldest first.\n"
SHOW = "Show a dead letter: where it was, why it died, and what it says, or its first bytes where nobody can read it.\n"
REDRIVE = """\
Publish dead letters where they were, so that the bridge takes them in hand again. One whose stream is gone stays.

Exit codes: 0 all are on their way, 2 some can't be.
"""
DROP = "Delete dead letters for good. Asks first; without a terminal it needs --yes.\n"
HEAD = 256  # bytes that are shown of what nobody can read
ROW = 16


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description, parser.formatter_class = DESCRIPTION, argparse.RawDescriptionHelpFormatter
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = _action(actions, "list", LIST, _list)
    listing.add_argument("--dag", metavar="DAG_ID", help="those for this DAG only")
    showing = _action(actions, "show", SHOW, _show)
    showing.add_argument("number", metavar="NUMBER", type=int, help="as `list` shows it")
    showing.add_argument("--raw", action="store_true", help="the message's bytes alone, as they are")
    _add_choice(_action(actions, "redrive", REDRIVE, _redrive))
    dropping = _action(actions, "drop", DROP, _drop)
    _add_choice(dropping)
    dropping.add_argument("--yes", action="store_true", help="don't ask")


def _action(actions: Any, name: str, description: str, act: Callable[..., Awaitable[int]]) -> argparse.ArgumentParser:
    own: argparse.ArgumentParser = actions.add_parser(name, help=description.splitlines()[0])
    sites.add_site(own, description)
    own.add_argument("--json", action="store_true", help="JSON, an object a line for each dead letter")
    own.set_defaults(act=act)
    return own


def _add_choice(parser: argparse.ArgumentParser) -> None:
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("numbers", metavar="NUMBER", type=int, nargs="*", default=[], help="as `list` shows them")
    chosen.add_argument("--dag", metavar="DAG_ID", help="all for this DAG")
    chosen.add_argument("--all", action="store_true", help="all")


def run(args: argparse.Namespace) -> int:
    """Do what is asked: 0 when it is done."""
    import asyncio

    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    from kai_airflow.messaging.connection import connect

    site = await sites.site(args)
    async with connect(site.nats, name="kai-airflow deadletters") as connection:
        code: int = await args.act(args, site, connection)
        return code


async def _list(args: argparse.Namespace, site: Site, connection: Connection) -> int:
    from kai_airflow.cli.workflows import known

    letters = await _those(args.dag, site, connection)
    if args.json:
        _print_json(letters)
        return 0
    workflows = (await known(site)).workflows
    rows = [(*_row(one), _dag(one, workflows), str(one.sequence), str(one.attempts), one.reason) for one in letters]
    if rows:
        print_lines(table(("number", "died", "DAG", "message", "attempts", "reason"), rows))
    tell(f"{len(rows)} dead letter(s)")
    return 0


def _row(letter: DeadLetter) -> tuple[str, str]:
    return str(letter.number), letter.died.isoformat(sep=" ", timespec="seconds")


def _dag(letter: DeadLetter, workflows: Mapping[str, Workflow]) -> str:
    """The DAG that a dead letter was for; its stream where there is none any more."""
    from kai_airflow.bridge.runs.versions import takes_from
    from kai_airflow.plan.names import Stream

    stream = Stream(letter.stream)
    return next((dag_id for dag_id, workflow in workflows.items() if takes_from(workflow, stream)), letter.stream)


async def _those(dag_id: str | None, site: Site, connection: Connection) -> list[DeadLetter]:
    """All of them, or those that were for a DAG."""
    from kai_airflow.bridge.runs import deadletters
    from kai_airflow.bridge.runs.versions import takes_from
    from kai_airflow.cli.workflows import workflow
    from kai_airflow.plan.names import Stream

    found = None if dag_id is None else await workflow(site, dag_id)
    letters = [letter async for letter in deadletters.listed(connection)]
    return [one for one in letters if found is None or takes_from(found, Stream(one.stream))]


async def _show(args: argparse.Namespace, _site: Site, connection: Connection) -> int:
    from kai_airflow.bridge.runs import deadletters

    letter = await deadletters.found(connection, args.number)
    if args.raw:
        sys.stdout.buffer.write(letter.data)
        return 0
    said = _content(letter)
    if args.json:
        print_line(json.dumps({**letter.as_dict(), **said}, ensure_ascii=False))
        return 0
    facts = {key: value for key, value in letter.as_dict().items() if value != ""}
    print_lines(f"{key + ':':<12}{value}" for key, value in facts.items())
    print_line("")
    print_lines(_lines(letter, said))
    return 0


def _content(letter: DeadLetter) -> dict[str, Any]:
    """What the message says; nothing where nobody can read it."""
    from kai_airflow.messaging import codec
    from kai_airflow.messaging.errors import BadMessageError

    try:
        message = codec.decode(letter.data)
        payload = codec.unpack(message.payload)
    except BadMessageError:
        return {}
    said = {"request_id": message.request_id, "from_node": message.from_node, "type": message.type.name}
    return {"message": {**said, "error": message.error, "payload": payload}}


def _lines(letter: DeadLetter, said: Mapping[str, Any]) -> Sequence[str]:
    if said:
        return json.dumps(said["message"], ensure_ascii=False, indent=2).splitlines()
    more = len(letter.data) - HEAD
    beginning = [letter.data[at : at + ROW] for at in range(0, min(len(letter.data), HEAD), ROW)]
    dump = [f"{at * ROW:08x}  {row.hex(' '):<{3 * ROW}} {_seen(row)}" for at, row in enumerate(beginning)]
    return [*dump, f"... {more} more byte(s): see --raw"] if more > 0 else dump


def _seen(row: bytes) -> str:
    return "".join(chr(byte) if chr(byte).isascii() and chr(byte).isprintable() else "." for byte in row)


async def _redrive(args: argparse.Namespace, site: Site, connection: Connection) -> int:
    from kai_airflow.bridge.runs import deadletters

    async def act(letter: DeadLetter) -> None:
        sequence = await deadletters.redrive(connection, letter)
        said = {"number": letter.number, "stream": letter.stream, "sequence": sequence}
        line = f"{letter.number} is message {sequence} of {letter.stream}"
        print_line(json.dumps(said) if args.json else line)

    return await _each(await _chosen(args, site, connection), act)


async def _drop(args: argparse.Namespace, site: Site, connection: Connection) -> int:
    from kai_airflow.bridge.runs import deadletters

    letters = await _chosen(args, site, connection)
    listed = ", ".join(str(letter.number) for letter in letters[:10]) + (", ..." if len(letters) > 10 else "")
    if not letters or not confirmed(f"Delete {len(letters)} dead letter(s) for good: {listed}?", yes=args.yes):
        tell("nothing is dropped")
        return 0

    async def act(letter: DeadLetter) -> None:
        await deadletters.drop(connection, letter)
        print_line(json.dumps({"number": letter.number}) if args.json else f"{letter.number} is dropped")

    return await _each(letters, act)


async def _chosen(args: argparse.Namespace, site: Site, connection: Connection) -> list[DeadLetter]:
    from kai_airflow.bridge.runs import deadletters

    if args.numbers:
        return [await deadletters.found(connection, number) for number in dict.fromkeys(args.numbers)]
    return await _those(args.dag, site, connection)


async def _each(letters: Sequence[DeadLetter], act: Callable[[DeadLetter], Awaitable[None]]) -> int:
    """Do it with each; one that NATS refuses is told, and doesn't keep the others back."""
    from kai_airflow.messaging.errors import JetStreamError

    code = 0
    for letter in letters:
        try:
            await act(letter)
        except JetStreamError as error:
            tell(f"kai-airflow: {error}")
            code = CANNOT
    return code


def _print_json(letters: Sequence[DeadLetter]) -> None:
    for letter in letters:
        print_line(json.dumps(letter.as_dict()))
