"""Runs a student's functions, in a process that knows their file and what they are called with, and nothing else.

    python -I -S worker.py SETTINGS

``sandbox.py`` copies this file, ``cage.py`` and ``wire.py`` beside the student's files, and starts it there. On Unix it
waits for sockets, forks for each, and the fork answers calls; on Windows it answers the calls of one socket. The
library, the checker and the right values are out of its reach: in place of the library there are names that say so when
they are called.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib.abc
import importlib.machinery
import io
import json
import os
import shutil
import signal
import socket
import struct
import sys
import threading
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER, SETTINGS = Path(__file__).parent, json.loads(sys.argv[1])
sys.path = [str(FOLDER), *sys.path, *SETTINGS["path"]]

import cage  # noqa: E402 - from FOLDER
import wire  # noqa: E402 - which imports NumPy, so that no fork has to

HOUSE = ("minigrad", "layers", "tutorials")
SECONDS = struct.Struct("<d")  # of processor time, sent with each socket
PRINTED = 2000  # characters of what a function prints that are kept
FUTURE = 0x1FF0000  # of a code's flags: those that its ``from __future__ import`` set


# In place of the library.


class Placeholder(type):
    """A class of the library, or a function, for all that can be done with it until it is called."""

    def __call__(cls, *_: Any, **__: Any) -> Any:
        raise wire.LibraryUsed(cls.__name__)

    def __getattr__(cls, name: str) -> Any:
        return placeholder(name)


def placeholder(name: str) -> type:
    if name.startswith("__"):
        raise AttributeError(name)
    return Placeholder(name, (), {})


class Room(types.ModuleType):
    """A module of the library, which has every name."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return placeholder(name)


class House(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a room for every module of the library."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        inside = name.partition(".")[0] in HOUSE
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if inside else None

    def create_module(self, spec: Any) -> types.ModuleType:
        return Room(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def furnish(pieces: dict, digits: Any) -> None:
    """What exercise 15 imports of the course: data, and the student's earlier functions (see ``Student.load``)."""

    def load_piece(path: Any) -> Any:
        (piece,) = (piece for piece in pieces.values() if piece["file"] == Path(path).name)
        own = vars(load(Path(path))) if piece["right"] else {}  # if none is, the file may not even load
        return types.SimpleNamespace(**own | piece["given"])

    def verdicts(exercise: Any, *_: Any, **__: Any) -> list:
        piece = pieces[exercise.number]
        return [types.SimpleNamespace(function=name, status="right") for name in (*piece["right"], *piece["given"])]

    listed = [types.SimpleNamespace(number=number, file=piece["file"]) for number, piece in pieces.items()]
    data, run = Room("tutorials.data"), Room("tutorials.exercises.checks.run")
    data.load_digits = digits
    run.exercises, run.verdicts, run.load = (lambda: listed), verdicts, load_piece
    sys.modules |= {"tutorials.data": data, "tutorials.exercises.checks.run": run}


# The student's file.


def load(path: Path) -> types.ModuleType:
    """The file as a module. What it does with the library outside of functions, as in a comparison, is left out."""
    text = path.read_bytes()
    code = compile(text, str(path), "exec")
    with contextlib.suppress(wire.LibraryUsed):
        return execute([code], path)
    flags = code.co_flags & FUTURE
    statements = (ast.Module([statement], []) for statement in ast.parse(text).body)
    return execute([compile(statement, str(path), "exec", flags) for statement in statements], path, wire.LibraryUsed)


def execute(codes: list[types.CodeType], path: Path, leave_out: Any = ()) -> types.ModuleType:
    module = types.ModuleType("student")
    module.__file__ = str(path)
    sys.modules["student"] = module  # dataclasses look there
    for code in codes:
        with contextlib.suppress(leave_out):
            exec(code, vars(module))
    return module


def fault_of(error: BaseException, path: Path) -> str:
    """Why the file can't be used."""
    if isinstance(error, SyntaxError) and (error.filename or "") == str(path):
        place = f"{type(error).__name__} in line {error.lineno} of {path.name}"
        return f"{place}: {error.msg}\n  {(error.text or '').strip()}"
    lines = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    where = f" in line {lines[-1].lineno}: {lines[-1].line}" if lines else ""
    return f"{path.name} can't be run: {wire.message_of(error)}{where}"


class FirstLines(io.StringIO):
    """Keeps the first characters, however much is printed."""

    def write(self, text: str) -> int:
        return super().write(text[: max(0, PRINTED - self.tell())])


# Answers.


class Worker:
    """Answers the calls that come through a socket, until it is closed."""

    def __init__(self, connection: socket.socket, folder: Path) -> None:
        self.connection, self.folder = connection, folder
        self.wire = wire.Wire(self.function_of_the_other_side)
        self.module: types.ModuleType | None = None
        self.printed, self.lock = FirstLines(), threading.Lock()

    def serve(self) -> None:
        while message := self.receive():
            kind, *rest = message
            answer = {"load": self.load, "task": self.task, "call": self.call}[kind](*rest)
            self.connection.sendall(answer)

    def receive(self) -> Any:
        head = self.read(wire.HEAD.size)
        if not head:
            return None
        text, blobs = wire.HEAD.unpack(head)
        return self.wire.unpack(self.read(text), self.read(blobs))

    def read(self, count: int) -> bytes:
        found = bytearray()
        while len(found) < count:
            part = self.connection.recv(min(count - len(found), 2**20))
            if not part:
                return b""
            found += part
        return bytes(found)

    def load(self, file: str, functions: list, seconds: float, pieces: dict, digits: Any) -> bytes:
        path, fault = self.folder / file, ""
        cage.limit_next(seconds)
        sys.meta_path.insert(0, House())
        furnish(pieces, digits)
        try:
            with contextlib.redirect_stdout(FirstLines()):
                self.module = load(path)
        except BaseException as error:
            fault = fault_of(error, path)
        return self.wire.pack(["loaded", fault, [f for f in functions if callable(getattr(self.module, f, None))]])

    def task(self, seconds: float) -> bytes:
        cage.limit_next(seconds)
        self.printed = FirstLines()
        return self.wire.pack(["ready"])

    def call(self, number: int, name: str, arguments: tuple) -> bytes:
        function = getattr(self.module, name)
        try:
            with contextlib.redirect_stdout(self.printed):
                result = function(*arguments)
            return self.wire.pack(["result", number, self.printed.getvalue(), result, arguments])
        except BaseException as error:
            failure = wire.failure_of(error, function)
        return self.wire.pack(["failed", number, self.printed.getvalue(), failure])

    def function_of_the_other_side(self, number: int) -> Any:
        def function(*arguments: Any, **keywords: Any) -> Any:
            message = self.wire.pack(["callback", number, arguments, keywords])
            with self.lock:
                self.connection.sendall(message)
                kind, *rest = self.receive() or os._exit(0)
            if kind == "same":  # a rule that returns what it was given
                return arguments[rest[0]]
            if kind == "value":
                return rest[0]
            error = getattr(builtins, rest[0], RuntimeError)
            raise error(rest[1])

        return function


# Processes.


def fork_for_each(control: socket.socket, apart: bool) -> None:
    """A child for every socket that comes through ``control``; when it ends, nothing of it is left."""
    while True:
        data, sockets, *_ = socket.recv_fds(control, SECONDS.size, 1)
        if not data:
            return
        child = os.fork()
        if not child:
            control.close()
            answer(socket.socket(fileno=sockets[0]), *SECONDS.unpack(data), apart)
        os.close(sockets[0])
        signal.signal(signal.SIGALRM, lambda *_, child=child: os.kill(child, signal.SIGKILL))
        signal.alarm(SETTINGS["longest"])
        _, status = os.waitpid(child, 0)
        signal.alarm(0)
        sweep(child, apart)
        control.sendall(struct.pack("<i", os.waitstatus_to_exitcode(status)))


def sweep(child: int, apart: bool) -> None:
    """End what a child has left running, and delete what it has written."""
    with contextlib.suppress(OSError):
        os.kill(-1, signal.SIGKILL) if apart else os.killpg(child, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, 0 if apart else os.WNOHANG)[0]:
            pass
    for entry in os.scandir(FOLDER / "work"):
        with contextlib.suppress(OSError):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)


def answer(connection: socket.socket, seconds: float, apart: bool) -> None:
    """Take the limits on, answer until the socket is closed, and end, whatever threads are left."""
    with open(os.devnull, "r+b", buffering=0) as nothing:
        for number in (0, 1, 2):
            os.dup2(nothing.fileno(), number)
    if hasattr(os, "setsid"):
        with contextlib.suppress(OSError):  # the first of its session already
            os.setsid()
        readable, writable = [*SETTINGS["readable"], str(FOLDER)], [str(FOLDER / "work"), os.devnull]
        cage.limit(seconds)
        hidden = cage.hide(readable, SETTINGS["lists"], writable)
        cage.give_up_rights(apart, hidden)
        cage.end_with_parent()
    os.chdir(FOLDER / "work")
    sys.stderr = sys.stdout
    sys.path.remove(str(FOLDER))
    try:
        Worker(connection, FOLDER / "files").serve()
    finally:
        os._exit(0)


def works(attempt: Callable[[], bool]) -> bool:
    """Whether something can be done here; tried in a child, because it is for good."""
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            os._exit(not attempt())
        os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def first_process() -> bool:
    """Whether namespaces of one's own can be entered, and have room for a process."""
    return cage.separate() and os.waitpid(os.fork() or os._exit(0), 0)[1] == 0


def main() -> None:
    if "port" in SETTINGS:
        answer(socket.create_connection(("127.0.0.1", SETTINGS["port"])), SETTINGS["seconds"], False)
    cage.end_with_parent()
    apart = works(first_process) and cage.separate()
    if apart and (child := os.fork()):
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 255)
    cage.end_with_parent()
    disk = apart and cage.own_disk(str(FOLDER / "work"))
    protection = {"apart": apart, "disk": disk, "hidden": works(lambda: cage.hide([], [], []))}
    control = socket.socket(fileno=0)
    control.sendall(json.dumps(protection).encode() + b"\n")
    fork_for_each(control, apart)


if __name__ == "__main__":
    main()
