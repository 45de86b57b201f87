"""Ends the stack of a home from outside, whatever is left of it."""

from __future__ import annotations

import os
import select
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kai_airflow.local import remains
from kai_airflow.local.errors import StackError
from kai_airflow.local.home import LEFTOVERS, freed, holder, open_lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from kai_airflow.local.home import Home

SOON = 1.0  # seconds after which who waits wants to know for what
PATIENCE = 60.0  # seconds for `up` to stop everything; it takes about 5


@dataclass(frozen=True)
class Stopped:
    """What was found: whether a stack ran, and how many processes of one had neither `up` nor a guard any more."""

    ran: bool
    left: int


def stop(home: Home, slow: Callable[[], None]) -> Stopped:
    """End all that runs in this home. ``slow`` is called once when it takes a while.

    Raises StackError where there is no such home, or it can't be ended.
    """
    home.require()
    descriptor = open_lock(home)
    try:
        ran = not freed(descriptor, 0.0)
        if ran:
            _end(descriptor, home, slow)
        return Stopped(ran, remains.kill(home.logs))
    finally:
        os.close(descriptor)


def _end(descriptor: int, home: Home, slow: Callable[[], None]) -> None:
    """Wait until the lock is free: until the last guard has ended its part."""
    running = holder(descriptor)
    if running is not None:
        _end_up(running, descriptor, slow)
    if freed(descriptor, LEFTOVERS):
        return
    remains.kill(home.logs)  # guards that hang, too
    if not freed(descriptor, LEFTOVERS):
        raise StackError(f"{home.path}: its stack doesn't end. Remedy: be the user who started it.")


def _end_up(process: int, descriptor: int, slow: Callable[[], None]) -> None:
    try:
        up = os.pidfd_open(process)
    except ProcessLookupError:
        return  # ended meanwhile
    try:
        if holder(descriptor) == process:  # still the same one: now its id can't become another program's
            _signal(up, signal.SIGTERM)
            if not _ended(up, SOON):
                slow()
                if not _ended(up, PATIENCE):
                    _signal(up, signal.SIGKILL)  # its guards notice
                    _ended(up, LEFTOVERS)
    finally:
        os.close(up)


def _signal(up: int, number: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(up, number)
    except ProcessLookupError:
        return


def _ended(up: int, timeout: float) -> bool:
    poll = select.poll()
    poll.register(up, select.POLLIN)
    return bool(poll.poll(timeout * 1000))
