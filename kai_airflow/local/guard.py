"""Runs one part of the stack, and lets nothing that the part started outlive it.

A program of its own, standard library only, started by its path (``python -I -S guard.py ...``) so that it is there in
milliseconds. Airflow's parts fork, and their children open sessions of their own, so neither a signal to a process nor
one to its group reaches all of them. The guard therefore makes itself the subreaper of what it starts
(prctl(2), PR_SET_CHILD_SUBREAPER): whoever loses its parent becomes its child, and stays in sight.

It ends the part when it is told to (SIGTERM, SIGINT), and when nobody holds the other end of its lifeline any more,
a pipe: that happens by itself when ``kai-airflow up`` is killed. Its exit code is the part's, 128 + n for signal n.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import select
import signal
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
ABANDONED_GRACE = 2.0  # seconds to end in when `up` is gone: nobody waits for an orderly end


def prctl(option: int, argument: int) -> None:
    """Call prctl(2); raises OSError where the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {argument})")


def descendants(root: int) -> list[int]:
    """The ids of all processes below ``root``."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (parent := _parent(entry)) is not None:
            children.setdefault(parent, []).append(int(entry.name))
    found = list(children.get(root, ()))
    for process in found:  # grows while it is read
        found.extend(children.get(process, ()))
    return found


def _parent(entry: Path) -> int | None:
    try:
        stat = (entry / "stat").read_text(errors="replace")
    except OSError:
        return None  # ended meanwhile
    # "PID (NAME) STATE PARENT ...", and the name may hold anything, brackets and spaces too.
    return int(stat.rpartition(")")[2].split()[1])


def kill_descendants() -> None:
    """End everything below this process, at once, until nothing is left."""
    while found := descendants(os.getpid()):
        for process in found:
            _send(process, signal.SIGKILL)
        _reap()
        time.sleep(0.01)


def _send(process: int, number: int) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return


def _reap() -> dict[int, int]:
    """Collect children that ended: exit code (or -n for signal n) by process id."""
    ended: dict[int, int] = {}
    while True:
        try:
            process, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if process == 0:
            return ended
        ended[process] = os.waitstatus_to_exitcode(status)


class Guard:
    """A part that runs, and what may happen to it."""

    def __init__(self, command: list[str], lifeline: int, stop_signal: int, grace: float) -> None:
        self._lifeline, self._stop_signal, self._grace = lifeline, stop_signal, grace
        self._deadline: float | None = None
        self._wakeups, self._wakeup = os.pipe()
        os.set_blocking(self._wakeup, False)
        self._watch_signals()
        self._part = _start(command)

    def run(self) -> int:
        """Wait for the end of the part, then end what it left. Returns the part's exit code."""
        poll = select.poll()
        poll.register(self._wakeups, select.POLLIN)
        poll.register(self._lifeline, select.POLLIN)  # POLLHUP is always reported
        code = None
        while code is None and self._remaining() > 0:
            happened = [descriptor for descriptor, _ in poll.poll(self._remaining() * 1000)]
            if self._lifeline in happened:
                poll.unregister(self._lifeline)
                self._stop(min(self._grace, ABANDONED_GRACE))
            if self._wakeups in happened and self._told_to_stop():
                self._stop(self._grace)
            code = _reap().get(self._part)
        kill_descendants()
        return 128 + signal.SIGKILL if code is None else code if code >= 0 else 128 - code

    def _watch_signals(self) -> None:
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _told_to_stop(self) -> bool:
        numbers = os.read(self._wakeups, 4096)
        return signal.SIGTERM in numbers or signal.SIGINT in numbers

    def _remaining(self) -> float:
        return 3600.0 if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _stop(self, grace: float) -> None:
        _send(self._part, self._stop_signal)
        deadline = time.monotonic() + grace
        self._deadline = deadline if self._deadline is None else min(deadline, self._deadline)


def _start(command: list[str]) -> int:
    guard = os.getpid()
    process = os.fork()
    if process:
        return process
    try:
        # Its own session: what is typed at the terminal reaches `up` alone, which then stops parts in their order.
        os.setsid()
        for number in (signal.SIGHUP, signal.SIGPIPE):  # what is ignored would stay so in the part
            signal.signal(number, signal.SIG_DFL)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == guard:  # else it died before it could be noticed
            os.execvp(command[0], command)  # noqa: S606  # no shell wanted
    except OSError as error:
        print(f"can't start {command[0]}: {error.strerror}", file=sys.stderr, flush=True)  # noqa: T201  # its log
    os._exit(127)


def _keep_open_files_to_itself() -> None:
    """Neither the lifeline nor the lock of the stack's folder is the part's to hold."""
    for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208  # names, not paths
        if int(entry) > sys.stderr.fileno() and Path("/proc/self/fd", entry).exists():
            os.set_inheritable(int(entry), False)


def main() -> int:
    """Run the part that the command line describes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lifeline", type=int, required=True)
    parser.add_argument("--stop-signal", type=int, required=True)
    parser.add_argument("--grace", type=float, required=True)
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    _keep_open_files_to_itself()
    return Guard(arguments.command, arguments.lifeline, arguments.stop_signal, arguments.grace).run()


if __name__ == "__main__":
    sys.exit(main())
