"""Being the process at the terminal that everything else hangs from."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from kai_airflow.local import guard

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

T = TypeVar("T")
LIKE_CTRL_C = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def foreground() -> Iterator[None]:
    """Within, SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does; after it no child of this process is left.

    Where a guard is killed, its part's processes become children of this one: hence the last look.
    """
    guard.prctl(guard.PR_SET_CHILD_SUBREAPER, 1)
    # Whoever ignores a signal (nohup) wants it ignored.
    handled = [number for number in LIKE_CTRL_C if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, signal.default_int_handler) for number in handled}
    try:
        yield
    finally:
        guard.kill_descendants()
        for number, handler in before.items():
            signal.signal(number, handler)


def cancelled_by_signals(work: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run``, cancelled by a signal: once, so that a second Ctrl-C doesn't interrupt the cleaning up.

    :raises KeyboardInterrupt: there was a signal
    """
    numbers = [number for number in (signal.SIGINT, *LIKE_CTRL_C) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        return asyncio.run(_cancelled_by(numbers, work))
    except asyncio.CancelledError as error:
        raise KeyboardInterrupt from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _cancelled_by(numbers: list[signal.Signals], work: Coroutine[Any, Any, T]) -> T:
    doing = asyncio.ensure_future(work)

    def cancel() -> None:
        if not doing.cancelling():
            doing.cancel()

    for number in numbers:
        asyncio.get_running_loop().add_signal_handler(number, cancel)
    return await doing
