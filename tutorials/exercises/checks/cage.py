"""What a student's process may do: as little as the system lets itself be told.

On Linux its own namespaces (no network, no other processes in sight) and Landlock (of the files only Python's and its
own), wherever an ordinary user may ask for them; elsewhere on Unix the limits of ``resource``; on Windows nothing.
(A student's process imports this file by itself, so it needs Python alone.)
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None

MEMORY = 2 * 2**30  # bytes that a process may ask for
FILE = 16 * 2**20  # bytes of a file that it writes
SCRATCH = "size=64m,nr_inodes=1000,mode=0777"  # of its working folder, where that can be a file system of its own
PROCESSES = 64  # for a user of its own
NOBODY = 65534

NEW_USER, NEW_PID, NEW_NET, NEW_IPC, NEW_MOUNTS = 0x10000000, 0x20000000, 0x40000000, 0x08000000, 0x00020000
PRIVATE, RECURSIVE, NO_SETUID, NO_DEVICES = 1 << 18, 1 << 14, 2, 4
PARENT_DIES, DUMPABLE, KEEP_RIGHTS, NO_NEW_PRIVILEGES = 1, 4, 8, 38  # of prctl
READ_ALL = 1 << 2  # the capability to read every file that isn't hidden


def libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def separate() -> bool:
    """Go into namespaces of one's own, if the system allows it: the next child is the first process in there."""
    if sys.platform != "linux":
        return False
    user, group, own = os.getuid(), os.getgid(), NEW_PID | NEW_NET | NEW_IPC | NEW_MOUNTS
    if libc().unshare(own if user == 0 else own | NEW_USER):
        return False
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    return True


def own_disk(folder: str) -> bool:
    """Make the folder a small file system in memory; in namespaces of one's own only."""
    call, path = libc(), os.fsencode(folder)
    return not (
        call.mount(b"none", b"/", None, PRIVATE | RECURSIVE, None)
        or call.mount(b"tmpfs", path, b"tmpfs", NO_SETUID | NO_DEVICES, SCRATCH.encode())
    )


def end_with_parent() -> None:
    if sys.platform == "linux":
        libc().prctl(PARENT_DIES, signal.SIGKILL, 0, 0, 0)


def close_to_others() -> None:
    """Let no other process of this user look into this one's memory."""
    if sys.platform == "linux":
        libc().prctl(DUMPABLE, 0, 0, 0, 0)


def limit(seconds: float) -> None:
    """What all the work of this process may take."""
    if resource is None:
        return
    limits = {
        "AS": MEMORY,
        "CORE": 0,
        "FSIZE": FILE,
        "NOFILE": 64,
        "MEMLOCK": 0,
        "MSGQUEUE": 0,
        "CPU": int(seconds) + 2,
    }
    for name, value in limits.items():
        lower(name, value)


def lower(name: str, value: int) -> None:
    """A limit for good, if the system knows it; macOS doesn't let all of them be set."""
    with contextlib.suppress(ValueError, OSError, AttributeError):
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))


def limit_next(seconds: float) -> None:
    """What the next task may take of processor time; the system ends the process after that."""
    if resource is None:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    end = int(used.ru_utime + used.ru_stime + seconds + 0.999)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (min(end, hard) if hard >= 0 else end, hard))


def give_up_rights(apart: bool, hidden: bool) -> None:
    """No rights but those of an ordinary user.

    Root becomes nobody, where other files are hidden: of its rights it needs that to read Python, wherever that is.
    """
    if sys.platform != "linux":
        return
    keep = 0
    if os.getuid() == 0 and hidden:
        libc().prctl(KEEP_RIGHTS, 1, 0, 0, 0)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        keep = READ_ALL
    if apart:  # elsewhere, this counts all processes of the user
        lower("NPROC", PROCESSES)
    libc().capset(struct.pack("Ii", 0x20080522, 0), struct.pack("6I", keep, keep, 0, 0, 0, 0))


# Landlock: from now on, this process and its children see no files but these. The kernel's documentation is
# https://docs.kernel.org/userspace-api/landlock.html; the numbers are from its linux/landlock.h.

CREATE, ADD, ENFORCE = 444, 445, 446  # system calls
READ_FILE, READ_DIR = 1 << 2, 1 << 3
EXECUTE, DEVICES_AND_SOCKETS = 1 << 0, 1 << 6 | 1 << 9 | 1 << 11
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # how many there are, by version; 16 from version 5 on
ON_FILES = 1 << 0 | 1 << 1 | READ_FILE | 1 << 14 | 1 << 15  # those that a file can have, and not only a folder


def hide(readable: Iterable[str], lists: Iterable[str], writable: Iterable[str]) -> bool:
    """Allow these paths with all below them, and no others; False if that can't be done here."""
    call = libc()
    version = call.syscall(CREATE, None, 0, 1) if sys.platform == "linux" else -1
    if version < 1:
        return False
    handled = (1 << FILE_RIGHTS.get(version, 16)) - 1
    network, scope = (3 if version >= 4 else 0), (3 if version >= 6 else 0)  # TCP; signals and abstract sockets
    rules = struct.pack("QQQ", handled, network, scope)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = call.syscall(CREATE, rules, len(rules), 0)
    if ruleset < 0:
        return False
    for paths, rights in (
        (readable, READ_FILE | READ_DIR),
        (lists, READ_DIR),
        (writable, handled & ~(EXECUTE | DEVICES_AND_SOCKETS)),
    ):
        for path in paths:
            with contextlib.suppress(OSError):
                place = os.open(path, os.O_PATH | os.O_CLOEXEC)
                allowed = rights if os.path.isdir(path) else rights & ON_FILES
                call.syscall(ADD, ruleset, 1, struct.pack("=Qi", allowed & handled, place), 0)
                os.close(place)
    call.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    done = call.syscall(ENFORCE, ruleset, 0) == 0
    os.close(ruleset)
    return done


def without(path: Path, hidden: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Paths that are all of ``path`` but what is ``hidden``, and the folders between them, to be listed alone."""
    if path in hidden:
        return [], []
    if not any(path in other.parents for other in hidden):
        return [path], []
    found, lists = [], [path]
    for child in path.iterdir():
        more, folders = without(child, hidden)
        found, lists = found + more, lists + folders
    return found, lists
