"""Folders that the account which runs Postgres can reach.

Postgres refuses root, and the account it then runs as must be able to reach its programs and its data.
Where a parent folder bars it (a checkout under `/root`, a test's private folder), one folder of ours that
all accounts may enter is used instead.

Data that nobody wants again lie in memory where there is room. A test that makes a database of its own
copies 9 MB in 300 files: measured on one machine, 57 ms there and 428 ms on disk, and the disk needs the
same time again to forget them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
from pathlib import Path

import msgspec
import psutil

from objectql_devstack.errors import DevStackError
from objectql_devstack.processes import identify
from objectql_devstack.spawning import RunUser

_DISK = Path("/var/tmp")  # noqa: S108 - `_own_folder` checks the owner
_MEMORY = Path("/dev/shm")  # noqa: S108 - likewise
_ROOM_BYTES = 4 * 1024**3
"""Left in memory where data may go there: a stack of the tests has less than a tenth of it."""

_OWNER_FILE = "owner.json"


class _Owner(msgspec.Struct, frozen=True):
    pid: int
    created: float


def may_enter(folder: Path, user: RunUser | None) -> bool:
    """Whether `user` may pass through `folder` and everything above it."""
    if user is None:
        return True
    for place in (folder, *folder.parents):
        status = place.stat()
        bit = stat.S_IXOTH
        if status.st_uid == user.uid:
            bit = stat.S_IXUSR
        elif status.st_gid == user.gid:
            bit = stat.S_IXGRP
        if not status.st_mode & bit:
            return False
    return True


def shared_folder() -> Path:
    """A folder of ours that every account may enter; it outlives a reboot.

    Raises:
        DevStackError: Somebody else has made it first.
    """
    return _own_folder(_DISK)


def _own_folder(root: Path) -> Path:
    folder = root / f"objectql-{os.geteuid()}"
    folder.mkdir(mode=0o755, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise DevStackError(f"{folder} belongs to somebody else: remove it")
    return folder


def reachable_folder(preferred: Path, user: RunUser | None) -> Path:
    """`preferred`, or where `user` cannot get there always the same folder of `shared_folder`."""
    preferred.parent.mkdir(parents=True, exist_ok=True)
    if may_enter(preferred.parent, user):
        return preferred
    return _data_folder(_DISK, preferred)


def fleeting_folder(preferred: Path, user: RunUser | None) -> Path:
    """`reachable_folder` for what nobody wants again: in memory where there is room.

    Who asks again is told the same folder as long as it is there.
    """
    stored = reachable_folder(preferred, user)
    if stored.exists() or not _MEMORY.is_mount():
        return stored
    fleeting = _data_folder(_MEMORY, preferred)
    return fleeting if fleeting.exists() or _room_bytes() >= _ROOM_BYTES else stored


def _room_bytes() -> int:
    """What may still go into memory."""
    return min(shutil.disk_usage(_MEMORY).free, psutil.virtual_memory().available)


def _data_folder(root: Path, preferred: Path) -> Path:
    digest = hashlib.sha256(str(preferred.parent).encode()).hexdigest()[:12]
    return _own_folder(root) / f"data-{digest}" / preferred.name


def claim(folder: Path) -> None:
    """Mark `folder` as temporary: `sweep` removes it when this process has gone.

    For stacks that die with their process; if that is killed, nobody else would clean up.
    """
    folder.mkdir(mode=0o755, exist_ok=True)
    mark = _Owner(os.getpid(), psutil.Process().create_time())
    draft = folder / f"{_OWNER_FILE}.new"
    draft.write_bytes(msgspec.json.encode(mark))
    draft.rename(folder / _OWNER_FILE)


def sweep() -> None:
    """Remove the temporary folders of processes that were killed."""
    roots = [root for root in (_DISK, _MEMORY) if root.is_dir()]
    for file in [file for root in roots for file in _own_folder(root).glob(f"*/{_OWNER_FILE}")]:
        with contextlib.suppress(FileNotFoundError):  # another process sweeps too, and was faster
            owner = msgspec.json.decode(file.read_bytes(), type=_Owner)
            if identify(owner.pid, owner.created) is None:
                _remove(file.parent, last=file)


def _remove(folder: Path, *, last: Path) -> None:
    """Remove `folder`; where a dying server still writes into it, `last` stays for the next sweep."""
    for stored in list(folder.iterdir()):
        if stored != last:
            shutil.rmtree(stored, ignore_errors=True)
    if list(folder.iterdir()) == [last]:
        shutil.rmtree(folder, ignore_errors=True)
