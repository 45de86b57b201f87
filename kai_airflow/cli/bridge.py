"""``kai-airflow bridge``: messages of triggers become runs, and what comes of them goes back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from kai_airflow.cli import sites

if TYPE_CHECKING:
    import argparse

SUMMARY = "have messages of triggers start runs, and send replies; until stopped"
DESCRIPTION = """\
Have the messages that triggers publish on NATS start runs, each exactly one, and send back what comes of them.

Any number of bridges may run; they share the work. `kai-airflow up` runs one. The messages of a paused DAG wait
in NATS. What can't become a run is kept: see `kai-airflow deadletters`.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    sites.add_site(parser, DESCRIPTION)


def run(args: argparse.Namespace) -> int:
    """Bridge; 0 when told to stop."""
    import asyncio
    import logging

    from kai_airflow.bridge import service
    from kai_airflow.cli.foreground import cancelled_by_signals

    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)

    async def bridge() -> None:
        await service.run(await sites.site(args))

    try:
        cancelled_by_signals(bridge())
    except KeyboardInterrupt:
        return 0
    finally:
        asyncio.set_event_loop(None)
    return 0
