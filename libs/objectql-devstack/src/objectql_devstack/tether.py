"""A program that becomes another program and dies with its parent.

    python -I -S tether.py PARENT_PID UID:GID|- PROGRAM [ARGUMENT ...]

Run between fork and exec, instead of as `preexec_fn`: that runs Python code in a forked copy of a process
with threads, which may deadlock. Uses the standard library only, and stays readable for root alone: the
user is changed here, after the file was read.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: str, user: str, program: str, *arguments: str) -> None:
    """Change the user, tie this process to `parent`, become `program`."""
    if user != "-":
        uid, gid = user.split(":")
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    # After the change of user, which would clear it (prctl(2)).
    if ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        sys.exit("prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != int(parent):
        sys.exit("the parent has gone before its child was tied to it")
    os.execv(program, [program, *arguments])  # noqa: S606 - becoming another program is the purpose


if __name__ == "__main__":
    main(*sys.argv[1:])
