"""Becomes the user ``nobody``, then the given program: PostgreSQL refuses to run as root.

A program of its own, standard library only, started by its path. What stays of root's rights is one capability,
CAP_DAC_OVERRIDE: to reach the program and its data in folders that only root may enter (a clone in ``/root``, a
temporary folder), without opening those folders to everybody.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import struct
import sys

USER = "nobody"
CAP_DAC_OVERRIDE = 1
PR_GET_PDEATHSIG, PR_SET_PDEATHSIG = 2, 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 47, 2
CAPABILITY_VERSION_3 = 0x20080522


def become(user: pwd.struct_passwd) -> None:
    """Drop to ``user``; the next program still reaches every file. Raises OSError where the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(name: str, *arguments: object) -> None:
        if getattr(libc, name)(*arguments) != 0:
            raise OSError(ctypes.get_errno(), name)

    deathsig = ctypes.c_int()
    call("prctl", PR_GET_PDEATHSIG, ctypes.byref(deathsig), 0, 0, 0)
    call("prctl", PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    kept = 1 << CAP_DAC_OVERRIDE
    # Effective, permitted, inheritable; then the same for capabilities 32 to 63.
    call("capset", struct.pack("Ii", CAPABILITY_VERSION_3, 0), struct.pack("6I", kept, kept, kept, 0, 0, 0))
    call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)
    call("prctl", PR_SET_PDEATHSIG, deathsig.value, 0, 0, 0)  # a change of user forgets it


def main(command: list[str]) -> None:
    """Become ``nobody``, then ``command``; doesn't return."""
    try:
        become(pwd.getpwnam(USER))
    except (KeyError, OSError) as error:
        sys.exit(
            f"PostgreSQL doesn't run as root, and here root can't become {USER}: {error}. "
            "Remedy: run kai-airflow as an ordinary user."
        )
    os.execv(command[0], command)  # noqa: S606  # no shell wanted


if __name__ == "__main__":
    main(sys.argv[1:])
