"""The checker's side of a student's process: starts it, asks it, believes nothing that it says, and ends it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tutorials.data import load_digits

from . import cage
from .framework import Failure
from .wire import CHARACTERS, HEAD, LARGEST, MOST_JSON, Malformed, Wire

HERE = Path(__file__).resolve().parent
HELPERS = {name: (HERE / name).read_bytes() for name in ("cage.py", "wire.py", "worker.py")}  # as they are now
FORKS = hasattr(os, "fork")
OUT_OF_TIME = -getattr(signal, "SIGXCPU", 1000)  # exit code of a process that has used up its processor time
PATIENCE = 5 if hasattr(signal, "SIGXCPU") else 1  # times its seconds by the clock: for what waits, and for Windows
STARTING = 300  # seconds by the clock, on a machine however busy
LONGEST = 1800  # seconds by the clock, of a process whose checker is gone


class Ended(Exception):
    """The student's process has ended, or was ended, with this exit code."""

    def __init__(self, code: int | None, why: str = "") -> None:
        self.code, self.why = code, why
        super().__init__(why or f"exit code {code}")


@cache
def places() -> dict[str, list[str]]:
    """Where a student's process finds Python and its packages, without this project."""
    house = HERE.parents[2]
    sites = [p for p in map(Path, sys.path) if p.name in ("site-packages", "dist-packages") and p.is_dir()]
    if (numpys := Path(np.__file__).parents[1]) not in sites:
        sites.append(numpys)
    names = ("tutorials", "layers", "minigrad", "tests")
    hidden = {house / name for name in names} if house in sites else {house}
    python = [Path(sys.base_prefix), Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("platstdlib")), *sites]
    system = map(Path, ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/dev/urandom", "/dev/zero"))
    found = [cage.without(path.resolve(), hidden) for path in {*python, *system} if path.exists()]
    readable = {str(path) for paths, _ in found for path in paths}
    lists = {str(path) for _, folders in found for path in folders}
    return {"path": [str(site) for site in sites], "readable": sorted(readable), "lists": sorted(lists)}


class Sandbox:
    """A student's files in a folder of their own, and one process after the other in which they run.

    Attributes:
        protection: what the system keeps the processes from; known after the first of them.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="exercise-")).resolve()
        for name in ("files", "work"):
            (self.folder / name).mkdir()
        for name, text in [*HELPERS.items(), *((f"files/{name}", text) for name, text in files.items())]:
            (self.folder / name).write_bytes(text)
        if hasattr(os, "getuid") and os.getuid() == 0:  # for nobody to read
            self.folder.chmod(0o755)
            (self.folder / "work").chmod(0o777)
        self.process: subprocess.Popen | None = None
        self.control: socket.socket | None = None
        self.protection: dict[str, bool] = {}
        self.closed = False

    def open(self, seconds: float) -> Student:
        """A new process, which may use so many seconds of processor time in all."""
        if self.closed:
            raise RuntimeError("this sandbox is closed")
        if not FORKS:
            return self.open_here(seconds)
        if self.control is None:
            self.start()
        ours, theirs = socket.socketpair()
        try:
            socket.send_fds(self.control, [struct.pack("<d", seconds)], [theirs.fileno()])
        except OSError as error:
            ours.close()
            self.kill()
            raise Ended(None, "it can't be started") from error
        finally:
            theirs.close()
        return Student(self, ours)

    def start(self) -> None:
        """The process that forks for each call of ``open``."""
        self.control, theirs = socket.socketpair()
        self.process = self.popen({}, theirs)
        theirs.close()
        self.control.settimeout(STARTING)
        hello = b""
        with contextlib.suppress(OSError):
            while not hello.endswith(b"\n") and (part := self.control.recv(4096)):
                hello += part
        if not hello.endswith(b"\n"):
            self.kill()
            last = (self.folder / "messages").read_text("utf-8", "replace").strip().splitlines()[-1:]
            raise RuntimeError(f"a process for students' code can't be started here: {''.join(last)}")
        self.protection = json.loads(hello)

    def open_here(self, seconds: float) -> Student:
        """Where there is no fork: a process for each exercise, which calls back."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(STARTING)
            port = {"port": server.getsockname()[1], "seconds": seconds}
            self.process = self.popen(port, subprocess.DEVNULL)
            connection, _ = server.accept()
        return Student(self, connection)

    def popen(self, settings: dict, stdin: Any) -> subprocess.Popen:
        """Start ``worker.py`` with nothing of this process's but what Windows can't do without."""
        settings = {**places(), "longest": LONGEST, **settings}
        keep = {name: os.environ[name] for name in ("SYSTEMROOT", "TEMP", "TMP") if name in os.environ}  # Windows
        work = str(self.folder / "work")
        one = {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL", "VECLIB_MAXIMUM")}
        environment = keep | one | {"HOME": work, "TMPDIR": work, "MPLBACKEND": "Agg", "LANG": "C.UTF-8"}
        with open(self.folder / "messages", "wb") as messages:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", str(self.folder / "worker.py"), json.dumps(settings)],
                stdin=stdin, stdout=subprocess.DEVNULL, stderr=messages if FORKS else subprocess.DEVNULL,
                env=environment, cwd=self.folder, start_new_session=True,
            )  # fmt: skip

    def code(self, patience: float) -> int | None:
        """The exit code of the process that was opened last; None if it has to be ended by force."""
        if self.control is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.process.wait(patience)
            return None
        self.control.settimeout(patience)
        with contextlib.suppress(OSError):
            data = self.control.recv(4)
            if len(data) == 4:
                return struct.unpack("<i", data)[0]
        return None

    def kill(self) -> None:
        """End all processes; ``open`` starts new ones."""
        if self.process is not None:
            with contextlib.suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL) if FORKS else self.process.kill()
            self.process.kill()
            self.process.wait()
        if self.control is not None:
            self.control.close()
        self.process = self.control = None

    def close(self) -> None:
        """End all processes, and delete the files."""
        self.closed = True
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def protection() -> dict[str, bool]:
    """What this system keeps students' processes from, found out before there are any."""
    with Sandbox({}) as sandbox:
        if FORKS:
            sandbox.start()
        return sandbox.protection


class Student:
    """One process with a student's file, and the functions in it."""

    def __init__(self, sandbox: Sandbox, connection: socket.socket) -> None:
        self.sandbox, self.connection = sandbox, connection
        self.wire, self.buffer, self.calls, self.deadline = Wire(), bytearray(), 0, 0.0
        self.alive, self.printed = True, ""

    def load(self, file: str, functions: Sequence[str], seconds: float, pieces: dict) -> tuple[str, list]:
        """Why the file can't be used, or '', and which of the functions it has.

        ``pieces``: for each earlier exercise, if this one is made of their functions, by its number: its ``file``,
        the functions that are ``right``, and by name those that are ``given`` in place of the student's.
        """
        message = ["load", file, list(functions), seconds, pieces, load_digits]
        _, fault, found = self.ask(message, seconds, "loaded", 3)[:3]
        return str(fault), found if isinstance(found, list) else []

    def begin(self, seconds: float) -> None:
        """A new task, which may use so many seconds."""
        self.printed = ""
        self.ask(["task", seconds], seconds, "ready", 1)

    def function(self, name: str) -> Remote:
        """One of the student's functions, to be called from here."""
        return Remote(self, name)

    def call(self, name: str, arguments: tuple) -> tuple[Any, tuple]:
        """What a function returns, and its arguments afterwards; ``Failure`` if it raises an error."""
        self.calls += 1
        kind, number, printed, *rest = self.ask(["call", self.calls, name, arguments], None, ("result", "failed"), 4)
        if number != self.calls:
            self.give_up("its process answered what it wasn't asked")
        self.printed = str(printed)[:CHARACTERS]
        if kind == "failed":
            failure = rest[0] if isinstance(rest[0], dict) else {}
            raise Failure(*(str(failure.get(name, "")) for name in ("message", "where", "unwritten", "library")))
        if len(rest) != 2 or not isinstance(rest[1], tuple):
            self.give_up("its process sent half an answer")
        return rest[0], rest[1]

    def ask(self, message: list, seconds: float | None, kinds: str | tuple[str, ...], length: int) -> list:
        """Send a message and read the answer, calling functions of ours that the student's code calls in between."""
        if seconds is not None:
            self.deadline = time.monotonic() + PATIENCE * seconds
        self.send(message)
        while True:
            answer = self.receive()
            kind = answer[0] if isinstance(answer, list) and answer and isinstance(answer[0], str) else ""
            if kind == "callback" and len(answer) == 4:
                self.send(self.answer(*answer[1:]))
            elif kind in ((kinds,) if isinstance(kinds, str) else kinds) and len(answer) >= length:
                return answer
            else:
                self.give_up("its process sent something that is no answer")

    def answer(self, number: Any, arguments: Any, keywords: Any) -> list:
        """Call a function of ours for the student's code."""
        try:
            result = self.wire.functions[number](*arguments, **keywords)
        except Exception as error:
            return ["raise", type(error).__name__, str(error)[:300]]
        for place, argument in enumerate(arguments):
            if argument is result:
                return ["same", place]
        return ["value", result]

    def send(self, message: list) -> None:
        self.connection.settimeout(max(0.01, self.deadline - time.monotonic()))
        try:
            self.connection.sendall(self.wire.pack(message))
        except TimeoutError:
            self.give_up("", OUT_OF_TIME)
        except OSError:
            self.ended()

    def receive(self) -> Any:
        """The next message."""
        sizes = HEAD.unpack(self.read(HEAD.size))
        if sizes[0] > MOST_JSON or sum(sizes) > LARGEST:
            self.give_up("its process sent too much")
        try:
            return self.wire.unpack(*map(self.read, sizes))
        except Malformed:
            self.give_up("its process sent something that is no answer")

    def read(self, count: int) -> bytes:
        watched = [self.connection, *filter(None, [self.sandbox.control])]
        while len(self.buffer) < count:
            ready, _, _ = select.select(watched, [], [], max(0, self.deadline - time.monotonic()))
            if not ready:
                self.give_up("", OUT_OF_TIME)
            part = b""
            if self.connection in ready:
                with contextlib.suppress(OSError):
                    part = self.connection.recv(2**20)
            if not part:
                self.ended()
            self.buffer += part
        found = bytes(self.buffer[:count])
        del self.buffer[:count]
        return found

    def ended(self) -> None:
        """The process has ended by itself."""
        code = self.sandbox.code(10)
        self.alive = False
        self.connection.close()
        if code is None:
            self.sandbox.kill()
        raise Ended(code)

    def give_up(self, why: str, code: int | None = None) -> None:
        """End the process."""
        self.alive = False
        self.connection.close()
        self.sandbox.kill()
        raise Ended(code, why)

    def close(self) -> None:
        """The process ends when nobody asks it any more; one that doesn't is ended."""
        if self.alive:
            self.connection.close()
            if self.sandbox.code(3) is None:
                self.sandbox.kill()


class Remote:
    """A student's function, called in the student's process."""

    def __init__(self, student: Student, name: str) -> None:
        self.student, self.__name__ = student, name

    def remote(self, arguments: tuple) -> tuple[Any, tuple]:
        """The result, and the arguments as they are afterwards."""
        return self.student.call(self.__name__, arguments)
