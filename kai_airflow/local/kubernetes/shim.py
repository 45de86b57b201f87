"""The parent of one container: runs its words in a folder, and outlives none of its processes.

`python shim.py FOLDER COUNT AFTER... WORD...`: the COUNT words AFTER run when all processes are gone, however that
came.
Run by path, without this package. One thread, the standard library only, Linux.

File descriptor 0 takes orders: each byte is a signal for the container's process group. Its end means that the
server is gone, however that came: then everything is killed. Descriptor 1 reports: `pid N` once the words run, or
`error TEXT`; then `exit CODE` (negative: the signal that ended it) when every descendant is gone. Descriptor 2 is the
container's log.

A container's processes end with its first one, as in a PID namespace: this process is their subreaper, so that a
daemon that left the process group comes back to it to be killed. Should the shim itself be killed, the first process
dies with it (PR_SET_PDEATHSIG, which is tied to the parent's thread: there is but one).
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
from collections.abc import Iterator

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def prctl(option: int, value: int) -> None:
    """prctl(2)."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def report(text: str) -> None:
    """Tell the server, if it is still there."""
    with contextlib.suppress(BrokenPipeError):
        os.write(1, text.encode(errors="backslashreplace") + b"\n")


def become(folder: str, words: list[str], parent: int) -> None:
    """Turn this process into the container's first one; raises OSError."""
    os.setsid()
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before it could be the reason to die
        os._exit(1)
    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    os.chdir(folder)
    os.execvp(words[0], words)  # noqa: S606 - no shell is wanted


def start(folder: str, words: list[str]) -> int:
    """The pid of the first process, once its program runs. Raises RuntimeError where it can't."""
    parent = os.getpid()
    failure, failed = os.pipe()  # closed by exec
    pid = os.fork()
    if not pid:
        try:
            become(folder, words, parent)
        except OSError as error:
            os.write(failed, (error.strerror or "failed").encode())
        finally:
            os._exit(127)
    os.close(failed)
    if text := os.read(failure, 4096):
        raise RuntimeError(text.decode())
    return pid


def reap(pid: int) -> int | None:
    """Collect ended children, orphans among them; the exit code of `pid` once that one has ended."""
    code = None
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == pid:
                code = os.waitstatus_to_exitcode(ended[1])
    return code


def supervise(pid: int, wake: int) -> int:
    """Pass signals on until the first process has ended, or the server has."""
    while True:
        ready, _, _ = select.select([0, wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
            if (code := reap(pid)) is not None:
                return code
        if 0 in ready:
            orders = os.read(0, 64)
            if not orders:
                return -signal.SIGKILL
            for number in orders:
                with contextlib.suppress(PermissionError):
                    os.killpg(pid, number)  # not reaped yet, so the number is still its own


def children() -> Iterator[int]:
    """The living and dead children of this process."""
    for entry in os.listdir("/proc"):  # noqa: PTH208 - pathlib would double this process's start
        with contextlib.suppress(ValueError, OSError):
            pid = int(entry)
            with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123
                parent = stat.read().rpartition(b")")[2].split()[1]
            if int(parent) == os.getpid():
                yield pid


def sweep() -> None:
    """Kill every descendant: each death brings the next generation here, until there is none."""
    with contextlib.suppress(ChildProcessError):
        while True:
            for pid in children():
                with contextlib.suppress(PermissionError):
                    os.kill(pid, signal.SIGKILL)
            os.waitpid(-1, 0)


def tidy(words: list[str]) -> None:
    """Run these words, unheard, to their end."""
    if pid := os.fork():
        os.waitpid(pid, 0)
        return
    try:
        silent = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(silent, descriptor)
        os.execvp(words[0], words)  # noqa: S606 - no shell is wanted
    finally:
        os._exit(127)


def main(folder: str, count: str, *rest: str) -> None:
    """Run the words in the folder."""
    after, words = list(rest[: int(count)]), list(rest[int(count) :])
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker)
    try:
        pid = start(folder, words)
    except RuntimeError as error:
        report(f"error {error}")
        return
    report(f"pid {pid}")
    code = supervise(pid, wake)
    sweep()
    if after:
        tidy(after)
    report(f"exit {code}")


if __name__ == "__main__":
    main(*sys.argv[1:])
