"""Who may write a project: one process at a time, known to the others by owner, host and process id.

The operating system holds the lock (``flock``, ``msvcrt.locking``), so it disappears with its process however that
dies; the text in the lock file only tells others whom to ask. Where a file system refuses such locks, the text decides:
a dead process of this host is taken over, any other owner is respected.
"""

from __future__ import annotations

import errno
import getpass
import json
import os
import socket
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LOCK_NAME = "project.lock"
_MOMENT = 0.05
_HELD_BY_ANOTHER = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}
_WINDOWS_LOCK_OFFSET = 1 << 30  # Windows locks are mandatory: lock a byte that no reader of the text needs


@dataclass(frozen=True, slots=True)
class LockOwner:
    """The process that may write a project."""

    owner: str
    host: str
    pid: int
    since: str = ""

    @classmethod
    def current(cls) -> LockOwner:
        """This process."""
        try:
            owner = getpass.getuser()
        except (KeyError, OSError):  # an account without a name, as in some containers
            owner = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
        return cls(owner, socket.gethostname(), os.getpid(), datetime.now(UTC).isoformat(timespec="seconds"))

    def __str__(self) -> str:
        return f"{self.owner} on {self.host} (process {self.pid})"

    @property
    def alive(self) -> bool:
        """Whether the process may still run; a process of another host is taken to."""
        return self.host != socket.gethostname() or _process_exists(self.pid)


class FolderLock:
    """The right to write one project folder; held until :meth:`release` or the end of the process."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK_NAME
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        return self._descriptor is not None

    def acquire(self) -> LockOwner | None:
        """Take the lock; None if it is ours now, else its owner.

        Raises
        ------
        OSError
            If the lock file cannot be written.
        """
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            owner = self._owner_after_locking(descriptor)
            if owner is None:
                _write_text(descriptor, json.dumps(asdict(LockOwner.current())))
        except BaseException:
            os.close(descriptor)
            raise
        if owner is not None:
            os.close(descriptor)
            return owner
        self._descriptor = descriptor
        return None

    def _owner_after_locking(self, descriptor: int) -> LockOwner | None:
        try:
            _lock(descriptor)
        except OSError as error:
            if error.errno in _HELD_BY_ANOTHER:
                time.sleep(0.0 if self._named_owner() else _MOMENT)  # it may be writing its name just now
                return self._named_owner() or LockOwner("another process", "an unknown host", 0)
            return self.read_owner()  # no locks on this file system: what the file says decides
        return None

    def read_owner(self) -> LockOwner | None:
        """The owner named in the lock file, if that process may still run."""
        owner = self._named_owner()
        return owner if owner is not None and owner.alive else None

    def _named_owner(self) -> LockOwner | None:
        try:
            return LockOwner(**json.loads(self.path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def release(self) -> None:
        """Give the lock back. The file stays: deleting it could delete the lock of the next owner."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        _write_text(descriptor, "")
        os.close(descriptor)


def _write_text(descriptor: int, text: str) -> None:
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, text.encode())


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, _WINDOWS_LOCK_OFFSET, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _process_exists(pid: int) -> bool:
        import ctypes

        query_limited_information, still_active = 0x1000, 259
        kernel = ctypes.windll.kernel32
        handle = kernel.OpenProcess(query_limited_information, False, pid)
        if not handle:
            return False
        code = ctypes.c_ulong()
        kernel.GetExitCodeProcess(handle, ctypes.byref(code))
        kernel.CloseHandle(handle)
        return code.value == still_active

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _process_exists(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True
