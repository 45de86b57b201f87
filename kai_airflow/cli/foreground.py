"""Being the process at the terminal that everything else hangs from."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kai_airflow.local import guard

if TYPE_CHECKING:
    from collections.abc import Iterator

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
